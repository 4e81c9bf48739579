//! Turns a due range of the head into a block, a thousand series at a time, so that appends go on meanwhile.
//!
//! What comes for the range after it was sealed is late and stands apart, so what is copied in several steps is still
//! one state. What a cut holds beside the head is the order of the series and the label strings.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ulid::Ulid;

use crate::block::{BlockWriter, HINT_OUT_OF_ORDER, Meta, Remarks};
use crate::chunk::Chunk;
use crate::chunks_head::HeadChunks;
use crate::error::Error;
use crate::fs::Fs;
use crate::head::{Before, Head, LateSamples, SLOTS_PER_STEP, Series, encode, range_end};
use crate::lock;
use crate::sample::Value;

/// What a cut works on.
pub(crate) struct Cut<'a> {
    pub(crate) fs: &'a Arc<dyn Fs>,
    /// The tenant's directory.
    pub(crate) dir: &'a Path,
    pub(crate) head: &'a Mutex<Head>,
    pub(crate) head_chunks: &'a HeadChunks,
    /// Length of a block's range, milliseconds.
    pub(crate) range: i64,
}

impl Cut<'_> {
    /// Writes the samples in `[mint, maxt)` as a block; `None` if there are none. `wbl` is the first segment of the
    /// write-behind log that is needed beside it.
    pub(crate) fn block(
        &self,
        ulid: Ulid,
        range: (i64, i64),
        wbl: Option<u64>,
    ) -> Result<Option<Meta>, Error> {
        let maxt = range.1;
        let plan = Plan::of(self.head, |_, series| series.mint().is_some_and(|mint| mint < maxt))?;
        let mut meta = Meta::new(ulid, range);
        meta.ringside = wbl.map(|wbl_first| Remarks { wbl_first });
        self.write(plan, meta, |some| {
            let copied: Vec<Before> = {
                let head = lock(self.head)?;
                let series = some.iter().map(|planned| head.slots().get(planned.slot as usize));
                series
                    .map(|series| series.map_or_else(Before::default, |series| series.before(maxt)))
                    .collect()
            };
            copied.into_iter().map(|before| self.chunks(before)).collect()
        })
    }

    /// Writes late samples as blocks, one for each range.
    pub(crate) fn late_blocks(&self, late: &LateSamples, wbl: Option<u64>) -> Result<Vec<Meta>, Error> {
        let mut ranges: BTreeMap<i64, BTreeMap<u32, Vec<(i64, Value)>>> = BTreeMap::new();
        for (slot, samples) in late {
            for (t, value) in samples {
                let slots = ranges.entry(range_end(*t, self.range)).or_default();
                slots.entry(*slot).or_default().push((*t, value.clone()));
            }
        }
        let mut metas = Vec::new();
        while let Some((maxt, mut slots)) = ranges.pop_first() {
            let mint = slots.values().filter_map(|samples| samples.first()).map(|(t, _)| *t).min();
            let mut meta = Meta::new(Ulid::generate(), (mint.unwrap_or(maxt), maxt));
            meta.compaction.hints.push(HINT_OUT_OF_ORDER.to_owned());
            // Only the last block stands for all of them.
            meta.ringside = wbl.filter(|_| ranges.is_empty()).map(|wbl_first| Remarks { wbl_first });
            let plan = Plan::of(self.head, |slot, _| slots.contains_key(&slot))?;
            metas.extend(self.write(plan, meta, |some| {
                let samples = some.iter().map(|planned| slots.remove(&planned.slot).unwrap_or_default());
                Ok(samples.map(|samples| encode(samples, self.range)).collect())
            })?);
        }
        Ok(metas)
    }

    fn write(
        &self,
        mut plan: Plan,
        meta: Meta,
        mut chunks_of: impl FnMut(&[PlannedSeries]) -> Result<Vec<Vec<Chunk>>, Error>,
    ) -> Result<Option<Meta>, Error> {
        if plan.series.is_empty() {
            return Ok(None);
        }
        let symbols = std::mem::take(&mut plan.symbols);
        let mut block = BlockWriter::create(self.fs, self.dir, meta, symbols)?;
        for some in plan.series.chunks(SLOTS_PER_STEP / 8) {
            for (series, chunks) in some.iter().zip(chunks_of(some)?) {
                block.add_series(plan.labels_of(series), &chunks)?;
            }
        }
        block.finish(|| plan.series.iter().map(|series| plan.labels_of(series))).map(Some)
    }

    /// The chunks of a series for its block: as they are, unless samples out of order belong between theirs.
    fn chunks(&self, before: Before) -> Result<Vec<Chunk>, Error> {
        let mapped = before.mapped.iter().map(|chunk| self.head_chunks.read(chunk.reference));
        let mut chunks = mapped.collect::<Result<Vec<_>, _>>()?;
        chunks.extend(before.chunks);
        if before.out_of_order.is_empty() {
            return Ok(chunks);
        }
        let mut samples: BTreeMap<i64, Value> = before.out_of_order.into_iter().collect();
        samples.extend(chunks.iter().flat_map(Chunk::samples));
        Ok(encode(samples, self.range))
    }
}

/// What goes into the block, in the block's order.
#[derive(Default)]
struct Plan {
    /// Sorted and unique.
    symbols: Vec<Box<[u8]>>,
    /// The position in `symbols` of each of the head's symbols that is used.
    ranks: Vec<u32>,
    /// Sorted by labels.
    series: Vec<PlannedSeries>,
}

struct PlannedSeries {
    slot: u32,
    labels: Arc<[(u32, u32)]>,
}

impl Plan {
    /// The series that are `wanted`, by slot and series.
    fn of(head: &Mutex<Head>, wanted: impl Fn(u32, &Series) -> bool) -> Result<Self, Error> {
        let mut plan = Self::default();
        // The head's symbols that are used, with their strings.
        let mut texts: Vec<(Box<[u8]>, u32)> = Vec::new();
        let mut from = 0;
        loop {
            let head = lock(head)?;
            plan.ranks.resize(head.symbols().bound(), 0);
            let end = from + SLOTS_PER_STEP;
            for (slot, series) in head.slots().range(from, end) {
                let slot = slot as u32;
                if series.reference == 0 || !wanted(slot, series) {
                    continue;
                }
                for symbol in series.labels.iter().flat_map(|&(name, value)| [name, value]) {
                    if let Some(seen @ 0) = plan.ranks.get_mut(symbol as usize) {
                        *seen = 1;
                        texts.push((head.symbols().text(symbol).into(), symbol));
                    }
                }
                plan.series.push(PlannedSeries { slot, labels: Arc::clone(&series.labels) });
            }
            from = end;
            if from >= head.slots().len() {
                break;
            }
        }
        plan.sort(texts);
        Ok(plan)
    }

    /// Ranks the symbols by their strings, and sorts the series by their labels.
    fn sort(&mut self, mut texts: Vec<(Box<[u8]>, u32)>) {
        texts.sort_unstable();
        for (rank, (_, symbol)) in texts.iter().enumerate() {
            if let Some(slot) = self.ranks.get_mut(*symbol as usize) {
                *slot = rank as u32;
            }
        }
        self.symbols = texts.into_iter().map(|(text, _)| text).collect();
        let ranks = &self.ranks;
        self.series.sort_unstable_by(|a, b| ranked(ranks, &a.labels).cmp(ranked(ranks, &b.labels)));
    }

    fn labels_of(&self, series: &PlannedSeries) -> impl ExactSizeIterator<Item = (u32, u32)> {
        ranked(&self.ranks, &series.labels)
    }
}

/// Labels as positions in the block's symbols.
fn ranked(ranks: &[u32], labels: &[(u32, u32)]) -> impl ExactSizeIterator<Item = (u32, u32)> {
    let rank = |symbol: u32| ranks.get(symbol as usize).copied().unwrap_or_default();
    labels.iter().map(move |&(name, value)| (rank(name), rank(value)))
}
