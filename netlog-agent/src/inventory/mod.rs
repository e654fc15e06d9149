//! The inventory file.

use std::path::{Path, PathBuf};
use std::{fs, io};

use netlog_core::inventory::{Inventory, InventoryError};

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
}

/// Reads the inventory file.
pub fn load(path: &Path) -> Result<Inventory, FileError> {
    let text = fs::read_to_string(path).map_err(|source| FileError::Read {
        path: path.to_owned(),
        source,
    })?;
    Inventory::parse(&text).map_err(|source| FileError::Content {
        path: path.to_owned(),
        source,
    })
}
