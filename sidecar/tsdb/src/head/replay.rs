//! Brings a head to where its logs end: what only a replay has to know, and forgets when it is done.
//!
//! The write-behind log comes first: its samples wait here until the write-ahead log names their series. So a range can
//! be cut into a block while the log is still being read, together with the samples out of order that belong to it.
//! Series are found by their reference; the labels are looked at once.

use std::collections::{BTreeMap, HashMap};

use super::ooo::OutOfOrder;
use super::{Head, open_chunk::range_end, series_key};
use crate::chunk::{ChunkRef, MappedChunk};
use crate::chunks_head::LoadedChunk;
use crate::encoding::Truncated;
use crate::record::{ExemplarEntry, MetadataEntry, RUN_MAX, SampleEntry, ValuesEncoder, Visitor, visit};
use crate::sample::Value;

/// A replay under way.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    slots: References,
    files: Loaded,
    /// Samples of the write-behind log by the reference of a series that no record has named yet.
    waiting: BTreeMap<u64, OutOfOrder>,
    newest: Option<i64>,
    unknown_refs: u64,
    /// The largest reference among them.
    unknown: Option<u64>,
}

impl Replay {
    /// A chunk of a head chunk file, for the series that a record of the write-ahead log will name. Chunks come in the
    /// order of the files.
    pub(crate) fn load(&mut self, entry: &LoadedChunk) {
        let LoadedChunk { series, reference, chunk, .. } = entry;
        let mapped = MappedChunk { mint: chunk.mint, maxt: chunk.maxt, reference: *reference };
        self.files.chunks.push((*series, mapped));
    }

    /// Ends what [`Self::load`] began.
    pub(crate) fn loaded(&mut self) {
        self.files.sort();
    }

    /// Takes back what [`Self::load`] took: the series and the place of each chunk.
    pub(crate) fn take_loaded(&mut self) -> Vec<(u64, ChunkRef)> {
        let loaded = std::mem::take(&mut self.files).chunks;
        loaded.into_iter().map(|(series, chunk)| (series, chunk.reference)).collect()
    }

    /// A record of the write-behind log; the write-ahead log comes afterwards.
    pub(crate) fn out_of_order(&mut self, payload: &[u8], range: i64) -> Result<(), Truncated> {
        visit(payload, &mut Waiting { samples: &mut self.waiting, range })
    }

    /// A sample that came out of order, as a record of the write-behind log has it.
    pub(crate) fn wait(&mut self, reference: u64, t: i64, value: Value, range: i64) {
        Waiting { samples: &mut self.waiting, range }.add(reference, t, value);
    }

    /// The records of the samples whose series was not named yet.
    pub(crate) fn waiting(&self) -> Vec<Vec<u8>> {
        let mut records = ValuesEncoder::default();
        for (&reference, samples) in &self.waiting {
            for (t, value) in samples.before(i64::MAX) {
                records.push(reference, t, &value);
            }
        }
        records.to_records()
    }

    /// Notes a sample whose series no record named.
    fn unknown(&mut self, reference: u64) {
        self.unknown_refs += 1;
        self.unknown = self.unknown.max(Some(reference));
    }

    /// A record of the write-ahead log. What a block has or an earlier record gave is passed over.
    pub(crate) fn record(&mut self, head: &mut Head, payload: &[u8]) -> Result<(), Truncated> {
        visit(payload, &mut Replaying { replay: self, head })
    }

    /// The newest time in the records so far.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.newest
    }

    /// Ends the replay; returns how many samples belong to a series that no record named. The series without a sample
    /// go.
    pub(crate) fn done(self, head: &mut Head) -> u64 {
        for &slot in &head.late.slots {
            if let Some(series) = head.series.get_mut(slot as usize) {
                series.drop_repeated(head.range);
            }
        }
        head.forget_out_of_order();
        head.is_replaying = false;
        head.collect_empty(head.min_valid);
        // What names a series that no record named must not fall to a new one.
        let waiting = self.waiting.last_key_value().map(|(reference, _)| *reference);
        let named = [waiting, self.files.largest(), self.unknown].into_iter().flatten().max().unwrap_or(0);
        head.next_ref = head.next_ref.max(named.saturating_add(1));
        let waiting = self.waiting.values().map(|samples| samples.before(i64::MAX).len() as u64);
        self.unknown_refs + waiting.sum::<u64>()
    }
}

/// Takes samples of the write-behind log.
struct Waiting<'r> {
    samples: &'r mut BTreeMap<u64, OutOfOrder>,
    range: i64,
}

impl Waiting<'_> {
    fn add(&mut self, reference: u64, t: i64, value: Value) {
        let samples = self.samples.entry(reference).or_default();
        if samples.get(t).is_none() {
            samples.insert(t, value, self.range);
        }
    }
}

impl Visitor for Waiting<'_> {
    fn series(&mut self, _: u64, _: &[(&[u8], &[u8])]) {}

    fn floats(&mut self, samples: &[SampleEntry]) {
        for &SampleEntry { reference, t, v } in samples {
            self.add(reference, t, Value::Float(v));
        }
    }

    fn histogram(&mut self, reference: u64, t: i64, value: Value) {
        self.add(reference, t, value);
    }
}

/// Takes entries of the write-ahead log.
struct Replaying<'r> {
    replay: &'r mut Replay,
    head: &'r mut Head,
}

impl Visitor for Replaying<'_> {
    /// Creates the series, or makes the reference another name of a known one.
    fn series(&mut self, reference: u64, labels: &[(&[u8], &[u8])]) {
        let Self { replay, head } = self;
        let mut key = std::mem::take(&mut head.key);
        key.clear();
        series_key::encode(labels, &mut key);
        let hash = head.hasher.hash(&key);
        let mapped = replay.files.take(reference);
        let slot = match head.find(hash, &key) {
            Some(slot) => {
                if head.series.get(slot as usize).is_some_and(|series| series.reference != reference) {
                    head.retired.entry(reference).or_insert(i64::MIN);
                }
                slot
            }
            None => {
                let slot = head.create(reference, hash, labels);
                head.attach(slot, mapped);
                slot
            }
        };
        head.key = key;
        head.next_ref = head.next_ref.max(reference.saturating_add(1));
        replay.slots.insert(reference, slot);
        for (t, value) in replay.waiting.remove(&reference).into_iter().flat_map(|some| some.before(i64::MAX))
        {
            head.replay_out_of_order(slot, t, value);
        }
    }

    fn floats(&mut self, samples: &[SampleEntry]) {
        let mut slots = [None; RUN_MAX];
        for (slot, sample) in slots.iter_mut().zip(samples) {
            *slot = self.replay.slots.get(sample.reference);
        }
        self.head.look_at(slots.iter().flatten().copied());
        for (slot, sample) in slots.iter().zip(samples) {
            let Some(slot) = *slot else {
                self.replay.unknown(sample.reference);
                continue;
            };
            self.replay.newest = self.replay.newest.max(Some(sample.t));
            self.head.replay_float(slot, sample);
        }
    }

    fn histogram(&mut self, reference: u64, t: i64, value: Value) {
        let Some(slot) = self.replay.slots.get(reference) else {
            self.replay.unknown(reference);
            return;
        };
        self.replay.newest = self.replay.newest.max(Some(t));
        self.head.replay_value(slot, reference, t, &value);
    }

    fn exemplar(&mut self, entry: &ExemplarEntry<'_>) {
        if let Some(slot) = self.replay.slots.get(entry.reference) {
            self.head.replay_exemplar(slot, entry);
        }
    }

    fn metadata(&mut self, entry: &MetadataEntry<'_>) {
        if let Some(slot) = self.replay.slots.get(entry.reference) {
            self.head.learn(slot, entry);
        }
    }
}

impl Head {
    /// Keeps series without samples until [`Replay::done`]: a later record may have some.
    pub(crate) fn begin_replay(&mut self) {
        self.is_replaying = true;
    }

    /// The range of the block that can be cut while the log is still being read, where everything in it up to `settled`
    /// was seen.
    pub(crate) fn due_by(&self, settled: i64) -> Option<(i64, i64)> {
        let (mint, _) = self.time_range()?;
        let end = range_end(mint, self.range);
        (end.saturating_add(self.range) <= settled).then_some((mint, end))
    }

    /// Gives a new series the chunks that files hold of it, oldest first. What a block has is passed over; so is what
    /// overlaps an earlier chunk.
    fn attach(&mut self, slot: u32, mut mapped: Vec<MappedChunk>) {
        let mut end = None;
        mapped.retain(|chunk| {
            let is_next = chunk.maxt >= self.min_valid && end.is_none_or(|end| chunk.mint > end);
            end = if is_next { Some(chunk.maxt) } else { end };
            is_next
        });
        let (Some(first), Some(last)) = (mapped.first(), mapped.last()) else { return };
        self.mint = self.mint.min(first.mint.max(self.min_valid));
        self.maxt = self.maxt.max(last.maxt);
        self.counters.chunks_created += mapped.len() as u64;
        if let Some(series) = self.series.get_mut(slot as usize) {
            mapped.shrink_to_fit();
            series.attach(mapped);
        }
    }

    /// Reads a little of each of these series. They lie all over memory, and what is asked for at once comes at once.
    #[inline]
    fn look_at(&self, slots: impl Iterator<Item = u32>) {
        let seen = slots
            .filter_map(|slot| self.series.get(slot as usize))
            .fold(0, |seen, series| seen ^ series.look());
        std::hint::black_box(seen);
    }

    #[inline]
    fn replay_float(&mut self, slot: u32, sample: &SampleEntry) {
        let &SampleEntry { reference, t, v } = sample;
        if let Some(series) = self.series.get_mut(slot as usize)
            && series.reference == reference
            && series.newest_float().is_some_and(|newest| t > newest)
            && t >= self.min_valid
        {
            self.counters.chunks_created += series.push_float(t, v, self.range);
            self.mint = self.mint.min(t);
            self.maxt = self.maxt.max(t);
            return;
        }
        self.replay_value(slot, reference, t, &Value::Float(v));
    }

    fn replay_value(&mut self, slot: u32, reference: u64, t: i64, value: &Value) {
        if t < self.min_valid {
            return;
        }
        let Some(series) = self.series.get_mut(slot as usize) else { return };
        if series.reference != reference
            && let Some(expiry) = self.retired.get_mut(&reference)
        {
            *expiry = t.max(*expiry);
        }
        if series.newest().is_none_or(|newest| t > newest) {
            self.counters.chunks_created += series.push(t, value, self.range);
            self.mint = self.mint.min(t);
            self.maxt = self.maxt.max(t);
        }
    }

    /// A sample of the write-behind log. What the head has is passed over.
    fn replay_out_of_order(&mut self, slot: u32, t: i64, value: Value) {
        let Some(series) = self.series.get(slot as usize) else { return };
        let is_known = matches!(series.stored_at(t), super::series::Stored::Value(_))
            || self.late.get(slot, t).is_some();
        if !is_known {
            self.push_out_of_order(slot, t, value);
        }
    }
}

/// References of a page.
const PAGE: u64 = 64;

/// Slots by reference. References are dense where series were created one after the other, so a page of them is found
/// once for all.
#[derive(Debug, Default)]
struct References {
    /// The place in `slots` of each page, by its number.
    pages: HashMap<u64, usize>,
    slots: Vec<[Option<Slot>; PAGE as usize]>,
    /// The page that was found last.
    last: Option<(u64, usize)>,
}

/// A slot's number and one, so that none takes no room.
type Slot = std::num::NonZeroU32;

impl References {
    #[inline]
    fn get(&mut self, reference: u64) -> Option<u32> {
        let number = reference / PAGE;
        let place = match self.last {
            Some((last, place)) if last == number => place,
            _ => {
                let place = *self.pages.get(&number)?;
                self.last = Some((number, place));
                place
            }
        };
        let slot = (*self.slots.get(place)?.get((reference % PAGE) as usize)?)?;
        Some(slot.get() - 1)
    }

    fn insert(&mut self, reference: u64, slot: u32) {
        let place = *self.pages.entry(reference / PAGE).or_insert_with(|| {
            self.slots.push([None; PAGE as usize]);
            self.slots.len() - 1
        });
        let page = self.slots.get_mut(place);
        if let Some(entry) = page.and_then(|page| page.get_mut((reference % PAGE) as usize)) {
            *entry = Slot::new(slot.wrapping_add(1));
        }
    }
}

/// The chunks that head chunk files hold, by the reference of their series.
#[derive(Debug, Default)]
struct Loaded {
    /// The least reference last, and of one series the oldest chunk last: series are named in the order in which they
    /// were created, so memory is given back as they are.
    chunks: Vec<(u64, MappedChunk)>,
    /// Those of references that were passed by.
    passed: HashMap<u64, Vec<MappedChunk>>,
}

impl Loaded {
    /// The largest reference that was not taken.
    fn largest(&self) -> Option<u64> {
        let first = self.chunks.first().map(|(series, _)| *series);
        first.max(self.passed.keys().max().copied())
    }

    fn sort(&mut self) {
        self.chunks.sort_unstable_by_key(|(series, chunk)| std::cmp::Reverse((*series, chunk.reference)));
        self.chunks.shrink_to_fit();
    }

    /// The chunks of a series, in the order of the files.
    fn take(&mut self, reference: u64) -> Vec<MappedChunk> {
        let mut taken = self.passed.remove(&reference).unwrap_or_default();
        while let Some((series, chunk)) = self.chunks.pop_if(|(series, _)| *series <= reference) {
            if series == reference {
                taken.push(chunk);
            } else {
                self.passed.entry(series).or_default().push(chunk);
            }
        }
        if self.chunks.len() < self.chunks.capacity() / 2 {
            self.chunks.shrink_to_fit();
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_found_by_reference_wherever_it_is() {
        let mut references = References::default();
        let named = [1, 2, 63, 64, 65, 1 << 40, u64::MAX, 0];
        for (slot, reference) in (0..).zip(named) {
            references.insert(reference, slot);
        }
        references.insert(65, 9);
        for (slot, reference) in (0..).zip(named) {
            assert_eq!(references.get(reference), Some(if reference == 65 { 9 } else { slot }));
        }
        assert_eq!((references.get(3), references.get(1 << 41)), (None, None));
    }

    #[test]
    fn chunks_are_found_in_whatever_order_series_are_named() {
        let mut loaded = Loaded::default();
        for (offset, series) in [5, 3, 9, 3, 7, 5, 3].into_iter().enumerate() {
            let mapped = MappedChunk { mint: 0, maxt: 0, reference: ChunkRef::new(1, offset as u32) };
            loaded.chunks.push((series, mapped));
        }
        loaded.sort();
        let offsets =
            |chunks: Vec<MappedChunk>| chunks.iter().map(|c| c.reference.offset()).collect::<Vec<_>>();
        assert!(loaded.take(4).is_empty());
        assert_eq!(offsets(loaded.take(7)), [4]);
        assert_eq!(offsets(loaded.take(3)), [1, 3, 6]);
        assert_eq!(offsets(loaded.take(9)), [2]);
        assert_eq!(offsets(loaded.take(5)), [0, 5]);
        assert!(loaded.take(5).is_empty());
    }
}
