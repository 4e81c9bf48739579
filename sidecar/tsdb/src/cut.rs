//! Turns a due range of the head into a block, a few thousand series at a time, so that appends go on meanwhile.
//!
//! Nothing can be appended to the range any more when it is due (see [`Head::due`]), so what is copied in several
//! steps is still one state.

use std::path::Path;
use std::sync::Mutex;

use ulid::Ulid;

use crate::block::{BlockWriter, Meta};
use crate::error::Error;
use crate::head::{Chunk, Head, SLOTS_PER_STEP};
use crate::lock;

/// Writes the samples in `[mint, maxt)` as a block. `None` if there are none.
pub(crate) fn write_block(
    dir: &Path,
    head: &Mutex<Head>,
    ulid: Ulid,
    (mint, maxt): (i64, i64),
) -> Result<Option<Meta>, Error> {
    let plan = Plan::of(head, maxt)?;
    if plan.series.is_empty() {
        return Ok(None);
    }
    let symbols = plan.symbols.iter().map(|symbol| symbol.as_ref());
    let mut block = BlockWriter::create(dir, ulid, (mint, maxt), symbols)?;
    for some in plan.series.chunks(SLOTS_PER_STEP / 8) {
        for (series, chunks) in some.iter().zip(copy_chunks(head, some, maxt)?) {
            block.add_series(plan.labels_of(series), &chunks)?;
        }
    }
    block.finish().map(Some)
}

/// What goes into the block, in the block's order.
struct Plan {
    /// Sorted and unique.
    symbols: Vec<Box<[u8]>>,
    /// Sorted by labels.
    series: Vec<PlannedSeries>,
    /// Names and values of all series back to back, as positions in `symbols`.
    labels: Vec<u32>,
}

struct PlannedSeries {
    slot: usize,
    start: usize,
    end: usize,
}

impl Plan {
    fn of(head: &Mutex<Head>, maxt: i64) -> Result<Self, Error> {
        let mut plan = Self { symbols: Vec::new(), series: Vec::new(), labels: Vec::new() };
        // Position in `texts` of each of the head's symbols that is used, plus one.
        let mut seen: Vec<u32> = Vec::new();
        let mut texts: Vec<Box<[u8]>> = Vec::new();
        let mut from = 0;
        loop {
            let head = lock(head)?;
            seen.resize(head.symbols().bound(), 0);
            let slots = head.slots();
            let end = slots.len().min(from + SLOTS_PER_STEP);
            for (slot, series) in slots.range(from, end) {
                if series.mint().is_none_or(|mint| mint >= maxt) {
                    continue;
                }
                let start = plan.labels.len();
                for symbol in series.labels.iter().flat_map(|&(name, value)| [name, value]) {
                    let Some(position) = seen.get_mut(symbol as usize) else { continue };
                    if *position == 0 {
                        texts.push(head.symbols().text(symbol).into());
                        *position = texts.len() as u32;
                    }
                    plan.labels.push(*position - 1);
                }
                plan.series.push(PlannedSeries { slot, start, end: plan.labels.len() });
            }
            from = end;
            if from == slots.len() {
                break;
            }
        }
        plan.sort(texts);
        Ok(plan)
    }

    /// Sorts the texts, makes the labels positions among them, and sorts the series by their labels.
    fn sort(&mut self, texts: Vec<Box<[u8]>>) {
        let mut order: Vec<u32> = (0..texts.len() as u32).collect();
        order.sort_unstable_by_key(|&text| texts.get(text as usize));
        let mut rank = vec![0u32; texts.len()];
        for (position, &text) in order.iter().enumerate() {
            if let Some(rank) = rank.get_mut(text as usize) {
                *rank = position as u32;
            }
        }
        for label in &mut self.labels {
            *label = rank.get(*label as usize).copied().unwrap_or_default();
        }
        let labels = &self.labels;
        self.series.sort_unstable_by_key(|series| labels.get(series.start..series.end));
        let mut texts: Vec<Option<Box<[u8]>>> = texts.into_iter().map(Some).collect();
        self.symbols = order.iter().filter_map(|&text| texts.get_mut(text as usize)?.take()).collect();
    }

    fn labels_of(&self, series: &PlannedSeries) -> &[u32] {
        self.labels.get(series.start..series.end).unwrap_or_default()
    }
}

fn copy_chunks(head: &Mutex<Head>, series: &[PlannedSeries], maxt: i64) -> Result<Vec<Vec<Chunk>>, Error> {
    let head = lock(head)?;
    let slots = head.slots();
    Ok(series.iter().map(|s| slots.get(s.slot).map_or_else(Vec::new, |s| s.chunks_before(maxt))).collect())
}
