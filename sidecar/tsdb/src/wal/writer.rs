//! The live log with group commit: one write and one fdatasync serve every request that waits.
//!
//! Records are queued while the head is locked, so their order is the order in which the head took them. A
//! waiting request becomes the leader when nobody is, takes the whole queue, writes and syncs it with no lock
//! held that an append needs, and wakes the others. A failed write or sync is final: what reached the device is
//! unknown, so the log stops acknowledging until it is opened again.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::segment::SegmentWriter;
use crate::error::Error;
use crate::fs::Fs;

/// When an append counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WalSync {
    /// After an fdatasync shared by all appends that wait for it.
    #[default]
    Group,
    /// After the write to the operating system; the owner calls [`crate::Tsdb::sync`] this often. A power cut
    /// loses at most so much.
    Interval(Duration),
    /// After the write to the operating system. A power cut loses what it has not written back.
    None,
}

/// A point in the log: everything queued before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(u64);

/// The log of one tenant.
#[derive(Debug)]
pub(crate) struct Wal {
    sync: WalSync,
    queue: Mutex<Queue>,
    turn: Condvar,
    segment: Mutex<SegmentWriter>,
}

#[derive(Debug, Default)]
struct Queue {
    pending: Batch,
    spare: Batch,
    queued: u64,
    written: u64,
    leading: bool,
    closed: bool,
    failed: Option<Arc<Error>>,
    segment: u64,
    offset: u64,
}

/// Records back to back.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().filter_map(move |&end| self.bytes.get(std::mem::replace(&mut start, end)..end))
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.bytes.shrink_to(4 << 20);
    }
}

impl Wal {
    /// Begins segment `index`, which must not exist.
    pub(crate) fn create(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        index: u64,
        segment_bytes: u64,
        sync: WalSync,
    ) -> Result<Self, Error> {
        let segment = SegmentWriter::create(fs, dir, index, segment_bytes)?;
        Ok(Self {
            sync,
            queue: Mutex::new(Queue { segment: index, ..Queue::default() }),
            turn: Condvar::new(),
            segment: Mutex::new(segment),
        })
    }

    /// Queues records in this order and tells what to wait for. Empty records are passed over: the position then
    /// covers all that was queued before, so that an exact duplicate waits for the first copy's durability.
    pub(crate) fn queue(&self, records: [&[u8]; 2]) -> Position {
        let mut queue = self.lock();
        for record in records.into_iter().filter(|r| !r.is_empty()) {
            queue.pending.push(record);
            queue.queued += 1;
        }
        Position(queue.queued)
    }

    /// Fails once the log is closed or a write has failed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.lock().check()
    }

    /// Blocks until everything up to `position` is as durable as [`WalSync`] promises.
    pub(crate) fn wait(&self, position: Position) -> Result<(), Error> {
        let mut queue = self.lock();
        loop {
            if let Some(e) = &queue.failed {
                return Err(Error::Poisoned(Arc::clone(e)));
            }
            if queue.written >= position.0 {
                return Ok(());
            }
            if queue.leading {
                queue = self.turn.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue = self.lead(queue, |segment| match self.sync {
                WalSync::Group => segment.sync(),
                WalSync::Interval(_) | WalSync::None => segment.flush(),
            })?;
        }
    }

    /// Writes and syncs everything queued so far, whatever [`WalSync`] says.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.exclusive(SegmentWriter::sync)
    }

    /// Writes everything queued so far, finishes the open segment and begins the next; returns its index.
    pub(crate) fn next_segment(&self) -> Result<u64, Error> {
        self.exclusive(SegmentWriter::next_segment)?;
        Ok(self.lock().segment)
    }

    /// Writes everything queued so far, pads and syncs. Later appends fail.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.exclusive(SegmentWriter::finish)?;
        self.lock().closed = true;
        Ok(())
    }

    /// The open segment's index and its size in bytes.
    pub(crate) fn end(&self) -> (u64, u64) {
        let queue = self.lock();
        (queue.segment, queue.offset)
    }

    fn exclusive(&self, then: impl FnOnce(&mut SegmentWriter) -> Result<(), Error>) -> Result<(), Error> {
        let mut queue = self.lock();
        while queue.leading {
            queue = self.turn.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.check()?;
        self.lead(queue, then).map(drop)
    }

    /// Takes the queue, writes it without holding the lock, runs `then` on the segment, and wakes everyone.
    fn lead<'a>(
        &'a self,
        mut queue: MutexGuard<'a, Queue>,
        then: impl FnOnce(&mut SegmentWriter) -> Result<(), Error>,
    ) -> Result<MutexGuard<'a, Queue>, Error> {
        queue.leading = true;
        let spare = std::mem::take(&mut queue.spare);
        let mut batch = std::mem::replace(&mut queue.pending, spare);
        let target = queue.queued;
        drop(queue);

        let mut segment = self.segment.lock().unwrap_or_else(PoisonError::into_inner);
        let (index_before, offset_before) = (segment.index(), segment.offset());
        let result =
            batch.records().try_for_each(|record| segment.write(record)).and_then(|()| then(&mut segment));
        let (index, offset) = (segment.index(), segment.offset());
        if result.is_err() && index == index_before {
            segment.take_back(offset_before);
        }
        drop(segment);
        batch.clear();

        let mut queue = self.lock();
        queue.leading = false;
        queue.spare = batch;
        (queue.segment, queue.offset) = (index, offset);
        match &result {
            Ok(()) => queue.written = target,
            Err(e) => queue.failed = Some(Arc::new(e.clone())),
        }
        self.turn.notify_all();
        result.map(|()| queue)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn check(&self) -> Result<(), Error> {
        match &self.failed {
            Some(e) => Err(Error::Poisoned(Arc::clone(e))),
            None if self.closed => Err(Error::Closed),
            None => Ok(()),
        }
    }
}
