//! The policy file: rules in the place of the defaults, in YAML or JSON, as oslo.policy has them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use netlog_core::policy::{Policy, PolicyError};
use serde_json::Value;

/// Why a policy file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFileError {
    /// It cannot be read.
    #[error("cannot read the policy file {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It is not YAML, or not a map of rules.
    #[error(
        "policy file {}: {cause}; it is YAML or JSON with one expression for each rule, for \
         example \"get_log\": \"role:reader and project_id:%(project_id)s\"",
        path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        cause: String,
    },
    /// A rule cannot be used.
    #[error("policy file {}: {cause}", path.display())]
    Rule {
        /// The file.
        path: PathBuf,
        /// What is wrong with the rule.
        cause: PolicyError,
    },
}

/// Reads a policy file. Rules that it does not name keep their defaults; a file without any is
/// allowed, as the sample file is all comments.
///
/// # Errors
/// When it cannot be read, or one of its rules cannot be used.
pub fn load(path: &Path) -> Result<Policy, PolicyFileError> {
    let text = fs::read_to_string(path).map_err(|cause| PolicyFileError::Read {
        path: path.to_owned(),
        cause,
    })?;
    let rules: Option<BTreeMap<String, Value>> =
        serde_saphyr::from_str(&text).map_err(|cause| PolicyFileError::Content {
            path: path.to_owned(),
            cause: cause.to_string(),
        })?;
    Policy::with_rules(rules.unwrap_or_default()).map_err(|cause| PolicyFileError::Rule {
        path: path.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use netlog_core::policy::Credentials;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Policy, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        fs::write(&path, text).unwrap();
        load(&path).map_err(|error| error.to_string())
    }

    fn may_see(policy: &Policy, role: &str) -> bool {
        let roles = [role.to_owned()];
        let caller = Credentials {
            roles: &roles,
            project_id: Some("p"),
            ..Credentials::default()
        };
        policy.allows("get_log", &caller, &json!({"project_id": "p"}))
    }

    #[test]
    fn rules_are_read_as_yaml_and_as_json() {
        for text in [
            "# who may see logs\n\"get_log\": \"role:auditor\"\n",
            "get_log: role:auditor\ncreate_log: '!'  # nobody\n",
            "{\"get_log\": \"role:auditor\"}",
            "get_log: >-\n  role:other or\n  role:auditor\n",
            "get_log:\n- [\"role:auditor\"]\n- [\"role:x\", \"role:y\"]\n",
        ] {
            let policy = read(text).unwrap();
            assert!(may_see(&policy, "auditor"), "{text}");
            assert!(!may_see(&policy, "manager"), "{text}");
        }
        for text in ["", "# all comments\n", "{}", "---\n"] {
            assert_eq!(read(text).unwrap(), Policy::default(), "{text:?}");
        }
    }

    #[test]
    fn bad_files_are_refused_with_path_and_cause() {
        for (text, cause) in [
            ("- a\n- b\n", "policy.yaml: "),
            ("get_log: [\n", "line "),
            ("get_log: admin\n", "rule get_log: \"admin\" is no check"),
            ("get_log: rule:get_log\n", "rule get_log refers to itself"),
            ("get_log: 'role:x'\nget_log: 'role:y'\n", "get_log"),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains("policy.yaml") && error.contains(cause),
                "{error}"
            );
        }
        let error = load(Path::new("/no/such/file")).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read the policy file /no/such/file: "),
            "{error}"
        );
    }
}
