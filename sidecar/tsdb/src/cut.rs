//! Turns a due range of the head into a block, a thousand series at a time, so that appends go on meanwhile.
//!
//! Nothing can be appended to the range any more when it is due (see [`Head::due`]), so what is copied in several
//! steps is still one state. What a cut holds beside the head is the order of the series and the label strings.

use std::path::Path;
use std::sync::{Arc, Mutex};

use ulid::Ulid;

use crate::block::{BlockWriter, Meta};
use crate::chunk::{Chunk, MappedChunk};
use crate::error::Error;
use crate::fs::Fs;
use crate::head::{Head, SLOTS_PER_STEP};
use crate::lock;

/// Writes the samples in `[mint, maxt)` as a block. `None` if there are none.
pub(crate) fn write_block(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    head: &Mutex<Head>,
    ulid: Ulid,
    (mint, maxt): (i64, i64),
) -> Result<Option<Meta>, Error> {
    let mut plan = Plan::of(head, maxt)?;
    if plan.series.is_empty() {
        return Ok(None);
    }
    let symbols = std::mem::take(&mut plan.symbols);
    let mut block = BlockWriter::create(fs, dir, ulid, (mint, maxt), symbols)?;
    for some in plan.series.chunks(SLOTS_PER_STEP / 8) {
        for (series, (_mapped, chunks)) in some.iter().zip(copy_chunks(head, some, maxt)?) {
            block.add_series(plan.labels_of(series), &chunks)?;
        }
    }
    block.finish(|| plan.series.iter().map(|series| plan.labels_of(series))).map(Some)
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
    fn of(head: &Mutex<Head>, maxt: i64) -> Result<Self, Error> {
        let mut plan = Self::default();
        // The head's symbols that are used, with their strings.
        let mut texts: Vec<(Box<[u8]>, u32)> = Vec::new();
        let mut from = 0;
        loop {
            let head = lock(head)?;
            plan.ranks.resize(head.symbols().bound(), 0);
            let end = from + SLOTS_PER_STEP;
            for (slot, series) in head.slots().range(from, end) {
                if series.mint().is_none_or(|mint| mint >= maxt) {
                    continue;
                }
                for symbol in series.labels.iter().flat_map(|&(name, value)| [name, value]) {
                    if let Some(seen @ 0) = plan.ranks.get_mut(symbol as usize) {
                        *seen = 1;
                        texts.push((head.symbols().text(symbol).into(), symbol));
                    }
                }
                plan.series.push(PlannedSeries { slot: slot as u32, labels: Arc::clone(&series.labels) });
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

fn copy_chunks(
    head: &Mutex<Head>,
    series: &[PlannedSeries],
    maxt: i64,
) -> Result<Vec<(Vec<MappedChunk>, Vec<Chunk>)>, Error> {
    let head = lock(head)?;
    let slots = head.slots();
    Ok(series
        .iter()
        .map(|s| slots.get(s.slot as usize).map_or_else(Default::default, |s| s.chunks_before(maxt)))
        .collect())
}
