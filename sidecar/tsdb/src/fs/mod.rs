//! Files and directories as the storage needs them, and the only place that makes names durable.
//!
//! A file's bytes are durable after `fsync` of the file; its name only after `fsync` of the directory. The functions
//! on `dyn Fs` do both, in that order. [`RealFs`] is the operating system; a double in memory loses what was not
//! made durable and fails on demand, so that tests see every crash. Owns no file names and no formats.

#[cfg(any(test, feature = "faults"))]
pub mod faults;
mod real;

use std::io::{self, Write};
use std::path::Path;

pub use real::RealFs;

/// An open file. Writes go to where the last one ended, beginning at the start of the file.
pub trait File: io::Write + std::fmt::Debug + Send + Sync {
    /// Reads at `offset` into `buffer`; fewer bytes than fit only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Bytes in the file.
    fn size(&self) -> io::Result<u64>;
    /// Cuts the file, or fills it up with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Waits until the bytes, and the length that is needed to read them, are durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Waits until the bytes and all that describes the file are durable; its name is the directory's.
    fn sync_all(&self) -> io::Result<()>;
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The last part of the path.
    pub name: String,
    /// True for a directory, not for a link to one.
    pub is_dir: bool,
}

/// What a tenant's storage asks of a file system. Names are durable only after [`Fs::sync_dir`].
pub trait Fs: std::fmt::Debug + Send + Sync {
    /// Creates a file for reading and writing. Fails if it exists.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Opens a file for reading and writing.
    fn open_write(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// The entries of a directory in no order; names that are not UTF-8 are passed over.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// Bytes of a file, following links; `None` for a directory.
    fn size(&self, path: &Path) -> io::Result<Option<u64>>;
    /// Creates a directory. Fails if it exists.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Renames over whatever is at `to` (a file, or an empty directory).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory tree.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes the entries of a directory (creations, renames, removals) durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

impl dyn Fs + '_ {
    /// True if a directory is there.
    pub fn is_dir(&self, path: &Path) -> bool {
        matches!(self.size(path), Ok(None))
    }

    /// A whole file.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        let mut bytes = vec![0; usize::try_from(file.size()?).map_err(|_| io::ErrorKind::FileTooLarge)?];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Creates a new file for writing and makes its name durable. Fails if it exists.
    pub fn create_durable(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = self.create_new(path)?;
        self.sync_parent(path)?;
        Ok(file)
    }

    /// Creates a directory with its parents, and makes their names durable.
    pub fn create_dir_durable(&self, dir: &Path) -> io::Result<()> {
        if self.is_dir(dir) {
            return Ok(());
        }
        if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
            self.create_dir_durable(parent)?;
        }
        match self.create_dir(dir) {
            Ok(()) => self.sync_parent(dir).inspect_err(|_| {
                // So that a repetition does not take it for durable.
                let _ = self.remove_dir_all(dir);
            }),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && self.is_dir(dir) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Renames over whatever is at `to` (a file, or an empty directory) and makes it durable.
    pub fn rename_durable(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename(from, to)?;
        self.sync_parent(to)
    }

    /// Replaces `path` with `bytes`: after a crash it holds either the old or the new content, whole.
    pub fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(".tmp");
        let tmp = Path::new(&name);
        match self.remove_file(tmp) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = self.create_new(tmp)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        self.rename_durable(tmp, path)
    }

    /// Removes a directory tree so that a crash in between leaves no half of it under its own name: it is renamed
    /// to `deleting` first, which start-up removes.
    pub fn remove_dir_durable(&self, dir: &Path, deleting: &Path) -> io::Result<()> {
        self.rename_durable(dir, deleting)?;
        self.remove_dir_all(deleting)
    }

    /// Makes the name of a file or directory durable.
    pub fn sync_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.sync_dir(parent),
            _ => self.sync_dir(Path::new(".")),
        }
    }
}

/// Creates a real directory with its parents, and makes their names durable.
pub fn create_dir_durable(dir: &Path) -> io::Result<()> {
    <dyn Fs>::create_dir_durable(&RealFs, dir)
}

/// Replaces a real file with `bytes`: after a crash it holds either the old or the new content, whole.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    <dyn Fs>::write_atomic(&RealFs, path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_atomic_replaces_and_leaves_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        write_atomic(&path, b"one").unwrap();
        std::fs::write(dir.path().join("state.json.tmp"), b"left by a crash").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
