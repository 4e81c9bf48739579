//! Checks a whole block, more strictly than a reader needs it: what Thanos' compactor and its store gateway demand,
//! and that the parts of the block agree with each other.
//!
//! Goes on after a fault where it can. Series, postings and chunks pass by; none are held.

use std::path::Path;

use super::meta::{META_FILE, Meta, Stats};
use super::reader::Block;
use crate::error::Error;
use crate::fs::Fs;
use crate::index::{self, ChunkMeta, Faults, SeriesEntry};
use crate::sample::Value;

/// Checks the block in `dir` and calls `fault` for everything that is wrong, with file and offset. Returns what the
/// block holds, as far as it could be read.
pub fn verify(fs: &dyn Fs, dir: &Path, fault: &mut dyn FnMut(Error)) -> Stats {
    let block = match Block::open(fs, dir) {
        Ok(block) => block,
        Err(error) => {
            fault(error);
            return Stats::default();
        }
    };
    let mut found = Found { block: &block, stats: Stats::default(), newest: None, whole: true };
    found.whole &=
        index::verify(block.index(), fault, &mut |at, series, faults| found.series(at, series, faults));
    found.stats.num_tombstones = block.tombstones().count();
    let path = dir.join(META_FILE);
    let counts = if found.whole { counts(&block.meta().stats, &found.stats) } else { Vec::new() };
    for what in counts.into_iter().chain(ancestry(block.meta())) {
        fault(Error::corrupt(&path, 0, what));
    }
    found.stats
}

/// Where what meta.json counts is not what the block holds.
fn counts(stated: &Stats, found: &Stats) -> Vec<String> {
    let mut counts = vec![
        ("numSamples", stated.num_samples, found.num_samples),
        ("numSeries", stated.num_series, found.num_series),
        ("numChunks", stated.num_chunks, found.num_chunks),
        ("numTombstones", stated.num_tombstones, found.num_tombstones),
    ];
    // Prometheus 2.42 does not tell the kinds apart.
    if stated.num_float_samples + stated.num_histogram_samples > 0 {
        counts.push(("numFloatSamples", stated.num_float_samples, found.num_float_samples));
        counts.push(("numHistogramSamples", stated.num_histogram_samples, found.num_histogram_samples));
    }
    let wrong = counts.into_iter().filter(|(_, stated, found)| stated != found);
    wrong.map(|(name, stated, found)| format!("{name} is {stated}, the block has {found}")).collect()
}

/// What is wrong with a block's times and sources.
fn ancestry(meta: &Meta) -> Vec<String> {
    let mut wrong = Vec::new();
    if meta.min_time >= meta.max_time {
        wrong.push(format!("minTime {} is not before maxTime {}", meta.min_time, meta.max_time));
    }
    if meta.compaction.level == 0 || meta.compaction.sources.is_empty() {
        wrong.push("the compaction has no level or no sources".to_owned());
    }
    wrong
}

/// Goes through the series and counts.
struct Found<'b> {
    block: &'b Block,
    stats: Stats,
    /// Reference of the chunk before.
    newest: Option<u64>,
    /// False once something could not be read, so that the counts say nothing.
    whole: bool,
}

impl Found<'_> {
    fn series(&mut self, at: u64, series: &SeriesEntry, faults: &mut Faults<'_>) {
        let index = self.block.index().path();
        self.stats.num_series += 1;
        self.stats.num_chunks += series.chunks.len() as u64;
        if series.chunks.is_empty() {
            faults(Error::corrupt(index, at, "the series has no chunk"));
        }
        let mut previous: Option<ChunkMeta> = None;
        for chunk in &series.chunks {
            if let Some(what) = self.place(previous, chunk) {
                faults(Error::corrupt(index, at, format!("chunk {:#x} {what}", chunk.reference)));
            }
            if let Err(error) = self.samples(chunk) {
                self.whole = false;
                faults(error);
            }
            previous = Some(*chunk);
            self.newest = Some(chunk.reference);
        }
    }

    /// What is wrong with where a chunk is, in time and in the files.
    fn place(&self, previous: Option<ChunkMeta>, chunk: &ChunkMeta) -> Option<String> {
        let ChunkMeta { mint, maxt, reference } = *chunk;
        let meta = self.block.meta();
        if previous.is_some_and(|previous| mint <= previous.maxt) {
            return Some(format!("begins at {mint}, not after the one before"));
        }
        if mint < meta.min_time || maxt >= meta.max_time {
            return Some(format!("from {mint} to {maxt} is not within the block's times"));
        }
        self.newest
            .is_some_and(|newest| reference <= newest)
            .then(|| "is not behind the one before".to_owned())
    }

    /// Decodes a chunk and counts its samples.
    fn samples(&mut self, meta: &ChunkMeta) -> Result<(), Error> {
        let files = self.block.chunk_reader();
        let corrupt = |what: String| files.corrupt(meta.reference, what);
        let chunk = files.chunk(meta.reference)?;
        let mut times: Option<(i64, i64)> = None;
        for sample in chunk.samples() {
            let (t, value) = sample.map_err(|e| corrupt(e.to_string()))?;
            let (mint, maxt) = times.unwrap_or((t, i64::MIN));
            if times.is_some() && t <= maxt {
                return Err(corrupt(format!("the chunk's sample at {t} is not after the one before")));
            }
            times = Some((mint, t));
            self.stats.num_samples += 1;
            match value {
                Value::Float(_) => self.stats.num_float_samples += 1,
                Value::Histogram(_) | Value::FloatHistogram(_) => self.stats.num_histogram_samples += 1,
            }
        }
        match times {
            Some(times) if times == (meta.mint, meta.maxt) => Ok(()),
            Some((mint, maxt)) => Err(corrupt(format!(
                "the chunk has times from {mint} to {maxt}, the index says from {} to {}",
                meta.mint, meta.maxt
            ))),
            None => Err(corrupt("the chunk has no sample".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
