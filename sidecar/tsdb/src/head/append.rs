//! Takes one request's samples: finds or creates each series, judges each sample, stores it, and queues the WAL
//! records, all under the head's lock and without touching a file. Durability is waited for afterwards.

use std::sync::MutexGuard;

use super::records::Records;
use super::series::{Series, Stored};
use super::{Head, series_key};
use crate::chunkenc::Encoding;
use crate::error::{Error, Refusal};
use crate::histogram::{FloatHistogram, Histogram};
use crate::sample::{Value, is_stale};
use crate::wal::{Position, Wal};

/// A series that an appender knows. One that [`Appender::series`] or [`Appender::new_series`] gave is good until the
/// next call of either, any other one as long as the appender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeriesRef(pub(super) u32);

/// What [`Appender::next_in`] knows of the series before: senders repeat their series in the same order, and
/// neighbours share most of their labels. For one appender; another one does not know it and starts anew.
#[derive(Debug, Default)]
pub struct Scan<'k> {
    appender: u64,
    /// Slot and canonical key of the series before.
    previous: Option<(u32, &'k [u8])>,
}

/// Stands for the appender's [`Fresh`] series.
pub(super) const FRESH: u32 = u32::MAX;

/// A series that was not known. It is created by its first accepted sample, so that refused ones leave nothing.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// Its canonical key.
    key: Vec<u8>,
    hash: u64,
    pub(super) slot: Option<u32>,
}

/// One request being appended. What it accepted is kept whether it is committed or dropped; only
/// [`Pending::wait`] says that it is durable.
#[derive(Debug)]
pub struct Appender<'a> {
    pub(super) head: MutexGuard<'a, Head>,
    wal: &'a Wal,
    pub(super) records: Records,
    pub(super) fresh: Fresh,
    /// Samples older than this are not in order, even if they are the newest of their series.
    oldest_ms: i64,
    /// Samples out of order that are older than this are too old; `i64::MAX` where none is accepted.
    pub(super) oldest_late_ms: i64,
    /// Samples newer than this are too far in the future.
    pub(super) newest_ms: i64,
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

    /// What to wait for in [`crate::Tsdb::durable`] instead.
    pub fn position(self) -> Position {
        self.position
    }
}

impl<'a> Appender<'a> {
    pub(crate) fn new(mut head: MutexGuard<'a, Head>, wal: &'a Wal, newest_ms: i64) -> Self {
        let records = std::mem::take(&mut head.records);
        let (oldest_ms, oldest_late_ms) = (head.oldest_accepted(), head.oldest_late());
        head.appenders += 1;
        let number = head.appenders;
        let fresh = Fresh::default();
        Self { head, wal, records, fresh, oldest_ms, oldest_late_ms, newest_ms, queued: false, number }
    }

    /// Finds the series with these labels, a run of remote-write 1.0 label fields, or prepares to create it. Sorted,
    /// shortest encodings of a known series are found by their hash without being decoded.
    #[inline]
    pub fn series(&mut self, label_bytes: &[u8]) -> Result<SeriesRef, Refusal> {
        let hash = self.head.hasher.hash(label_bytes);
        match self.head.find(hash, label_bytes) {
            Some(slot) => Ok(SeriesRef(slot)),
            None => self.new_series(label_bytes),
        }
    }

    /// The same as [`Self::series`], quicker for series that come in the same order in every request.
    #[inline]
    pub fn series_in<'k>(
        &mut self,
        scan: &mut Scan<'k>,
        label_bytes: &'k [u8],
    ) -> Result<SeriesRef, Refusal> {
        if let Some((series, len)) = self.next_in(scan, label_bytes)
            && len == label_bytes.len()
        {
            self.pass(scan, series, label_bytes);
            return Ok(series);
        }
        match self.known_in(scan, label_bytes) {
            Some(series) => Ok(series),
            None => self.new_series(label_bytes),
        }
    }

    /// The series that came after the one before, if `message` begins with its labels, and their length in bytes. The
    /// message is that series' unless more labels follow; [`Self::pass`] takes it as that.
    #[inline]
    pub fn next_in(&self, scan: &Scan<'_>, message: &[u8]) -> Option<(SeriesRef, usize)> {
        let (slot, key) = scan.previous.filter(|_| scan.appender == self.number)?;
        let previous = self.head.series.get(slot as usize)?;
        let rest = self.head.strip(previous.next, message, previous, key)?;
        Some((SeriesRef(previous.next), message.len() - rest.len()))
    }

    /// Goes on from a series that [`Self::next_in`] gave, with these labels.
    #[inline]
    pub fn pass<'k>(&self, scan: &mut Scan<'k>, series: SeriesRef, label_bytes: &'k [u8]) {
        *scan = Scan { appender: self.number, previous: Some((series.0, label_bytes)) };
    }

    /// The series with these labels in their canonical encoding, if it exists, by their hash; the next request finds it
    /// by [`Self::next_in`].
    #[inline]
    pub fn known_in<'k>(&mut self, scan: &mut Scan<'k>, label_bytes: &'k [u8]) -> Option<SeriesRef> {
        let previous = scan.previous.take().filter(|_| scan.appender == self.number);
        let found = self.head.find(self.head.hasher.hash(label_bytes), label_bytes)?;
        if let Some((slot, _)) = previous
            && let Some(series) = self.head.series.get_mut(slot as usize)
        {
            series.next = found;
        }
        self.pass(scan, SeriesRef(found), label_bytes);
        Some(SeriesRef(found))
    }

    /// The same as [`Self::series`] for labels that are not known as they stand: decodes them, and looks again by their
    /// canonical encoding.
    #[cold]
    pub fn new_series(&mut self, label_bytes: &[u8]) -> Result<SeriesRef, Refusal> {
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
        head.admit(&labels)?;
        let reference = head.next_ref;
        head.next_ref += 1;
        let slot = head.create(reference, self.fresh.hash, &labels);
        self.records.series.push(reference, labels.len(), labels);
        self.fresh.slot = Some(slot);
        Ok(slot)
    }

    /// Stores a float sample. A sample that is stored already with the same bits is accepted and not stored again.
    #[inline]
    pub fn float(&mut self, series: SeriesRef, t_ms: i64, value: f64) -> Result<(), Refusal> {
        let head = &mut *self.head;
        if let Some(entry) = head.series.get_mut(series.0 as usize)
            && entry.newest_float().is_some_and(|newest| t_ms > newest)
            && (self.oldest_ms..=self.newest_ms).contains(&t_ms)
        {
            head.counters.chunks_created += entry.push_float(t_ms, value, head.range);
            head.counters.samples_appended += 1;
            head.mint = head.mint.min(t_ms);
            head.maxt = head.maxt.max(t_ms);
            self.records.samples.floats.push(entry.reference, t_ms, value);
            return Ok(());
        }
        self.store(series, t_ms, Value::Float(value))
    }

    /// Stores a native histogram, which must be valid. One that is stored already with the same observations is
    /// accepted and not stored again.
    pub fn histogram(&mut self, series: SeriesRef, t_ms: i64, histogram: Histogram) -> Result<(), Refusal> {
        self.store(series, t_ms, Value::Histogram(histogram))
    }

    /// Stores a native histogram with float counts, as [`Self::histogram`] does.
    pub fn float_histogram(
        &mut self,
        series: SeriesRef,
        t_ms: i64,
        histogram: FloatHistogram,
    ) -> Result<(), Refusal> {
        self.store(series, t_ms, Value::FloatHistogram(histogram))
    }

    /// Judges a sample and stores it where it belongs.
    #[cold]
    fn store(&mut self, series: SeriesRef, t_ms: i64, mut value: Value) -> Result<(), Refusal> {
        let known = if series.0 == FRESH { self.fresh.slot } else { Some(series.0) };
        let entry = known.and_then(|slot| self.head.series.get(slot as usize));
        if let Value::Float(v) = value
            && is_stale(v)
            && let Some(entry) = entry.filter(|entry| entry.newest().is_some_and(|newest| t_ms > newest))
            && let Some(last) = entry.last()
        {
            // What ends a series of histograms is a histogram.
            value = last.stale_of_its_kind();
        }
        let stored = self.judge(known, t_ms, &value).and_then(|place| {
            match (place, known) {
                (Place::Stored, _) => self.head.counters.duplicates += 1,
                (Place::InOrder, Some(slot)) => self.push(slot, t_ms, &value),
                (Place::InOrder, None) => {
                    let slot = self.create_fresh()?;
                    self.push(slot, t_ms, &value);
                }
                (Place::OutOfOrder, Some(slot)) => self.push_out_of_order(slot, t_ms, value),
                (Place::OutOfOrder, None) => {
                    let slot = self.create_fresh()?;
                    self.push_out_of_order(slot, t_ms, value);
                }
            }
            Ok(())
        });
        if let Err(refusal) = &stored {
            self.head.counters.count(refusal);
        }
        stored
    }

    /// Tells a harmless repetition, and where a sample belongs, from one that cannot be stored.
    fn judge(&self, slot: Option<u32>, t_ms: i64, value: &Value) -> Result<Place, Refusal> {
        let entry = slot.and_then(|slot| self.head.series.get(slot as usize));
        let newest = entry.and_then(|entry| entry.newest());
        let is_in_order = newest.is_none_or(|newest| t_ms > newest) && t_ms >= self.oldest_ms;
        let stored = match entry.map_or(Stored::Nothing, |entry| entry.stored_at(t_ms)) {
            _ if is_in_order => None,
            Stored::Value(stored) => Some(stored),
            // A chunk in a file ends before anything that is taken out of order.
            Stored::InFile | Stored::Nothing => slot.and_then(|slot| self.head.late.get(slot, t_ms)),
        };
        match (stored, newest) {
            // A stale marker took the kind of what came before it.
            (Some(stored), _) if stored.same(value) || (stored.is_stale() && value.is_stale()) => {
                Ok(Place::Stored)
            }
            (Some(_), _) => Err(Refusal::DuplicateTimestamp { t_ms }),
            _ if t_ms > self.newest_ms => Err(Refusal::TooFarInFuture { t_ms, bound_ms: self.newest_ms }),
            _ if is_in_order => Ok(Place::InOrder),
            _ if t_ms >= self.oldest_late_ms => Ok(Place::OutOfOrder),
            (None, Some(last_ms)) if t_ms >= self.oldest_ms && self.oldest_late_ms == i64::MAX => {
                Err(Refusal::OutOfOrder { t_ms, last_ms })
            }
            _ if self.oldest_late_ms == i64::MAX => {
                Err(Refusal::OutOfBounds { t_ms, bound_ms: self.oldest_ms })
            }
            (None, Some(_)) => Err(Refusal::TooOld { t_ms, bound_ms: self.oldest_late_ms }),
            _ => Err(Refusal::TooOld { t_ms, bound_ms: self.oldest_late_ms.min(self.oldest_ms) }),
        }
    }

    /// Stores a sample newer than all of its series.
    fn push(&mut self, slot: u32, t_ms: i64, value: &Value) {
        let entry = self.head.series.get(slot as usize).filter(|entry| entry.encoding().is_some());
        let is_float = matches!(value, Value::Float(_));
        let same_kind = |entry: &Series| match is_float {
            true => entry.encoding() == Some(value.encoding()),
            false => entry.last().is_some_and(|last| last.is_logged_with(value)),
        };
        if entry.is_some_and(|entry| !same_kind(entry)) {
            // Kinds are replayed one after the other, so what this series has in the batch must come before.
            self.queue_records();
        }
        let head = &mut *self.head;
        let Some(entry) = head.series.get_mut(slot as usize) else { return };
        head.counters.chunks_created += entry.push(t_ms, value, head.range);
        head.counters.samples_appended += 1;
        head.counters.histograms_appended += u64::from(value.encoding() != Encoding::Xor);
        head.mint = head.mint.min(t_ms);
        head.maxt = head.maxt.max(t_ms);
        self.records.samples.push(entry.reference, t_ms, value);
    }

    /// Stores a sample out of order.
    fn push_out_of_order(&mut self, slot: u32, t_ms: i64, value: Value) {
        let head = &mut *self.head;
        let Some(entry) = head.series.get(slot as usize) else { return };
        self.records.out_of_order.push(entry.reference, t_ms, &value);
        head.counters.samples_appended += 1;
        head.counters.out_of_order_appended += 1;
        head.counters.histograms_appended += u64::from(value.encoding() != Encoding::Xor);
        head.push_out_of_order(slot, t_ms, value);
    }

    /// Queues what was stored for the logs and lets the head go. Wait on the result before acknowledging.
    pub fn commit(mut self) -> Pending<'a> {
        let wal = self.wal;
        let position = self.queue();
        Pending { wal, position }
    }

    fn queue_records(&mut self) -> Position {
        let position = self.wal.queue(self.records.wal(), self.records.wbl());
        self.records.clear();
        position
    }

    fn queue(&mut self) -> Position {
        self.queued = true;
        let position = self.queue_records();
        self.head.records = std::mem::take(&mut self.records);
        position
    }
}

/// Where a sample belongs.
#[derive(Debug, Clone, Copy)]
enum Place {
    InOrder,
    OutOfOrder,
    /// It is stored already.
    Stored,
}

impl Drop for Appender<'_> {
    /// The head has what was accepted, so the WAL must get it too, whatever became of the request.
    fn drop(&mut self) {
        if !self.queued {
            self.queue();
        }
    }
}
