//! Builds a block in a temporary directory and publishes it by one rename, after everything in it is durable.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chunks::ChunkWriter;
use super::meta::{META_FILE, Meta, to_json};
use crate::chunk::Chunk;
use crate::chunkenc::Encoding;
use crate::error::Error;
use crate::fs::Fs;
use crate::index::{ChunkMeta, IndexWriter};
use crate::layout;

/// `0130BA30`, version 1, no entries, the CRC of nothing.
const EMPTY_TOMBSTONES: [u8; 9] = [0x01, 0x30, 0xba, 0x30, 1, 0, 0, 0, 0];

/// A block being written. Dropped before [`BlockWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct BlockWriter {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    tmp: PathBuf,
    meta: Meta,
    chunks: Option<ChunkWriter>,
    index: Option<IndexWriter>,
    metas: Vec<ChunkMeta>,
    published: bool,
}

impl BlockWriter {
    /// Begins a level 1 block in tenant directory `dir`, described by `meta` but for its counts. `symbols` are all label
    /// names and values, sorted and unique.
    pub(crate) fn create(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        meta: Meta,
        symbols: Vec<Box<[u8]>>,
    ) -> Result<Self, Error> {
        let ulid = meta.ulid;
        let tmp = dir.join(format!("{ulid}{}", layout::TMP_CREATION));
        fs.create_dir_durable(&tmp).map_err(Error::io("create", &tmp))?;
        let mut block = Self {
            fs: Arc::clone(fs),
            dir: dir.to_owned(),
            tmp,
            meta,
            chunks: None,
            index: None,
            metas: Vec::new(),
            published: false,
        };
        block.chunks = Some(ChunkWriter::create(fs, &block.tmp.join("chunks"))?);
        block.index = Some(IndexWriter::create(fs.as_ref(), &block.tmp.join("index"), symbols)?);
        Ok(block)
    }

    /// Adds a series with its chunks. Series come sorted by their labels, whose names and values are positions in
    /// the symbols.
    pub(crate) fn add_series(
        &mut self,
        labels: impl ExactSizeIterator<Item = (u32, u32)>,
        chunks: &[Chunk],
    ) -> Result<(), Error> {
        let (Some(chunk_writer), Some(index)) = (&mut self.chunks, &mut self.index) else { return Ok(()) };
        self.metas.clear();
        for chunk in chunks {
            let reference = chunk_writer.write(chunk.encoding, &chunk.data)?;
            self.metas.push(ChunkMeta { mint: chunk.mint, maxt: chunk.maxt, reference });
            let samples = u64::from(chunk.count());
            self.meta.stats.num_samples += samples;
            match chunk.encoding {
                Encoding::Xor => self.meta.stats.num_float_samples += samples,
                Encoding::Histogram | Encoding::FloatHistogram => {
                    self.meta.stats.num_histogram_samples += samples;
                }
            }
        }
        self.meta.stats.num_series += 1;
        self.meta.stats.num_chunks += chunks.len() as u64;
        index.add_series(labels, &self.metas)
    }

    /// Completes the files, makes them durable and publishes the block. `labels` gives, as often as it is called,
    /// the labels of all series in the order in which they were added.
    pub(crate) fn finish<I, L>(mut self, labels: impl Fn() -> I) -> Result<Meta, Error>
    where
        I: Iterator<Item = L>,
        L: Iterator<Item = (u32, u32)>,
    {
        if let (Some(chunks), Some(index)) = (self.chunks.take(), self.index.take()) {
            chunks.close()?;
            index.finish(labels)?;
        }
        let json = to_json(&self.meta).map_err(|e| Error::corrupt(&self.tmp.join(META_FILE), 0, e))?;
        for (name, bytes) in [(META_FILE, json.as_slice()), ("tombstones", EMPTY_TOMBSTONES.as_slice())] {
            let path = self.tmp.join(name);
            self.fs.write_atomic(&path, bytes).map_err(Error::io("write", &path))?;
        }
        self.fs.sync_dir(&self.tmp).map_err(Error::io("fsync", &self.tmp))?;
        let path = self.dir.join(self.meta.ulid.to_string());
        self.fs.rename(&self.tmp, &path).map_err(Error::io("rename", &self.tmp))?;
        if let Err(e) = self.fs.sync_parent(&path) {
            // The caller will write the block again, under another name; two of it would hold samples twice.
            let _ = self.fs.rename_durable(&path, &self.tmp);
            return Err(Error::io("fsync", &self.dir)(e));
        }
        self.published = true;
        Ok(self.meta.clone())
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        if !self.published {
            // What stays behind is removed when the tenant is next opened.
            let _ = self.fs.remove_dir_all(&self.tmp);
        }
    }
}
