//! What the micro-benchmarks measure and the public interface does not reach by itself. No interface for anyone
//! else: it changes with what it opens.

use std::path::Path;
use std::sync::Arc;

use crate::chunkenc::xor::XorAppender;
use crate::error::Error;
use crate::fs::Fs;
use crate::layout;
use crate::record::SamplesEncoder;
use crate::wal::{NextSegments, Wal, WalSync};

/// Encodes one float chunk.
pub fn xor_chunk(samples: &[(i64, f64)]) -> Box<[u8]> {
    let mut chunk = XorAppender::default();
    samples.iter().for_each(|&(t, v)| chunk.append(t, v));
    chunk.finish()
}

/// A log by itself, which syncs nothing.
#[derive(Debug)]
pub struct Log {
    wal: Wal,
    record: SamplesEncoder,
}

impl Log {
    /// Begins a log in an empty directory.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Self, Error> {
        let wal_dir = dir.join(layout::WAL);
        fs.create_dir_durable(&wal_dir).map_err(Error::io("create", &wal_dir))?;
        let wal = Wal::create(fs, dir, NextSegments { wal: 0, wbl: 0 }, 128 << 20, WalSync::None)?;
        Ok(Self { wal, record: SamplesEncoder::default() })
    }

    /// Encodes, compresses, frames and writes one record with one sample for each of the first `series` references.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn samples(&mut self, series: u64, t_ms: i64, value: f64) -> Result<(), Error> {
        (1..=series).for_each(|reference| self.record.push(reference, t_ms, value + reference as f64));
        let position = self.wal.queue([self.record.bytes()], []);
        self.record.clear();
        self.wal.wait(position)
    }
}
