//! The file of tokens that stand for callers.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::auth::StaticToken;

/// Why the file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokensError {
    /// It cannot be read.
    #[error("cannot read the tokens file {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Others than its owner have access to it.
    #[error(
        "tokens file {} has mode {mode:o}, so that others than its owner can use the tokens: \
         chmod 600 it, and replace the tokens",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is not a list of tokens.
    #[error(
        "tokens file {}: {cause}; it is a JSON list of objects with token, user_id, project_id \
         and roles",
        path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
}

/// Reads the file of tokens.
///
/// # Errors
/// When it cannot be read, is open to others, or is not a list of tokens.
pub fn load(path: &Path) -> Result<Vec<StaticToken>, TokensError> {
    let failed = |cause| TokensError::Read {
        path: path.to_owned(),
        cause,
    };
    let mut file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(TokensError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    serde_json::from_str(&text).map_err(|cause| TokensError::Content {
        path: path.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn only_a_private_list_of_tokens_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens.json");
        let write = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        };
        assert!(matches!(load(&path), Err(TokensError::Read { .. })));

        let good = r#"[{"token":"s3cret","user_id":"u","project_id":"p","roles":["admin"]}]"#;
        write(good, 0o600);
        let tokens = load(&path).unwrap();
        assert_eq!(
            (tokens.len(), &*tokens[0].token, &*tokens[0].project_id),
            (1, "s3cret", "p")
        );

        write(good, 0o640);
        let error = load(&path).unwrap_err();
        assert!(
            matches!(error, TokensError::Exposed { mode: 0o640, .. }),
            "{error}"
        );

        write(r#"[{"token":"s3cret"}]"#, 0o600);
        let error = load(&path).unwrap_err();
        assert!(matches!(error, TokensError::Content { .. }), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
