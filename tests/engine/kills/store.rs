//! What the directory of the killed sidecar holds, held against the truth.
//!
//! Blocks never change once they are there, so a look reads what no earlier look found in blocks; the last one reads
//! everything.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ringside_e2e::oracle::{self, Reader};
use serde_json::Value;

use super::load::{self, SENDERS, SERIES, Truth};
use crate::kinds::HISTOGRAMS;

/// The directory of a tenant whose sidecar is dead whenever this is used.
pub(super) struct Store {
    dir: PathBuf,
    copy: PathBuf,
    /// Everything older was found in blocks.
    from: i64,
}

impl Store {
    pub(super) fn new(dir: &Path, copy: &Path) -> Self {
        Self { dir: dir.to_owned(), copy: copy.to_owned(), from: i64::MIN }
    }

    /// Looks at what is new. Returns the number of samples seen.
    pub(super) fn look(&mut self, truth: &Truth) -> Result<usize> {
        let from = self.from;
        // promtool shows no native histograms.
        let reader = if HISTOGRAMS { Reader::Ringside } else { Reader::Promtool };
        let seen = self.judge(reader, truth, from)?;
        self.from = self.block_ends()?.into_iter().max().map_or(from, |(end, _)| end);
        Ok(seen)
    }

    /// Looks at everything. Returns the number of samples seen.
    pub(super) fn look_at_all(&self, truth: &Truth) -> Result<usize> {
        let seen = self.judge(Reader::Promtool, truth, i64::MIN)?;
        if HISTOGRAMS { self.judge(Reader::Ringside, truth, i64::MIN) } else { Ok(seen) }
    }

    /// The number of blocks.
    pub(super) fn blocks(&self) -> Result<usize> {
        Ok(self.block_ends()?.len())
    }

    fn judge(&self, reader: Reader, truth: &Truth, from: i64) -> Result<usize> {
        self.copy(from)?;
        let first = load::first_step(from);
        let mut seen = Seen::new(first, truth);
        oracle::dump_text(reader, &self.copy, from, |labels, timestamp, value| {
            let sample = load::origin(labels, timestamp, value).and_then(|origin| seen.add(origin));
            sample.with_context(|| format!("{labels:?} {timestamp} {value}"))
        })?;
        std::fs::remove_dir_all(&self.copy)?;
        seen.expect_all_acknowledged(reader, truth)?;
        Ok(seen.count)
    }

    /// Copies the logs, and links the blocks that reach beyond `from`.
    fn copy(&self, from: i64) -> Result<()> {
        for log in ["wal", "wbl", "chunks_head"] {
            if self.dir.join(log).is_dir() {
                oracle::copy_tree(&self.dir.join(log), &self.copy.join(log))?;
            }
        }
        for (end, block) in self.block_ends()? {
            if end > from {
                link_tree(&block, &self.copy.join(block.file_name().context("a block without a name")?))?;
            }
        }
        Ok(())
    }

    /// The end of each block's range, and its directory.
    fn block_ends(&self) -> Result<Vec<(i64, PathBuf)>> {
        let mut ends = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| oracle::is_block(&name.to_string_lossy())) {
                let meta: Value = serde_json::from_slice(&std::fs::read(path.join("meta.json"))?)?;
                ends.push((meta["maxTime"].as_i64().context("no maxTime")?, path));
            }
        }
        Ok(ends)
    }
}

fn link_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            link_tree(&entry.path(), &target)?;
        } else {
            std::fs::hard_link(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Which samples were found, one bit each.
struct Seen {
    first: u64,
    end: u64,
    bits: Vec<u64>,
    count: usize,
}

impl Seen {
    /// For the steps from `first` to the last that a sender may have sent.
    fn new(first: u64, truth: &Truth) -> Self {
        // One more than the step under way, whose samples may stand for its neighbour.
        let end = truth.iter().map(|sender| sender.step).max().unwrap_or(0) + 2;
        let bits = (end.max(first) - first) as usize * SENDERS * SERIES;
        Self { first, end: end.max(first), bits: vec![0; bits.div_ceil(64)], count: 0 }
    }

    fn bit(&self, (sender, index, step): (usize, usize, u64)) -> Option<(usize, u64)> {
        if sender >= SENDERS || index >= SERIES || !(self.first..self.end).contains(&step) {
            return None;
        }
        let place = ((step - self.first) as usize * SENDERS + sender) * SERIES + index;
        Some((place / 64, 1 << (place % 64)))
    }

    fn add(&mut self, sample: (usize, usize, u64)) -> Result<()> {
        let (word, bit) = self.bit(sample).context("it was not sent yet")?;
        ensure!(self.bits[word] & bit == 0, "it is there twice");
        self.bits[word] |= bit;
        self.count += 1;
        Ok(())
    }

    fn has(&self, sample: (usize, usize, u64)) -> bool {
        self.bit(sample).is_none_or(|(word, bit)| self.bits[word] & bit != 0)
    }

    fn expect_all_acknowledged(&self, reader: Reader, truth: &Truth) -> Result<()> {
        let (mut missing, mut example) = (0_usize, None);
        for (sender, progress) in truth.iter().enumerate() {
            for step in
                (self.first.saturating_sub(1)..progress.step).filter(|s| !progress.unknown.contains(s))
            {
                let shown = |index: &usize| reader == Reader::Ringside || !load::is_histogram(*index);
                for index in (0..SERIES).filter(shown) {
                    let stored = load::stored_step(index, step);
                    if stored >= self.first && !self.has((sender, index, stored)) {
                        missing += 1;
                        example.get_or_insert((sender, index, stored, load::time(stored)));
                    }
                }
            }
        }
        ensure!(missing == 0, "{missing} acknowledged samples are missing, such as {example:?}");
        Ok(())
    }
}
