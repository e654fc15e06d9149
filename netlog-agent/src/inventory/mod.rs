//! The inventory file.
//!
//! It is the operator's, or an exporter's, and read again when it changes. With `[inventory]
//! writable` callers of the API change it too. What they ask for is done to the file as it is at
//! that moment; a new file takes its place, durable before the caller is answered. The two are
//! exchanged, so that a file which somebody else puts there between reading and writing is seen,
//! put back, and read anew.

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::BuildHasher;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use netlog_core::inventory::edit::{Document, Edit};
use netlog_core::inventory::{Inventory, InventoryError};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use time::UtcDateTime;

/// How often a change is tried on a file that others keep replacing.
const ATTEMPTS: usize = 8;

/// Why the inventory file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error(
        "cannot read the inventory file {path}: {source}; write it, or set [inventory] path to where it is"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not an inventory.
    #[error("inventory file {path}: {source}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InventoryError,
    },
    /// It cannot be replaced.
    #[error(
        "cannot replace the inventory file {path}: {source}; let the agent write in its folder, or set [inventory] writable = false"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others replace it all the time.
    #[error(
        "the inventory file {0} was replaced by others each time it was to be changed; if it is exported, set [inventory] writable = false"
    )]
    Busy(PathBuf),
}

/// Reads the inventory file.
pub fn load(path: &Path) -> Result<Inventory, FileError> {
    parse(path, &read(path)?)
}

fn read(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(|source| FileError::Read {
        path: path.to_owned(),
        source,
    })
}

fn parse(path: &Path, text: &str) -> Result<Inventory, FileError> {
    parse_after(path, text, &Inventory::default())
}

fn parse_after(path: &Path, text: &str, before: &Inventory) -> Result<Inventory, FileError> {
    Inventory::parse_after(text, before).map_err(|source| FileError::Content {
        path: path.to_owned(),
        source,
    })
}

/// A text with edits.
fn edited(text: &str, edits: &[Edit], now: UtcDateTime) -> Result<String, InventoryError> {
    let mut document = Document::parse(text)?;
    for edit in edits {
        document.apply(edit, now)?;
    }
    Ok(document.to_string())
}

/// The inventory file, and the inventory in force, which is what it held last.
#[derive(Debug)]
pub struct InventoryFile {
    path: PathBuf,
    in_force: Arc<ArcSwap<Inventory>>,
    /// The fingerprint of the text that the inventory in force was read from. Held from reading the
    /// file until its inventory is in force, so that none comes into force after a newer one.
    read: Mutex<u64>,
    hasher: RandomState,
}

impl InventoryFile {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or is no inventory.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let (text, hasher) = (read(path)?, RandomState::new());
        Ok(Self {
            path: path.to_owned(),
            in_force: Arc::new(ArcSwap::from_pointee(parse(path, &text)?)),
            read: Mutex::new(hasher.hash_one(&text)),
            hasher,
        })
    }

    /// The inventory in force, now and later.
    pub fn in_force(&self) -> Arc<ArcSwap<Inventory>> {
        Arc::clone(&self.in_force)
    }

    /// Reads the file again, and puts what it holds in force. Says whether that is another
    /// inventory.
    ///
    /// # Errors
    /// When it cannot be read, or is no inventory. The one before stays in force.
    pub fn read_again(&self) -> Result<bool, FileError> {
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let text = read(&self.path)?;
        let fingerprint = self.hasher.hash_one(&text);
        if fingerprint == *last {
            return Ok(false);
        }
        let inventory = parse_after(&self.path, &text, &self.in_force.load())?;
        let is_another = inventory != **self.in_force.load();
        if is_another {
            self.in_force.store(Arc::new(inventory));
        }
        *last = fingerprint;
        Ok(is_another)
    }

    /// Does to the file what `edits` makes of the inventory in it, and puts it in force. When this
    /// returns, the change is durable. Without edits nothing is written.
    ///
    /// # Errors
    /// Those of `edits`, and when the file cannot be read or replaced. Then nothing has changed.
    pub fn edit<E: From<FileError>>(
        &self,
        now: UtcDateTime,
        mut edits: impl FnMut(&Inventory) -> Result<Vec<Edit>, E>,
    ) -> Result<Vec<Edit>, E> {
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        // What stands at the end of links is replaced, not a link.
        let path = fs::canonicalize(&self.path).map_err(|source| FileError::Read {
            path: self.path.clone(),
            source,
        })?;
        for _ in 0..ATTEMPTS {
            let text = read(&path)?;
            let before = if self.hasher.hash_one(&text) == *last {
                self.in_force.load_full()
            } else {
                Arc::new(parse_after(&path, &text, &self.in_force.load())?)
            };
            let edits = edits(&before)?;
            if edits.is_empty() {
                return Ok(edits);
            }
            let new = edited(&text, &edits, now).map_err(|source| FileError::Content {
                path: path.clone(),
                source,
            })?;
            let inventory = parse_after(&path, &new, &before)?;
            let replaced = replace(&path, &text, &new).map_err(|source| FileError::Write {
                path: path.clone(),
                source,
            })?;
            if replaced {
                self.in_force.store(Arc::new(inventory));
                *last = self.hasher.hash_one(&new);
                return Ok(edits);
            }
        }
        Err(FileError::Busy(path).into())
    }
}

/// Puts a file with the text `new` in the place of one that holds `old`, durably, with its owner
/// and mode. Changes nothing and says no if it holds something else by now.
fn replace(path: &Path, old: &str, new: &str) -> io::Result<bool> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".netlog-new");
    let beside = path.with_file_name(name);
    let folder = File::open(path.parent().unwrap_or_else(|| Path::new("/")))?;
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // One of an agent that was killed.
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    let written = file.write_all(new.as_bytes()).and_then(|()| {
        let of_old = fs::metadata(path)?;
        fchown(&file, Some(of_old.uid()), Some(of_old.gid()))?;
        file.set_permissions(of_old.permissions())?;
        file.sync_all()?;
        exchange(&beside, path)?;
        let is_old = fs::read(&beside).is_ok_and(|text| text == old.as_bytes());
        if !is_old {
            exchange(&beside, path)?;
        }
        Ok(is_old)
    });
    // Whatever is beside now is not wanted, unless somebody's file could not be put back.
    if written.is_ok() {
        fs::remove_file(&beside)?;
        folder.sync_all()?;
    }
    written
}

fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use netlog_core::inventory::edit::PortChange;
    use netlog_core::request::Caller;

    use super::*;

    const CALLER: Caller<'_> = Caller {
        project_id: None,
        any_project: true,
    };
    const NOW: UtcDateTime = UtcDateTime::UNIX_EPOCH;

    /// An inventory of this many ports, the first of this name.
    fn text(ports: usize, name: &str) -> String {
        let port = |n| {
            format!(
                r#"{{"id":"11111111-0000-4000-8000-{n:012}","project_id":"p","name":"{name}"}}"#
            )
        };
        let ports: Vec<String> = (0..ports).map(port).collect();
        format!(r#"{{"ports":[{}],"x":1}}"#, ports.join(","))
    }

    /// Names the first port.
    fn rename(inventory: &Inventory, name: &str) -> Vec<Edit> {
        let body = format!(r#"{{"port": {{"name": "{name}"}}}}"#);
        let change = PortChange::parse(body.as_bytes(), CALLER).unwrap();
        let port = inventory.written_ports().next().unwrap();
        let edit = change.edit(port, inventory, CALLER, NOW).unwrap();
        edit.into_iter().collect()
    }

    /// How many ports there are, and what the first is called.
    fn ports(inventory: &Inventory) -> (usize, String) {
        let first = inventory.ports().next().unwrap();
        (inventory.ports().count(), first.name.clone())
    }

    #[test]
    fn a_change_replaces_the_file_and_nothing_else_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.json"), folder.path().join("link"));
        fs::write(&real, text(2, "a")).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real.json", &link).unwrap();
        // One that was killed has left this.
        fs::write(folder.path().join("real.json.netlog-new"), "half").unwrap();
        let file = InventoryFile::open(&link).unwrap();
        file.edit(NOW, |inventory| Ok::<_, FileError>(rename(inventory, "b")))
            .unwrap();

        assert!(link.is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o7777, 0o640);
        let expected = (2, "b".to_owned());
        assert_eq!(ports(&file.in_force().load()), expected);
        assert_eq!(ports(&load(&real).unwrap()), expected);
        assert!(fs::read_to_string(&real).unwrap().contains(r#""x": 1"#));
        assert!(!file.read_again().unwrap());
        // What changes nothing is not written.
        let inode = || fs::metadata(&real).unwrap().ino();
        let before = inode();
        assert!(
            file.edit(NOW, |inventory| Ok::<_, FileError>(rename(inventory, "b")))
                .unwrap()
                .is_empty()
        );
        assert_eq!(inode(), before);
    }

    #[test]
    fn a_file_that_comes_while_one_is_changed_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inventory.json");
        fs::write(&path, text(2, "a")).unwrap();
        let file = InventoryFile::open(&path).unwrap();
        let tries = Cell::new(0);
        let exported = |inventory: &Inventory| {
            tries.set(tries.get() + 1);
            if tries.get() == 1 {
                let new = folder.path().join("exported");
                fs::write(&new, text(3, "a")).unwrap();
                fs::rename(&new, &path).unwrap();
            }
            Ok::<_, FileError>(rename(inventory, "b"))
        };
        file.edit(NOW, exported).unwrap();
        assert_eq!(tries.get(), 2);
        assert_eq!(ports(&load(&path).unwrap()), (3, "b".to_owned()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        // Who always comes in between has the last word, and the caller hears of it.
        let restless = |inventory: &Inventory| {
            tries.set(tries.get() + 1);
            fs::write(&path, text(tries.get(), "c")).unwrap();
            Ok::<_, FileError>(rename(inventory, "d"))
        };
        let error = file.edit(NOW, restless).unwrap_err();
        assert!(matches!(error, FileError::Busy(_)), "{error}");
        assert_eq!(ports(&load(&path).unwrap()), (tries.get(), "c".to_owned()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_broken_file_is_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inventory.json");
        fs::write(&path, text(1, "a")).unwrap();
        let file = InventoryFile::open(&path).unwrap();
        fs::write(&path, "half of it").unwrap();
        let error = file
            .edit(NOW, |inventory| Ok::<_, FileError>(rename(inventory, "b")))
            .unwrap_err();
        assert!(matches!(error, FileError::Content { .. }), "{error}");
        file.read_again().unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "half of it");
        assert_eq!(ports(&file.in_force().load()), (1, "a".to_owned()));
    }
}
