//! Takes one request's samples: finds or creates each series, judges each sample, stores it, and queues the WAL
//! records, all under the head's lock and without touching a file. Durability is waited for afterwards.

use std::sync::MutexGuard;

use super::{Head, series_key};
use crate::error::{Error, Refusal};
use crate::record::{SamplesEncoder, SeriesEncoder};
use crate::wal::{Position, Wal};

/// A series found by [`Appender::series`]. Good until the next call of that function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeriesRef(u32);

/// What [`Appender::series_in`] learned from the series before: senders repeat their series in the same order, and
/// neighbours share most of their labels. For one appender; another one does not know it and starts anew.
#[derive(Debug, Default)]
pub struct Scan<'k> {
    appender: u64,
    /// Slot and canonical key of the series before.
    previous: Option<(u32, &'k [u8])>,
}

/// Stands for the appender's [`Fresh`] series.
const FRESH: u32 = u32::MAX;

/// A series that was not known. It is created by its first accepted sample, so that refused ones leave nothing.
#[derive(Debug, Default)]
struct Fresh {
    /// Its canonical key.
    key: Vec<u8>,
    hash: u64,
    slot: Option<u32>,
}

/// One request being appended. What it accepted is kept whether it is committed or dropped; only
/// [`Pending::wait`] says that it is durable.
#[derive(Debug)]
pub struct Appender<'a> {
    head: MutexGuard<'a, Head>,
    wal: &'a Wal,
    samples: SamplesEncoder,
    created: SeriesEncoder,
    fresh: Fresh,
    /// Samples older than this are out of bounds.
    oldest_ms: i64,
    /// Samples newer than this are too far in the future.
    newest_ms: i64,
    queued: bool,
    number: u64,
}

/// An appended request that is not yet known to be durable.
#[derive(Debug)]
#[must_use = "an append is acknowledged only after wait() returns Ok"]
pub struct Pending<'a> {
    wal: &'a Wal,
    position: Position,
}

impl Pending<'_> {
    /// Blocks until all that the request stored, and all that it found stored already, is durable as
    /// [`crate::Options::wal_sync`] says. After an error nothing of the request is acknowledged.
    pub fn wait(self) -> Result<(), Error> {
        self.wal.wait(self.position)
    }
}

impl<'a> Appender<'a> {
    pub(crate) fn new(mut head: MutexGuard<'a, Head>, wal: &'a Wal, newest_ms: i64) -> Self {
        let samples = std::mem::take(&mut head.samples_record);
        let created = std::mem::take(&mut head.series_record);
        let oldest_ms = head.oldest_accepted();
        head.appenders += 1;
        let number = head.appenders;
        Self {
            number,
            head,
            wal,
            samples,
            created,
            fresh: Fresh::default(),
            oldest_ms,
            newest_ms,
            queued: false,
        }
    }

    /// Finds the series with these labels, a run of remote-write 1.0 label fields, or prepares to create it. Sorted,
    /// shortest encodings of a known series are found by their hash without being decoded.
    #[inline]
    pub fn series(&mut self, label_bytes: &[u8]) -> Result<SeriesRef, Refusal> {
        let hash = self.head.hasher.hash(label_bytes);
        match self.head.find(hash, label_bytes) {
            Some(slot) => Ok(SeriesRef(slot)),
            None => self.resolve(label_bytes),
        }
    }

    /// The same as [`Self::series`], quicker for series that come in the same order in every request.
    #[inline]
    pub fn series_in<'k>(
        &mut self,
        scan: &mut Scan<'k>,
        label_bytes: &'k [u8],
    ) -> Result<SeriesRef, Refusal> {
        let head = &*self.head;
        let previous = scan.previous.take().filter(|_| scan.appender == self.number);
        if let Some((slot, key)) = previous
            && let Some(series) = head.series.get(slot as usize)
            && head.is_in(series.next, label_bytes, series, key)
        {
            scan.previous = Some((series.next, label_bytes));
            return Ok(SeriesRef(series.next));
        }
        let hash = head.hasher.hash(label_bytes);
        let Some(found) = head.find(hash, label_bytes) else { return self.resolve(label_bytes) };
        if let Some((slot, _)) = previous
            && let Some(series) = self.head.series.get_mut(slot as usize)
        {
            series.next = found;
        }
        *scan = Scan { appender: self.number, previous: Some((found, label_bytes)) };
        Ok(SeriesRef(found))
    }

    /// Decodes the labels, and looks again by their canonical encoding.
    #[cold]
    fn resolve(&mut self, label_bytes: &[u8]) -> Result<SeriesRef, Refusal> {
        let labels = series_key::parse(label_bytes)?;
        let fresh = &mut self.fresh;
        fresh.key.clear();
        series_key::encode(&labels, &mut fresh.key);
        fresh.hash = self.head.hasher.hash(&fresh.key);
        fresh.slot = self.head.find(fresh.hash, &fresh.key);
        Ok(SeriesRef(fresh.slot.unwrap_or(FRESH)))
    }

    /// Creates the fresh series, unless an earlier sample has done so.
    fn create_fresh(&mut self) -> Result<u32, Refusal> {
        if let Some(slot) = self.fresh.slot {
            return Ok(slot);
        }
        let labels = series_key::parse(&self.fresh.key)?;
        let head = &mut *self.head;
        if let Err(refusal) = head.admit(&labels) {
            head.counters.series_refused += 1;
            return Err(refusal);
        }
        let reference = head.next_ref;
        head.next_ref += 1;
        let slot = head.create(reference, self.fresh.hash, &labels);
        self.created.push(reference, labels.len(), labels);
        self.fresh.slot = Some(slot);
        Ok(slot)
    }

    /// Stores a float sample. A sample that is stored already with the same bits is accepted and not stored again.
    #[inline]
    pub fn float(&mut self, series: SeriesRef, t_ms: i64, value: f64) -> Result<(), Refusal> {
        if series.0 == FRESH {
            return self.float_fresh(t_ms, value);
        }
        let head = &mut *self.head;
        let Some(entry) = head.series.get_mut(series.0 as usize) else { return Ok(()) };
        let newer = entry.newest().is_none_or(|newest| t_ms > newest);
        if !newer || t_ms < self.oldest_ms || t_ms > self.newest_ms {
            return self.judge(series, t_ms, value);
        }
        head.counters.chunks_created += entry.push(t_ms, value, head.range);
        head.counters.samples_appended += 1;
        head.mint = head.mint.min(t_ms);
        head.maxt = head.maxt.max(t_ms);
        self.samples.push(entry.reference, t_ms, value);
        Ok(())
    }

    #[cold]
    fn float_fresh(&mut self, t_ms: i64, value: f64) -> Result<(), Refusal> {
        let refusal = if t_ms > self.newest_ms {
            Refusal::TooFarInFuture { t_ms, bound_ms: self.newest_ms }
        } else if t_ms < self.oldest_ms {
            Refusal::OutOfBounds { t_ms, bound_ms: self.oldest_ms }
        } else {
            let slot = self.create_fresh()?;
            return self.float(SeriesRef(slot), t_ms, value);
        };
        self.head.counters.out_of_bounds += 1;
        Err(refusal)
    }

    /// Tells a harmless repetition from a sample that cannot be stored.
    #[cold]
    fn judge(&mut self, series: SeriesRef, t_ms: i64, value: f64) -> Result<(), Refusal> {
        let head = &mut *self.head;
        let Some(entry) = head.series.get(series.0 as usize) else { return Ok(()) };
        // The newest sample again is the usual repetition, and needs no chunk to be read.
        let stored = match entry.last() {
            Some((last_ms, bits)) if last_ms == t_ms => Some(bits),
            _ => entry.value_at(t_ms),
        };
        if stored == Some(value.to_bits()) {
            head.counters.duplicates += 1;
            return Ok(());
        }
        let refusal = match (stored, entry.last()) {
            (Some(_), _) => Refusal::DuplicateTimestamp { t_ms },
            _ if t_ms > self.newest_ms => Refusal::TooFarInFuture { t_ms, bound_ms: self.newest_ms },
            (None, Some((last_ms, _))) if t_ms >= self.oldest_ms => Refusal::OutOfOrder { t_ms, last_ms },
            _ => Refusal::OutOfBounds { t_ms, bound_ms: self.oldest_ms },
        };
        match refusal {
            Refusal::OutOfBounds { .. } | Refusal::TooFarInFuture { .. } => head.counters.out_of_bounds += 1,
            _ => head.counters.out_of_order += 1,
        }
        Err(refusal)
    }

    /// Queues what was stored for the WAL and lets the head go. Wait on the result before acknowledging.
    pub fn commit(mut self) -> Pending<'a> {
        let wal = self.wal;
        let position = self.queue();
        Pending { wal, position }
    }

    /// Queues the records: new series, then samples.
    fn queue(&mut self) -> Position {
        self.queued = true;
        let position = self.wal.queue([self.created.bytes(), self.samples.bytes()]);
        self.created.clear();
        self.samples.clear();
        self.head.series_record = std::mem::take(&mut self.created);
        self.head.samples_record = std::mem::take(&mut self.samples);
        position
    }
}

impl Drop for Appender<'_> {
    /// The head has what was accepted, so the WAL must get it too, whatever became of the request.
    fn drop(&mut self) {
        if !self.queued {
            self.queue();
        }
    }
}
