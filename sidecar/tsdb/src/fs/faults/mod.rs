//! A file system in memory that knows what a power cut would leave, and fails at the step that a test names.
//!
//! A file is durable as it was at its last sync; a directory's names as they were at its last sync. Every operation
//! is a step; a step can fail, write only a part, or be the last before the power goes.

mod state;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Entry, File, Fs};
use state::{DirNode, FileNode, Id, Node, ROOT, State};

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with `EIO` and does nothing. What a failed sync should have made durable is lost, as it is on Linux:
    /// a later sync does not bring it back.
    Error,
    /// Like [`Fault::Error`] with `ENOSPC`.
    NoSpace,
    /// A write takes half of its bytes and the step after it fails with `ENOSPC`; anything else goes on as usual.
    Short,
    /// It reaches memory but nothing is made durable by it, and everything after it fails, until
    /// [`FaultFs::reboot`].
    Crash,
}

/// What of the things never made durable is there after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// Nothing: the power went before any of it was written back.
    Nothing,
    /// Everything: only the process was killed. A power cut may still take it.
    Everything,
    /// For each directory a random prefix of its changes, for each file random sectors; by seed.
    Some(u64),
}

/// The file system. Clones are the same one.
#[derive(Debug, Clone)]
pub struct FaultFs(Arc<Mutex<State>>);

impl Default for FaultFs {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State::new(HashMap::from([(ROOT, Node::Dir(DirNode::default()))])))))
    }
}

impl FaultFs {
    /// Lets `fault` happen at step `at`, counted from now.
    pub fn plan(&self, at: u64, fault: Fault) {
        let mut state = self.lock();
        state.steps.clear();
        state.fault = Some((at, fault));
    }

    /// Takes the planned fault back, unless it happened.
    pub fn unplan(&self) {
        self.lock().fault = None;
    }

    /// The name of every step since the last [`FaultFs::plan`].
    pub fn steps(&self) -> Vec<&'static str> {
        self.lock().steps.clone()
    }

    /// True once the planned crash came.
    pub fn crashed(&self) -> bool {
        self.lock().crashed
    }

    /// What a machine finds that starts again now.
    pub fn reboot(&self, survives: Survives) -> Self {
        Self(Arc::new(Mutex::new(self.lock().reboot(survives))))
    }

    /// Copies what is there now to a real directory.
    pub fn copy_to(&self, dir: &Path, target: &Path) -> io::Result<()> {
        std::fs::create_dir_all(target)?;
        let names = {
            let state = self.lock();
            let id = state.find(dir)?;
            state.dir(id)?.volatile.clone()
        };
        for (name, id) in names {
            let bytes = match self.lock().nodes.get(&id) {
                Some(Node::File(file)) => Some(file.volatile.clone()),
                _ => None,
            };
            match bytes {
                Some(bytes) => std::fs::write(target.join(&name), bytes)?,
                None => self.copy_to(&dir.join(&name), &target.join(&name))?,
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One step that goes well or fails with nothing done. True: it goes well and is the last.
    fn step(&self, name: &'static str) -> io::Result<(MutexGuard<'_, State>, bool)> {
        let mut state = self.lock();
        let fault = state.step(name);
        match fault {
            Some(Fault::Error | Fault::NoSpace) => Err(os_error(fault)),
            _ if state.crashed && fault.is_none() => Err(os_error(None)),
            _ => Ok((state, fault == Some(Fault::Crash))),
        }
    }
}

fn os_error(fault: Option<Fault>) -> io::Error {
    io::Error::from_raw_os_error(if fault == Some(Fault::NoSpace) { 28 } else { 5 })
}

#[derive(Debug)]
struct FaultFile {
    fs: FaultFs,
    id: Id,
    at: usize,
    writable: bool,
}

impl FaultFile {
    fn sync(&self) -> io::Result<()> {
        let mut state = self.fs.lock();
        let fault = state.step("sync");
        match fault {
            None if state.crashed => Err(os_error(None)),
            None | Some(Fault::Short) => state.file(self.id).map(FileNode::sync),
            Some(Fault::Crash) => Err(os_error(fault)),
            Some(Fault::Error | Fault::NoSpace) => {
                state.file(self.id)?.fail_sync();
                Err(os_error(fault))
            }
        }
    }
}

impl io::Write for FaultFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut state = self.fs.lock();
        let fault = state.step("write");
        let len = match fault {
            None if state.crashed => return Err(os_error(None)),
            Some(Fault::Error | Fault::NoSpace) => return Err(os_error(fault)),
            Some(Fault::Short) => bytes.len() / 2,
            None | Some(Fault::Crash) => bytes.len(),
        };
        let file = state.file(self.id)?;
        let end = self.at + len;
        if file.volatile.len() < end {
            file.volatile.resize(end, 0);
        }
        let target = file.volatile.get_mut(self.at..end).unwrap_or_default();
        target.iter_mut().zip(bytes).for_each(|(byte, new)| *byte = *new);
        self.at = end;
        if fault == Some(Fault::Crash) { Err(os_error(fault)) } else { Ok(len) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl File for FaultFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let (mut state, _) = self.fs.step("read")?;
        let file = state.file(self.id)?;
        let rest = file.volatile.get(offset as usize..).unwrap_or_default();
        buffer.iter_mut().zip(rest).for_each(|(byte, found)| *byte = *found);
        Ok(buffer.len().min(rest.len()))
    }

    fn size(&self) -> io::Result<u64> {
        let (mut state, _) = self.fs.step("size")?;
        Ok(state.file(self.id)?.volatile.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let (mut state, last) = self.fs.step("set_len")?;
        state.file(self.id)?.set_len(len as usize);
        after(last)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }
}

/// The operation took place, but nobody hears of it if the machine went with it.
fn after(last: bool) -> io::Result<()> {
    if last { Err(os_error(None)) } else { Ok(()) }
}

impl Fs for FaultFs {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let (mut state, last) = self.step("create")?;
        let id = state.create(path, Node::File(FileNode::default()))?;
        after(last)?;
        Ok(Box::new(FaultFile { fs: self.clone(), id, at: 0, writable: true }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let (mut state, _) = self.step("open")?;
        let id = state.find(path)?;
        state.file(id)?;
        Ok(Box::new(FaultFile { fs: self.clone(), id, at: 0, writable: false }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let (mut state, _) = self.step("open")?;
        let id = state.find(path)?;
        state.file(id)?;
        Ok(Box::new(FaultFile { fs: self.clone(), id, at: 0, writable: true }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let (state, _) = self.step("list")?;
        let id = state.find(dir)?;
        let names = &state.dir(id)?.volatile;
        Ok(names
            .iter()
            .map(|(name, id)| Entry { name: name.clone(), is_dir: state.dir(*id).is_ok() })
            .collect())
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        let (state, _) = self.step("stat")?;
        match state.nodes.get(&state.find(path)?) {
            Some(Node::File(file)) => Ok(Some(file.volatile.len() as u64)),
            _ => Ok(None),
        }
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let (mut state, last) = self.step("create_dir")?;
        state.create(dir, Node::Dir(DirNode::default()))?;
        after(last)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut state, last) = self.step("rename")?;
        let id = state.find(from)?;
        let ((dir, old), (other, new)) = (state.place(from)?, state.place(to)?);
        if dir != other {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        if let Ok(there) = state.find(to)
            && state.dir(there).is_ok_and(|there| !there.volatile.is_empty())
        {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.dir_mut(dir)?.change(vec![(old, None), (new, Some(id))]);
        after(last)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let (mut state, last) = self.step("remove")?;
        state.remove(path, false)?;
        after(last)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let names = self.list(dir)?;
        for Entry { name, is_dir } in names {
            let path = dir.join(name);
            if is_dir { self.remove_dir_all(&path)? } else { self.remove_file(&path)? }
        }
        let (mut state, last) = self.step("remove_dir")?;
        state.remove(dir, true)?;
        after(last)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let (mut state, last) = self.step("sync_dir")?;
        let id = state.find(dir)?;
        if !last {
            let dir = state.dir_mut(id)?;
            dir.durable.clone_from(&dir.volatile);
            dir.changes.clear();
        }
        after(last)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(fs: &FaultFs, dir: &str) -> Vec<String> {
        fs.list(Path::new(dir)).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn bytes_need_a_sync_and_names_another() {
        let fs = FaultFs::default();
        let mut file = fs.create_new(Path::new("/a")).unwrap();
        file.write_all(b"one").unwrap();
        file.sync_all().unwrap();
        assert!(names(&fs.reboot(Survives::Nothing), "/").is_empty());
        fs.sync_dir(Path::new("/")).unwrap();
        file.write_all(b"two").unwrap();
        let whole = |survives| <dyn Fs>::read(&fs.reboot(survives), Path::new("/a")).unwrap();
        assert_eq!(whole(Survives::Nothing), b"one");
        assert_eq!(whole(Survives::Everything), b"onetwo");
        fs.rename(Path::new("/a"), Path::new("/b")).unwrap();
        assert_eq!(names(&fs, "/"), ["b"]);
        assert_eq!(names(&fs.reboot(Survives::Nothing), "/"), ["a"]);
        assert!((0..20).any(|seed| names(&fs.reboot(Survives::Some(seed)), "/") == ["b"]));
    }

    #[test]
    fn what_a_failed_sync_lost_stays_lost() {
        let fs = FaultFs::default();
        let mut file = <dyn Fs>::create_durable(&fs, Path::new("/a")).unwrap();
        file.write_all(b"one").unwrap();
        fs.plan(0, Fault::Error);
        assert!(file.sync_data().is_err());
        file.write_all(b"two").unwrap();
        file.sync_data().unwrap();
        let after = |fs: &FaultFs| <dyn Fs>::read(&fs.reboot(Survives::Nothing), Path::new("/a")).unwrap();
        assert_eq!(after(&fs), b"\0\0\0two");
        assert_eq!(<dyn Fs>::read(&fs, Path::new("/a")).unwrap(), b"onetwo");
    }

    #[test]
    fn nothing_works_after_a_crash() {
        let fs = FaultFs::default();
        fs.plan(1, Fault::Crash);
        let mut file = fs.create_new(Path::new("/a")).unwrap();
        assert!(file.write_all(b"one").is_err() && fs.crashed());
        assert!(file.sync_all().is_err() && fs.list(Path::new("/")).is_err());
        assert_eq!(<dyn Fs>::read(&fs.reboot(Survives::Everything), Path::new("/a")).unwrap(), b"one");
    }
}
