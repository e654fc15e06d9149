//! A log file that others may rotate.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, fstatfs};

use crate::{Batch, Sink, SinkError};

/// For so many bytes, blocks are allocated before they are written. For much fewer it costs more than it
/// saves.
const LARGE: usize = 256 * 1024;

/// Appends to a file, and follows its path when the file is renamed or removed.
///
/// Before each batch the file at the path is compared with the open one by device and inode, as
/// Python's `WatchedFileHandler` does; if they differ, the path is opened anew. So logrotate needs
/// neither `copytruncate` nor a signal, though both work: the file is opened with `O_APPEND`, and
/// [`Sink::reopen`] opens the path at once. A file is created with mode 0640.
///
/// A failed write can leave a part of a line in the file, and so can a crash. The next line then
/// starts with a newline, so that only the torn one is spoilt, and it is written again whole.
///
/// ext4 reserves disk space block by block while it takes a write. Where much is written at once, all
/// of its blocks are allocated before, which costs less; no more is allocated than is written.
#[derive(Debug)]
pub struct FileSink {
    path: PathBuf,
    open: OpenFile,
}

/// The file that is written to.
#[derive(Debug)]
struct OpenFile {
    file: File,
    identity: Identity,
    /// Whether it is worth it to allocate blocks for a large write.
    allocates: bool,
    /// Whether the file ends in the middle of a line.
    torn: bool,
}

/// Tells files apart, whatever their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

impl FileSink {
    /// Opens the file at `path` for appending, or creates it.
    ///
    /// # Errors
    /// [`SinkError::Open`] when that fails; directories are not created.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SinkError> {
        let path = path.into();
        let open = OpenFile::open(&path)?;
        Ok(Self { path, open })
    }

    /// The path it was opened with.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the path anew if it no longer names the open file.
    fn follow(&mut self) -> Result<(), SinkError> {
        match fs::metadata(&self.path) {
            Ok(metadata) if Identity::of(&metadata) == self.open.identity => Ok(()),
            _ => self.reopen(),
        }
    }
}

impl OpenFile {
    fn open(path: &Path) -> Result<Self, SinkError> {
        Self::try_open(path).map_err(|source| SinkError::Open {
            path: path.to_owned(),
            source,
        })
    }

    fn try_open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(path)?;
        let metadata = file.metadata()?;
        Ok(Self {
            identity: Identity::of(&metadata),
            allocates: metadata.is_file() && is_ext4(&file),
            torn: metadata.is_file() && ends_torn(path, metadata.len()),
            file,
        })
    }

    fn append(&mut self, batch: &mut Batch) -> io::Result<()> {
        if self.torn {
            // Unless the file was emptied since.
            if self.file.metadata()?.len() > 0 {
                self.file.write_all(b"\n")?;
            }
            self.torn = false;
        }
        if self.allocates && batch.rest().len() >= LARGE {
            self.allocate(batch.rest().len());
        }
        let result = deliver(&mut self.file, batch);
        self.torn = batch.is_torn();
        if self.torn && batch.rest().starts_with(b"\n") {
            // The record is there; the newline it lacks comes before the next one.
            batch.advance(1);
        }
        result
    }

    /// Allocates the blocks of the next so many bytes, and leaves the size of the file as it is. Where
    /// that fails, the write will tell.
    fn allocate(&self, bytes: usize) {
        if let Ok(metadata) = self.file.metadata() {
            let _ = fallocate(
                &self.file,
                FallocateFlags::KEEP_SIZE,
                metadata.len(),
                bytes as u64,
            );
        }
    }
}

impl Sink for FileSink {
    fn name(&self) -> &'static str {
        "file"
    }

    fn write(&mut self, batch: &mut Batch) -> Result<(), SinkError> {
        self.follow()?;
        self.open.append(batch).map_err(|source| SinkError::Write {
            path: self.path.clone(),
            source,
        })
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        self.open = OpenFile::open(&self.path)?;
        Ok(())
    }
}

/// Writes all of the batch that is left, and notes in it how far that came.
#[expect(
    clippy::disallowed_methods,
    reason = "write_all would not tell how much was written before it failed"
)]
fn deliver(file: &mut impl Write, batch: &mut Batch) -> io::Result<()> {
    while !batch.rest().is_empty() {
        match file.write(batch.rest()) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => batch.advance(written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a file is on ext4, by its number in statfs(2), which ext2 and ext3 share.
fn is_ext4(file: &File) -> bool {
    fstatfs(file).is_ok_and(|file_system| file_system.f_type == 0xef53)
}

/// Whether a file of `len` bytes ends in the middle of a line. One that may be written and not
/// read is taken to be whole.
fn ends_torn(path: &Path, len: u64) -> bool {
    let last = |end: u64| {
        let mut byte = [0];
        File::open(path)?.read_exact_at(&mut byte, end)?;
        io::Result::Ok(byte != *b"\n")
    };
    len.checked_sub(1)
        .is_some_and(|end| last(end).unwrap_or(false))
}
