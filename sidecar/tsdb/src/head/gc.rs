//! Drops from the head what a block has taken over.

use super::Head;

/// Slots looked at while the head is locked once.
pub(crate) const SLOTS_PER_STEP: usize = 8192;

/// How far a truncation has come.
#[derive(Debug)]
pub(crate) struct TruncateStep {
    next: usize,
    oldest: i64,
    /// The oldest head chunk file with a chunk that stays.
    pub(crate) oldest_file: Option<u32>,
    /// True when no slot is left.
    pub(crate) done: bool,
}

impl Head {
    /// From now on nothing older than `mint` is accepted or reported. Returns where to begin.
    pub(crate) fn begin_truncate(&mut self, mint: i64) -> TruncateStep {
        self.min_valid = self.min_valid.max(mint);
        self.mint = self.mint.max(mint);
        // What is appended while slots are looked at is not older than this.
        TruncateStep {
            next: 0,
            oldest: self.oldest_accepted().min(self.oldest_late()),
            oldest_file: None,
            done: false,
        }
    }

    /// Drops chunks that end before `mint`, and series left empty, in some slots; the lock need not be held for
    /// the whole head. While logs are replayed, no series goes: records still to come may name it.
    pub(crate) fn truncate_step(&mut self, mint: i64, mut step: TruncateStep) -> TruncateStep {
        let end = self.series.len().min(step.next + SLOTS_PER_STEP);
        for slot in step.next..end {
            let Some(series) = self.series.get_mut(slot) else { break };
            self.counters.chunks_removed += series.truncate(mint);
            if let Some(oldest) = series.mapped().first() {
                let file = oldest.reference.file();
                step.oldest_file = Some(step.oldest_file.map_or(file, |least| least.min(file)));
            }
            match series.mint() {
                Some(oldest) => step.oldest = step.oldest.min(oldest),
                None if self.is_replaying => {}
                None if series.reference != 0 && !self.late.holds(slot as u32) => self.remove(slot, mint),
                None => {}
            }
        }
        step.next = end;
        step.done = end == self.series.len();
        step
    }

    /// Ends a truncation: the oldest time rises to what the series really hold, but not past what may still be
    /// appended, and expired references go.
    pub(crate) fn end_truncate(&mut self, mint: i64, step: &TruncateStep) {
        self.mint = if self.by_key.is_empty() { i64::MAX } else { step.oldest.max(mint) };
        if !self.is_replaying {
            self.retired.retain(|_, expiry| *expiry >= mint);
        }
        self.series.shrink();
        self.forget_out_of_order();
        self.metrics.forget_unused(&mut self.symbols);
    }

    /// Removes every series without a sample.
    pub(super) fn collect_empty(&mut self, expiry: i64) {
        for slot in 0..self.series.len() {
            if !self.late.holds(slot as u32)
                && self
                    .series
                    .get(slot)
                    .is_some_and(|series| series.reference != 0 && series.mint().is_none())
            {
                self.remove(slot, expiry);
            }
        }
    }

    /// Removes one series; its reference is remembered until no sample from `expiry` on can be in the WAL.
    pub(super) fn remove(&mut self, slot: usize, expiry: i64) {
        let slot = slot as u32;
        let Some(series) = self.series.remove(slot) else { return };
        self.budget.remove(1);
        if let Ok(entry) = self.by_key.find_entry(series.hash, |&s| s == slot) {
            entry.remove();
        }
        for &(name, value) in series.labels.iter() {
            self.symbols.release(name);
            self.symbols.release(value);
        }
        self.exemplars.forget(series.reference);
        self.retired.insert(series.reference, expiry);
        self.counters.series_removed += 1;
    }
}
