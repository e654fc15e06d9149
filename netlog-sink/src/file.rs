//! A log file that others may rotate.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::{Batch, Sink, SinkError};

/// Appends to a file, and follows its path when the file is renamed or removed.
///
/// Before each batch the file at the path is compared with the open one by device and inode, as
/// Python's `WatchedFileHandler` does; if they differ, the path is opened anew. So logrotate needs
/// neither `copytruncate` nor a signal, though both work: the file is opened with `O_APPEND`, and
/// [`Sink::reopen`] opens the path at once. A file is created with mode 0640.
///
/// A failed write can leave a part of a line in the file, and so can a crash. The next line then
/// starts with a newline, so that only the torn one is spoilt, and it is written again whole.
#[derive(Debug)]
pub struct FileSink {
    path: PathBuf,
    file: File,
    identity: Identity,
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
        match Self::try_open(&path) {
            Ok((file, identity, torn)) => Ok(Self {
                path,
                file,
                identity,
                torn,
            }),
            Err(source) => Err(SinkError::Open { path, source }),
        }
    }

    /// The path it was opened with.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn try_open(path: &Path) -> io::Result<(File, Identity, bool)> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(path)?;
        let metadata = file.metadata()?;
        let torn = metadata.is_file() && ends_torn(path, metadata.len());
        Ok((file, Identity::of(&metadata), torn))
    }

    /// Opens the path anew if it no longer names the open file.
    fn follow(&mut self) -> Result<(), SinkError> {
        match fs::metadata(&self.path) {
            Ok(metadata) if Identity::of(&metadata) == self.identity => Ok(()),
            _ => self.reopen(),
        }
    }

    fn append(&mut self, batch: &mut Batch) -> io::Result<()> {
        if self.torn {
            // Unless the file was emptied since.
            if self.file.metadata()?.len() > 0 {
                self.file.write_all(b"\n")?;
            }
            self.torn = false;
        }
        let result = deliver(&mut self.file, batch);
        self.torn = batch.is_torn();
        if self.torn && batch.rest().starts_with(b"\n") {
            // The record is there; the newline it lacks comes before the next one.
            batch.advance(1);
        }
        result
    }
}

impl Sink for FileSink {
    fn name(&self) -> &'static str {
        "file"
    }

    fn write(&mut self, batch: &mut Batch) -> Result<(), SinkError> {
        self.follow()?;
        self.append(batch).map_err(|source| SinkError::Write {
            path: self.path.clone(),
            source,
        })
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        let (file, identity, torn) =
            Self::try_open(&self.path).map_err(|source| SinkError::Open {
                path: self.path.clone(),
                source,
            })?;
        (self.file, self.identity, self.torn) = (file, identity, torn);
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
