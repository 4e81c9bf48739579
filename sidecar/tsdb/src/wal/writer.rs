//! The live logs of a tenant with group commit: one write and one fdatasync of each serve every request that waits.
//!
//! The write-ahead log has the series and what came in order; the write-behind log has what came out of order, so that
//! Prometheus finds it where it looks for it. Both belong to one commit: the first is durable before the second, whose
//! samples name series of the first. The write-behind log's files appear with its first record.
//!
//! Records are queued while the head is locked, so their order is the order in which the head took them. A
//! waiting request becomes the leader when nobody is, takes the whole queue, writes and syncs it with no lock
//! held that an append needs, and wakes the others. Who waits without a thread of its own has a waker here, and
//! the leader's work is done wherever its caller may block. A failed write or sync is final: what reached the device
//! is unknown, so the log stops acknowledging until it is opened again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::segment::SegmentWriter;
use crate::error::Error;
use crate::fs::Fs;
use crate::layout;
use crate::timing::{Durations, Timer};

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

/// The segments that logs begin with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NextSegments {
    pub(crate) wal: u64,
    pub(crate) wbl: u64,
}

/// A point in the logs of a tenant: everything queued before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(u64);

/// The logs of one tenant.
#[derive(Debug)]
pub(crate) struct Wal {
    sync: WalSync,
    queue: Mutex<Queue>,
    turn: Condvar,
    segments: Mutex<Segments>,
    wal_syncs: Arc<Timer>,
    wbl_syncs: Arc<Timer>,
}

/// The open files of both logs.
#[derive(Debug)]
struct Segments {
    fs: Arc<dyn Fs>,
    wal: SegmentWriter,
    wbl: Option<SegmentWriter>,
    wbl_dir: PathBuf,
    /// Index of the write-behind log's next segment while none is open.
    wbl_index: u64,
    /// The segment of the write-behind log that was asked for last.
    wbl_first: u64,
    wbl_syncs: Arc<Timer>,
    segment_bytes: u64,
}

#[derive(Debug, Default)]
struct Queue {
    pending: Batches,
    spare: Batches,
    queued: u64,
    written: u64,
    leading: bool,
    /// Threads that wait for the leader to be done.
    blocked: usize,
    /// Those who wait without a thread.
    wakers: Vec<Waker>,
    closed: bool,
    failed: Option<Arc<Error>>,
    has_wbl: bool,
    wbl_first: u64,
    segment: u64,
    offset: u64,
}

/// What waits for each log.
#[derive(Debug, Default)]
struct Batches {
    wal: Batch,
    wbl: Batch,
    /// Before so many records of `wbl` a new segment of that log begins.
    wbl_segment_at: Option<usize>,
}

/// Records back to back.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    fn push(&mut self, record: &[u8]) {
        if !record.is_empty() {
            self.bytes.extend_from_slice(record);
            self.ends.push(self.bytes.len());
        }
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
    /// Begins segment `next.wal` of the write-ahead log in the tenant's directory `dir`, and later segment `next.wbl`
    /// of the write-behind log; neither may exist.
    pub(crate) fn create(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        next: NextSegments,
        segment_bytes: u64,
        sync: WalSync,
    ) -> Result<Self, Error> {
        let (wal_syncs, wbl_syncs) = (Arc::default(), Arc::default());
        let wal =
            SegmentWriter::create(fs, &dir.join(layout::WAL), next.wal, segment_bytes)?.timed(&wal_syncs);
        let segments = Segments {
            fs: Arc::clone(fs),
            wal,
            wbl: None,
            wbl_dir: dir.join(layout::WBL),
            wbl_index: next.wbl,
            wbl_first: next.wbl,
            wbl_syncs: Arc::clone(&wbl_syncs),
            segment_bytes,
        };
        Ok(Self {
            sync,
            queue: Mutex::new(Queue { segment: next.wal, has_wbl: next.wbl > 0, ..Queue::default() }),
            turn: Condvar::new(),
            segments: Mutex::new(segments),
            wal_syncs,
            wbl_syncs,
        })
    }

    /// Queues records of both logs in this order and tells what to wait for. Empty records are passed over: the
    /// position then covers all that was queued before, so that an exact duplicate waits for the first copy's
    /// durability.
    pub(crate) fn queue<'r>(
        &self,
        wal: impl IntoIterator<Item = &'r [u8]>,
        wbl: impl IntoIterator<Item = &'r [u8]>,
    ) -> Position {
        let mut queue = self.lock();
        let before = queue.pending.wal.ends.len() + queue.pending.wbl.ends.len();
        wal.into_iter().for_each(|record| queue.pending.wal.push(record));
        wbl.into_iter().for_each(|record| queue.pending.wbl.push(record));
        let after = queue.pending.wal.ends.len() + queue.pending.wbl.ends.len();
        queue.has_wbl |= !queue.pending.wbl.ends.is_empty();
        queue.queued += (after - before) as u64;
        Position(queue.queued)
    }

    /// Queues a new segment of the write-behind log that begins with these records; what was queued before is in older
    /// ones. Once it was waited for, and synced, [`Self::wbl_first`] tells the segment.
    pub(crate) fn queue_wbl_segment(&self, records: &[Vec<u8>]) -> Position {
        let mut queue = self.lock();
        queue.pending.wbl_segment_at = Some(queue.pending.wbl.ends.len());
        queue.has_wbl = !records.is_empty();
        records.iter().for_each(|record| queue.pending.wbl.push(record));
        queue.queued += 1;
        Position(queue.queued)
    }

    /// The segment that the last [`Self::queue_wbl_segment`] began.
    pub(crate) fn wbl_first(&self) -> u64 {
        self.lock().wbl_first
    }

    /// True if the write-behind log holds something.
    pub(crate) fn has_wbl(&self) -> bool {
        self.lock().has_wbl
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
                queue = self.block(queue);
                continue;
            }
            queue = self.lead(queue, |segments| segments.commit(self.sync))?;
        }
    }

    /// The same as [`Self::wait`] without blocking: until it is ready, `cx` is woken whenever that may have changed.
    /// Sets `claimed` where nobody leads: the caller sees to it that [`Self::lead_claimed`] or [`Self::resign`] is
    /// called, without which nobody gets on.
    pub(crate) fn poll(
        &self,
        position: Position,
        cx: &mut Context<'_>,
        claimed: &mut bool,
    ) -> Poll<Result<(), Error>> {
        let mut queue = self.lock();
        if let Some(e) = &queue.failed {
            return Poll::Ready(Err(Error::Poisoned(Arc::clone(e))));
        }
        if queue.written >= position.0 {
            return Poll::Ready(Ok(()));
        }
        // Threads go first: they wait to do more than this.
        *claimed = !queue.leading && queue.blocked == 0;
        queue.leading |= *claimed;
        queue.wakers.push(cx.waker().clone());
        Poll::Pending
    }

    /// Does what a claim stands for; blocks. Whoever waits learns of an error.
    pub(crate) fn lead_claimed(&self) {
        drop(self.lead(self.lock(), |segments| segments.commit(self.sync)));
    }

    /// Gives a claim back.
    pub(crate) fn resign(&self) {
        let mut queue = self.lock();
        queue.leading = false;
        self.wake(&mut queue);
    }

    /// Everything queued so far.
    pub(crate) fn queued(&self) -> Position {
        Position(self.lock().queued)
    }

    /// Writes and syncs everything queued so far, whatever [`WalSync`] says.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.exclusive(Segments::sync)
    }

    /// Writes and syncs everything queued so far, for whoever waits for either log takes it as durable then; finishes the
    /// open segment of the write-ahead log and begins the next. Returns its index.
    pub(crate) fn next_segment(&self) -> Result<u64, Error> {
        self.exclusive(|segments| {
            segments.sync()?;
            segments.wal.next_segment()
        })?;
        Ok(self.lock().segment)
    }

    /// Writes everything queued so far, pads and syncs. Later appends fail.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.exclusive(|segments| {
            segments.wal.finish()?;
            segments.wbl.as_mut().map_or(Ok(()), SegmentWriter::finish)
        })?;
        self.lock().closed = true;
        Ok(())
    }

    /// Ends the log where it is, after the commit under way: nothing is acknowledged any more.
    pub(crate) fn abandon(&self) {
        let mut queue = self.lock();
        while queue.leading {
            queue = self.block(queue);
        }
        queue.failed.get_or_insert_with(|| Arc::new(Error::Broken));
        queue.pending = Batches::default();
        self.wake(&mut queue);
    }

    /// The open segment's index and its size in bytes.
    pub(crate) fn end(&self) -> (u64, u64) {
        let queue = self.lock();
        (queue.segment, queue.offset)
    }

    /// How long the syncs of the write-ahead and of the write-behind log took.
    pub(crate) fn syncs(&self) -> [Durations; 2] {
        [self.wal_syncs.durations(), self.wbl_syncs.durations()]
    }

    fn exclusive(&self, then: impl FnOnce(&mut Segments) -> Result<(), Error>) -> Result<(), Error> {
        let mut queue = self.lock();
        while queue.leading {
            queue = self.block(queue);
        }
        queue.check()?;
        self.lead(queue, then).map(drop)
    }

    /// Waits until the leader is done.
    fn block<'a>(&self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        queue.blocked += 1;
        let mut queue = self.turn.wait(queue).unwrap_or_else(PoisonError::into_inner);
        queue.blocked -= 1;
        if !queue.leading && queue.blocked == 0 {
            // Nobody may lead for them if this thread finds nothing to do.
            self.wake(&mut queue);
        }
        queue
    }

    fn wake(&self, queue: &mut Queue) {
        self.turn.notify_all();
        queue.wakers.drain(..).for_each(Waker::wake);
    }

    /// Takes the queue, writes it without holding the lock, runs `then` on the segment, and wakes everyone.
    fn lead<'a>(
        &'a self,
        mut queue: MutexGuard<'a, Queue>,
        then: impl FnOnce(&mut Segments) -> Result<(), Error>,
    ) -> Result<MutexGuard<'a, Queue>, Error> {
        queue.leading = true;
        let spare = std::mem::take(&mut queue.spare);
        let mut batch = std::mem::replace(&mut queue.pending, spare);
        let target = queue.queued;
        drop(queue);

        let mut segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        let before = segments.ends();
        let result = segments.write(&batch).and_then(|()| then(&mut segments));
        if result.is_err() {
            segments.take_back(before);
        }
        let (index, offset) = (segments.wal.index(), segments.wal.offset());
        let wbl_first = segments.wbl_first;
        drop(segments);
        batch.wal.clear();
        batch.wbl.clear();
        batch.wbl_segment_at = None;

        let mut queue = self.lock();
        queue.leading = false;
        queue.spare = batch;
        (queue.segment, queue.offset) = (index, offset);
        queue.wbl_first = wbl_first;
        match &result {
            Ok(()) => queue.written = target,
            Err(e) => queue.failed = Some(Arc::new(e.clone())),
        }
        self.wake(&mut queue);
        result.map(|()| queue)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Index and offset of the end of a log.
type End = (u64, u64);

impl Segments {
    fn write(&mut self, batches: &Batches) -> Result<(), Error> {
        batches.wal.records().try_for_each(|record| self.wal.write(record))?;
        for (position, record) in batches.wbl.records().enumerate() {
            if batches.wbl_segment_at == Some(position) {
                self.end_wbl()?;
            }
            self.wbl()?.write(record)?;
        }
        if batches.wbl_segment_at == Some(batches.wbl.ends.len()) {
            self.end_wbl()?;
            // Prometheus does not read a directory without a segment.
            self.wbl()?;
        }
        Ok(())
    }

    /// Ends the write-behind log's segment, if one is open; the next record begins another.
    fn end_wbl(&mut self) -> Result<(), Error> {
        if let Some(wbl) = &mut self.wbl {
            wbl.finish()?;
            self.wbl_index = wbl.index() + 1;
            self.wbl = None;
        }
        self.wbl_first = self.wbl_index;
        Ok(())
    }

    /// The write-behind log, begun if it is not.
    fn wbl(&mut self) -> Result<&mut SegmentWriter, Error> {
        match &mut self.wbl {
            Some(wbl) => Ok(wbl),
            none => {
                self.fs.create_dir_durable(&self.wbl_dir).map_err(Error::io("create", &self.wbl_dir))?;
                let wbl = SegmentWriter::create(&self.fs, &self.wbl_dir, self.wbl_index, self.segment_bytes)?;
                Ok(none.insert(wbl.timed(&self.wbl_syncs)))
            }
        }
    }

    /// Makes what was written as durable as `sync` says.
    fn commit(&mut self, sync: WalSync) -> Result<(), Error> {
        if sync == WalSync::Group {
            return self.sync();
        }
        self.wal.flush()?;
        self.wbl.as_mut().map_or(Ok(()), SegmentWriter::flush)
    }

    /// Syncs the write-ahead log, then the other one, where there is something to sync.
    fn sync(&mut self) -> Result<(), Error> {
        for log in [Some(&mut self.wal), self.wbl.as_mut()].into_iter().flatten().filter(|log| log.is_dirty())
        {
            log.sync()?;
        }
        Ok(())
    }

    fn ends(&self) -> (End, Option<End>) {
        let end = |segment: &SegmentWriter| (segment.index(), segment.offset());
        (end(&self.wal), self.wbl.as_ref().map(end))
    }

    /// Takes back what a failed commit left behind these ends in the segments that are open.
    fn take_back(&mut self, (wal, wbl): (End, Option<End>)) {
        let wbl = self.wbl.as_mut().map(|segment| (segment, wbl));
        for (segment, (index, offset)) in
            [(&mut self.wal, wal)].into_iter().chain(wbl.map(|(segment, end)| {
                // A log that the failed commit began goes as a whole.
                let end = end.unwrap_or((segment.index(), 0));
                (segment, end)
            }))
        {
            // What is in an earlier segment was synced when that was finished.
            segment.take_back(if segment.index() == index { offset } else { 0 });
        }
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
