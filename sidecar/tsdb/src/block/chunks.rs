//! Chunk segment files of a block: `chunks/000001`, ….
//!
//! ```text
//! file  = 85BD40DD | version 1 | 000000 | entry…
//! entry = uvarint length of data | encoding u8 | data | CRC-32C be32 of encoding and data
//! ```
//! A chunk is found by `file index (from 0) << 32 | offset of its entry`.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chunkenc::Encoding;
use crate::encoding::{crc, put_uvarint};
use crate::error::Error;
use crate::fs::{File, Fs};

pub(super) const MAGIC: [u8; 8] = [0x85, 0xbd, 0x40, 0xdd, 1, 0, 0, 0];
/// A chunk file takes no further chunk beyond this size.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// Writes chunks one after the other, beginning new files as they fill.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    path: PathBuf,
    file: BufWriter<Box<dyn File>>,
    /// Files finished.
    index: u64,
    offset: u64,
    entry: Vec<u8>,
}

impl ChunkWriter {
    /// Creates `dir` and its first file.
    pub(super) fn create(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Self, Error> {
        fs.create_dir_durable(dir).map_err(Error::io("create", dir))?;
        let (path, file) = Self::open(fs.as_ref(), dir, 0)?;
        let (fs, dir) = (Arc::clone(fs), dir.to_owned());
        Ok(Self { fs, dir, path, file, index: 0, offset: MAGIC.len() as u64, entry: Vec::new() })
    }

    fn open(fs: &dyn Fs, dir: &Path, index: u64) -> Result<(PathBuf, BufWriter<Box<dyn File>>), Error> {
        let path = dir.join(format!("{:06}", index + 1));
        let file = fs.create_new(&path).map_err(Error::io("create", &path))?;
        let mut file = BufWriter::with_capacity(1 << 18, file);
        file.write_all(&MAGIC).map_err(Error::io("write", &path))?;
        Ok((path, file))
    }

    /// Writes one chunk and returns its reference.
    pub(super) fn write(&mut self, encoding: Encoding, data: &[u8]) -> Result<u64, Error> {
        self.entry.clear();
        put_uvarint(&mut self.entry, data.len() as u64);
        let body = self.entry.len();
        self.entry.push(encoding as u8);
        self.entry.extend_from_slice(data);
        let sum = crc(self.entry.get(body..).unwrap_or_default());
        self.entry.extend_from_slice(&sum.to_be_bytes());
        if self.offset + self.entry.len() as u64 > FILE_BYTES_MAX {
            self.finish()?;
            (self.path, self.file) = Self::open(self.fs.as_ref(), &self.dir, self.index + 1)?;
            self.index += 1;
            self.offset = MAGIC.len() as u64;
        }
        let reference = self.index << 32 | self.offset;
        self.file.write_all(&self.entry).map_err(Error::io("write", &self.path))?;
        self.offset += self.entry.len() as u64;
        Ok(reference)
    }

    /// Makes the open file durable, its name aside.
    fn finish(&mut self) -> Result<(), Error> {
        self.file.flush().map_err(Error::io("write", &self.path))?;
        self.file.get_ref().sync_all().map_err(Error::io("fsync", &self.path))
    }

    /// Makes all files durable.
    pub(super) fn close(mut self) -> Result<(), Error> {
        self.finish()?;
        self.fs.sync_dir(&self.dir).map_err(Error::io("fsync", &self.dir))
    }
}
