//! The newest part of a tenant's data, in memory: every series with its chunks, found by its labels.
//!
//! Owns what is accepted, and what is kept after a block was cut. Durability is [`crate::wal`]'s; everything here
//! happens under one lock and touches no file.

mod append;
mod cardinality;
mod exemplars;
mod gc;
mod late;
mod metadata;
mod mmap;
mod ooo;
mod open_chunk;
mod records;
mod replay;
mod series;
mod series_key;
mod slots;
mod symbols;

use std::collections::HashMap;
use std::sync::Arc;

use hashbrown::HashTable;

pub use append::{Appender, Pending, Scan, SeriesRef};
pub use cardinality::{Cardinality, Count};
pub(crate) use cardinality::{cardinality, largest_metric};
pub use exemplars::Exemplar;
use exemplars::Exemplars;
pub(crate) use gc::SLOTS_PER_STEP;
use late::Late;
pub(crate) use late::LateSamples;
pub use metadata::Metadata;
use metadata::Metrics;
pub(crate) use open_chunk::{encode, range_end};
use records::Records;
pub(crate) use replay::Replay;
pub(crate) use series::{Before, Series};
pub use series_key::display_series;
pub(crate) use slots::Slots;
pub(crate) use symbols::Symbols;

use crate::error::Refusal;
use crate::limits::{LabelLimit, Limits, SeriesBudget, SeriesLimit};
use symbols::KeyHasher;

/// What the head counts; each a total since the tenant was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Samples stored, exact duplicates not among them.
    pub samples_appended: u64,
    /// Samples that were already stored with the same value.
    pub duplicates: u64,
    /// Native histograms among them.
    pub histograms_appended: u64,
    /// Samples among them that came after a newer one of their series.
    pub out_of_order_appended: u64,
    /// Samples refused because the series has a newer one, or another value at that time.
    pub out_of_order: u64,
    /// Samples refused because they are older than the head accepts, or too far in the future.
    pub out_of_bounds: u64,
    /// Samples refused because they are older than the window for samples out of order.
    pub too_old: u64,
    /// Exemplars kept, exact duplicates not among them.
    pub exemplars_appended: u64,
    /// Exemplars passed over, because none are kept or their series has no sample.
    pub exemplars_dropped: u64,
    /// Exemplars refused.
    pub exemplars_refused: u64,
    /// Series refused by a bound on labels or on the number of series.
    pub series_refused: u64,
    /// Series created.
    pub series_created: u64,
    /// Series dropped after their data went into a block.
    pub series_removed: u64,
    /// Chunks begun.
    pub chunks_created: u64,
    /// Chunks dropped after their data went into a block.
    pub chunks_removed: u64,
}

impl Counters {
    fn count(&mut self, refusal: &Refusal) {
        let counter = match refusal {
            Refusal::OutOfBounds { .. } | Refusal::TooFarInFuture { .. } => &mut self.out_of_bounds,
            Refusal::TooOld { .. } => &mut self.too_old,
            Refusal::LabelLimit { .. } | Refusal::SeriesLimit { .. } => &mut self.series_refused,
            _ => &mut self.out_of_order,
        };
        *counter += 1;
    }
}

/// A tenant's head. Times are milliseconds.
#[derive(Debug)]
pub(crate) struct Head {
    range: i64,
    hasher: KeyHasher,
    symbols: Symbols,
    series: Slots,
    by_key: HashTable<u32>,
    next_ref: u64,
    /// Appenders so far.
    appenders: u64,
    mint: i64,
    maxt: i64,
    /// Nothing older is accepted: blocks have it.
    min_valid: i64,
    /// How much older than the newest sample of the head one out of order may be; 0 for none at all.
    window: i64,
    /// Samples before this time are late: their range is in a block, or about to be.
    sealed: i64,
    late: Late,
    exemplars: Exemplars,
    metrics: Metrics,
    limits: Limits,
    budget: Arc<SeriesBudget>,
    counters: Counters,
    /// A replay is under way: records still to come may name any series.
    is_replaying: bool,
    /// References whose series left the head, or got another reference, while samples of theirs may remain in
    /// the WAL: reference to the newest time such a sample can have.
    retired: HashMap<u64, i64>,
    key: Vec<u8>,
    records: Records,
}

impl Head {
    /// An empty head that accepts nothing older than `min_valid` in order, and samples out of order within `window`.
    pub(crate) fn new(range: i64, min_valid: i64, window: i64, budget: Arc<SeriesBudget>) -> Self {
        Self {
            range,
            hasher: KeyHasher::default(),
            symbols: Symbols::default(),
            series: Slots::default(),
            by_key: HashTable::new(),
            next_ref: 1,
            appenders: 0,
            mint: i64::MAX,
            maxt: i64::MIN,
            min_valid,
            window,
            sealed: min_valid,
            late: Late::default(),
            exemplars: Exemplars::default(),
            metrics: Metrics::default(),
            limits: Limits::default(),
            budget,
            counters: Counters::default(),
            is_replaying: false,
            retired: HashMap::new(),
            key: Vec::new(),
            records: Records::default(),
        }
    }

    /// Oldest and newest time stored; `None` while there is no sample.
    pub(crate) fn time_range(&self) -> Option<(i64, i64)> {
        (self.mint <= self.maxt).then_some((self.mint, self.maxt))
    }

    /// The range of the block that is due: the head spans one and a half ranges, and nothing can be appended before
    /// the block's end any more.
    pub(crate) fn due(&self) -> Option<(i64, i64)> {
        let (mint, maxt) = self.time_range()?;
        let end = range_end(mint, self.range);
        (maxt.saturating_sub(mint) > self.range / 2 * 3 && end <= self.oldest_accepted())
            .then_some((mint, end))
    }

    /// The oldest time that a sample may have now.
    pub(crate) fn oldest_accepted(&self) -> i64 {
        self.min_valid.max(self.maxt.saturating_sub(self.range / 2))
    }

    /// The oldest time that a sample out of order may have now; `i64::MAX` where none is accepted.
    pub(crate) fn oldest_late(&self) -> i64 {
        if self.window > 0 { self.maxt.saturating_sub(self.window) } else { i64::MAX }
    }

    /// Number of series.
    pub(crate) fn series_count(&self) -> usize {
        self.by_key.len()
    }

    /// Bounds for new series from now on.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether a new series with these labels may be created.
    fn admit(&self, labels: &[(&[u8], &[u8])]) -> Result<(), Refusal> {
        let limits = &self.limits;
        let bytes_max = |of: fn(&(&[u8], &[u8])) -> usize| labels.iter().map(of).max().unwrap_or(0) as u64;
        for (limit, max, got) in [
            (LabelLimit::Count, limits.labels_per_series_max, labels.len() as u64),
            (LabelLimit::NameBytes, limits.label_name_bytes_max, bytes_max(|(name, _)| name.len())),
            (LabelLimit::ValueBytes, limits.label_value_bytes_max, bytes_max(|(_, value)| value.len())),
        ] {
            if max > 0 && got > max {
                return Err(Refusal::LabelLimit { limit, got, max });
            }
        }
        let limit = if limits.series_max > 0 && self.series_count() as u64 >= limits.series_max {
            SeriesLimit::Tenant(limits.series_max)
        } else if self.budget.is_closed() {
            SeriesLimit::Memory
        } else if !self.budget.admits_one() {
            SeriesLimit::Process(self.budget.max())
        } else {
            return Ok(());
        };
        Err(Refusal::SeriesLimit { limit })
    }

    /// Totals since the head was made.
    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// The label strings.
    pub(crate) fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// All slots. A slot keeps its series until [`Self::truncate_step`] runs.
    pub(crate) fn slots(&self) -> &Slots {
        &self.series
    }

    /// The references whose series records the WAL's checkpoint must keep for samples from `mint` on; sorted.
    pub(crate) fn references(&self, mint: i64) -> Vec<u64> {
        let live = self.series.iter().map(|series| series.reference).filter(|&reference| reference != 0);
        let retired = self.retired.iter().filter(|(_, expiry)| **expiry >= mint).map(|(r, _)| *r);
        let mut references = Vec::with_capacity(self.series_count() + self.retired.len());
        references.extend(live.chain(retired));
        references.sort_unstable();
        references
    }

    /// What follows in `bytes` after the canonical key of the series in a slot, which came after the series `previous`,
    /// whose canonical key is `previous_key`. `None` where `bytes` do not begin with it.
    #[inline]
    fn strip<'b>(
        &self,
        slot: u32,
        bytes: &'b [u8],
        previous: &Series,
        previous_key: &[u8],
    ) -> Option<&'b [u8]> {
        let series = self.series.get(slot as usize).filter(|series| series.reference != 0)?;
        let text = |symbol| self.symbols.text(symbol);
        series_key::strip_beside(bytes, &series.labels, previous_key, &previous.labels, text)
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let matches = |&slot: &u32| {
            self.series
                .get(slot as usize)
                .is_some_and(|series| series.hash == hash && series_key::matches(key, self.labels(series)))
        };
        self.by_key.find(hash, matches).copied()
    }

    /// Name and value pairs of a series, sorted by name.
    #[inline]
    pub(crate) fn labels<'a>(
        &'a self,
        series: &'a Series,
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
        series.labels.iter().map(|&(n, v)| (self.symbols.text(n), self.symbols.text(v)))
    }

    fn create(&mut self, reference: u64, hash: u64, labels: &[(&[u8], &[u8])]) -> u32 {
        let symbols = &mut self.symbols;
        let labels = labels.iter().map(|(n, v)| (symbols.acquire(n), symbols.acquire(v))).collect();
        let slot = self.series.insert(Series::new(reference, hash, labels));
        if let Some(series) = self.series.get_mut(slot as usize) {
            // Series come again in the order in which they came first.
            series.next = slot + 1;
        }
        self.budget.add(1);
        let series = &self.series;
        self.by_key.insert_unique(hash, slot, |&s| series.get(s as usize).map_or(0, |series| series.hash));
        self.counters.series_created += 1;
        slot
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        self.budget.remove(self.series_count() as u64);
    }
}
