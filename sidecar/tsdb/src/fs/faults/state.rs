//! What the file system in memory holds: files and directories, each as it is and as a power cut would leave it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Component, Path};

use super::{Fault, Survives};

/// A file or directory, whatever its name.
pub(super) type Id = u64;

#[derive(Debug, Default, Clone)]
pub(super) struct FileNode {
    pub(super) volatile: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// What a failed sync lost: from and to.
    pub(super) lost: Vec<(usize, usize)>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct DirNode {
    pub(super) volatile: BTreeMap<String, Id>,
    pub(super) durable: BTreeMap<String, Id>,
    /// Since the last sync; the names of one change go together.
    pub(super) changes: Vec<Vec<(String, Option<Id>)>>,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) nodes: HashMap<Id, Node>,
    pub(super) next: Id,
    pub(super) steps: Vec<&'static str>,
    pub(super) fault: Option<(u64, Fault)>,
    pub(super) crashed: bool,
}

pub(super) const ROOT: Id = 0;
/// Bytes that a device writes as one.
const SECTOR: usize = 512;

impl State {
    pub(super) fn new(nodes: HashMap<Id, Node>) -> Self {
        let next = nodes.keys().max().map_or(0, |id| id + 1);
        Self { nodes, next, steps: Vec::new(), fault: None, crashed: false }
    }

    pub(super) fn reboot(&self, survives: Survives) -> Self {
        let mut random = match survives {
            Survives::Everything => return Self::new(self.nodes.clone()),
            Survives::Nothing => Random(1),
            Survives::Some(seed) => Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        };
        let mut nodes = HashMap::new();
        let mut left = vec![ROOT];
        while let Some(id) = left.pop() {
            let node = match self.nodes.get(&id) {
                Some(Node::Dir(dir)) => {
                    let names = dir.after(survives, &mut random);
                    left.extend(names.values());
                    Node::Dir(DirNode { volatile: names.clone(), durable: names, changes: Vec::new() })
                }
                Some(Node::File(file)) => {
                    let bytes = file.after(survives, &mut random);
                    Node::File(FileNode { volatile: bytes.clone(), durable: bytes, lost: Vec::new() })
                }
                None => continue,
            };
            nodes.insert(id, node);
        }
        Self::new(nodes)
    }

    pub(super) fn step(&mut self, name: &'static str) -> Option<Fault> {
        if self.crashed {
            return None;
        }
        let at = self.steps.len() as u64;
        self.steps.push(name);
        let (_, fault) = self.fault.take_if(|(planned, _)| *planned == at)?;
        match fault {
            Fault::Crash => self.crashed = true,
            Fault::Short if name == "write" => self.fault = Some((at + 1, Fault::NoSpace)),
            Fault::Short => return None,
            _ => {}
        }
        Some(fault)
    }

    pub(super) fn add(&mut self, node: Node) -> Id {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, node);
        id
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Id> {
        let mut id = ROOT;
        for part in path.components() {
            match part {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => {
                    let name = name.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
                    id = *self.dir(id)?.volatile.get(name).ok_or(io::ErrorKind::NotFound)?;
                }
                _ => return Err(io::ErrorKind::InvalidInput.into()),
            }
        }
        Ok(id)
    }

    /// The directory that `path` is in, and its name there.
    pub(super) fn place(&self, path: &Path) -> io::Result<(Id, String)> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidFilename)?;
        let parent = self.find(path.parent().unwrap_or(Path::new("/")))?;
        self.dir(parent)?;
        Ok((parent, name.to_owned()))
    }

    pub(super) fn dir(&self, id: Id) -> io::Result<&DirNode> {
        match self.nodes.get(&id) {
            Some(Node::Dir(dir)) => Ok(dir),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn dir_mut(&mut self, id: Id) -> io::Result<&mut DirNode> {
        match self.nodes.get_mut(&id) {
            Some(Node::Dir(dir)) => Ok(dir),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn file(&mut self, id: Id) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&id) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn create(&mut self, path: &Path, node: Node) -> io::Result<Id> {
        let (parent, name) = self.place(path)?;
        if self.dir(parent)?.volatile.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = self.add(node);
        self.dir_mut(parent)?.change(vec![(name, Some(id))]);
        Ok(id)
    }

    pub(super) fn remove(&mut self, path: &Path, directory: bool) -> io::Result<()> {
        let (parent, name) = self.place(path)?;
        let id = self.find(path)?;
        if directory {
            self.dir(id)?;
        } else {
            self.file(id)?;
        }
        self.dir_mut(parent)?.change(vec![(name, None)]);
        Ok(())
    }
}

impl DirNode {
    pub(super) fn change(&mut self, names: Vec<(String, Option<Id>)>) {
        apply(&mut self.volatile, &names);
        self.changes.push(names);
    }

    pub(super) fn after(&self, survives: Survives, random: &mut Random) -> BTreeMap<String, Id> {
        let keep = match survives {
            Survives::Nothing => 0,
            _ => random.below(self.changes.len() + 1),
        };
        let mut names = self.durable.clone();
        self.changes.iter().take(keep).for_each(|change| apply(&mut names, change));
        names
    }
}

fn apply(names: &mut BTreeMap<String, Id>, change: &[(String, Option<Id>)]) {
    for (name, id) in change {
        match id {
            Some(id) => names.insert(name.clone(), *id),
            None => names.remove(name),
        };
    }
}

impl FileNode {
    pub(super) fn sync(&mut self) {
        self.durable.clone_from(&self.volatile);
        for &(from, to) in &self.lost {
            let to = to.min(self.durable.len());
            self.durable.get_mut(from..to).unwrap_or_default().fill(0);
        }
    }

    pub(super) fn fail_sync(&mut self) {
        self.lost.push((self.durable.len(), self.volatile.len()));
    }

    pub(super) fn set_len(&mut self, len: usize) {
        self.volatile.resize(len, 0);
        self.lost.iter_mut().for_each(|(_, to)| *to = len.min(*to));
        self.lost.retain(|(from, to)| from < to);
    }

    pub(super) fn after(&self, survives: Survives, random: &mut Random) -> Vec<u8> {
        match survives {
            Survives::Nothing => self.durable.clone(),
            _ => {
                let (a, b) = (self.durable.len(), self.volatile.len());
                let mut bytes = self.durable.clone();
                bytes.resize(a.min(b) + random.below(a.abs_diff(b) + 1), 0);
                for (sector, new) in bytes.chunks_mut(SECTOR).zip(self.volatile.chunks(SECTOR)) {
                    if random.below(4) > 0 {
                        sector.iter_mut().zip(new).for_each(|(byte, new)| *byte = *new);
                    }
                }
                bytes
            }
        }
    }
}

/// Enough for tests, and the same everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}
