//! Waiting for durability without a thread: for callers that have an async runtime.
//!
//! Owns no runtime. Whoever finds that nobody writes the logs gets the work handed over, and runs it where blocking is
//! allowed.

use std::future::poll_fn;
use std::sync::Arc;

use super::Tsdb;
use crate::error::Error;
use crate::wal::Position;

/// One commit of the logs, which must be [`run`](Self::run): until then whoever waits for it gets no further. Dropped
/// instead, it is handed to another.
#[derive(Debug)]
#[must_use = "nobody gets on until it is run or dropped"]
pub struct Leader {
    tsdb: Arc<Tsdb>,
    has_run: bool,
}

impl Leader {
    /// Everything that the commit would cover now. The longer it grows before [`run`](Self::run), the more appends
    /// share one write and one sync.
    pub fn queued(&self) -> Position {
        self.tsdb.wal.queued()
    }

    /// Writes what is queued, makes it as durable as configured, and wakes those who wait. Blocks.
    pub fn run(mut self) {
        self.tsdb.wal.lead_claimed();
        self.has_run = true;
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if !self.has_run {
            self.tsdb.wal.resign();
        }
    }
}

impl Tsdb {
    /// Resolves once everything up to `position` is as durable as configured: what
    /// [`Pending::wait`](crate::Pending::wait) does, without blocking. `lead` gets the work whenever nobody else does
    /// it, and must not block either.
    ///
    /// # Errors
    /// As [`Pending::wait`](crate::Pending::wait): nothing up to `position` is to be acknowledged.
    pub async fn durable(self: &Arc<Self>, position: Position, lead: impl Fn(Leader)) -> Result<(), Error> {
        poll_fn(|cx| {
            let mut claimed = false;
            let poll = self.wal.poll(position, cx, &mut claimed);
            if claimed {
                lead(Leader { tsdb: Arc::clone(self), has_run: false });
            }
            poll
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::Path;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::*;
    use crate::fs::faults::{Fault, FaultFs, Survives};
    use crate::{Options, WalSync};

    const DIR: &str = "/tenant";

    fn open(fs: &FaultFs, wal_sync: WalSync) -> Arc<Tsdb> {
        let options = Options { fs: Arc::new(fs.clone()), wal_sync, ..Options::default() };
        Arc::new(Tsdb::open(Path::new(DIR), options).unwrap())
    }

    fn append(tsdb: &Tsdb, t_ms: i64) -> Position {
        let mut appender = tsdb.appender().unwrap();
        let series = appender.series(b"\x0a\x06\x0a\x01a\x12\x01b").unwrap();
        appender.float(series, t_ms, 1.0).unwrap();
        appender.commit().position()
    }

    fn samples(fs: &FaultFs) -> Option<(i64, i64)> {
        open(fs, WalSync::Group).stats().head_time_range
    }

    #[test]
    fn one_leads_for_all_and_a_leader_that_goes_is_replaced() {
        let fs = FaultFs::default();
        let tsdb = open(&fs, WalSync::Group);
        let leaders = RefCell::new(Vec::new());
        let lead = |leader| leaders.borrow_mut().push(leader);
        let mut cx = Context::from_waker(Waker::noop());
        let [first, second] = [1, 2].map(|t| append(&tsdb, t));
        let (mut a, mut b) = (pin!(tsdb.durable(first, lead)), pin!(tsdb.durable(second, lead)));
        assert!(a.as_mut().poll(&mut cx).is_pending() && b.as_mut().poll(&mut cx).is_pending());
        assert_eq!(leaders.borrow().len(), 1);
        drop(leaders.borrow_mut().pop());
        assert!(b.as_mut().poll(&mut cx).is_pending());
        let leader = leaders.borrow_mut().pop().unwrap();
        assert_eq!(leader.queued(), second);
        leader.run();
        for waiting in [a.as_mut().poll(&mut cx), b.as_mut().poll(&mut cx)] {
            assert!(matches!(waiting, Poll::Ready(Ok(()))));
        }
        assert_eq!(samples(&fs.reboot(Survives::Nothing)), Some((1, 2)));
    }

    #[test]
    fn a_failed_commit_is_an_error_for_all_who_wait() {
        let fs = FaultFs::default();
        let tsdb = open(&fs, WalSync::Group);
        let positions = [1, 2].map(|t| append(&tsdb, t));
        fs.plan(0, Fault::Error);
        for position in positions {
            let mut waiting = pin!(tsdb.durable(position, Leader::run));
            let mut cx = Context::from_waker(Waker::noop());
            let poll = waiting.as_mut().poll(&mut cx);
            let poll = if poll.is_pending() { waiting.as_mut().poll(&mut cx) } else { poll };
            assert!(matches!(poll, Poll::Ready(Err(Error::Poisoned(_)))), "{poll:?}");
        }
        assert!(tsdb.is_broken());
    }

    /// A new segment of one log makes what waits for the other one durable too.
    #[test]
    fn whoever_writes_the_queue_syncs_both_logs() {
        let fs = FaultFs::default();
        let tsdb = open(&fs, WalSync::Group);
        append(&tsdb, 100_000);
        let late = append(&tsdb, 50_000);
        tsdb.wal.next_segment().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let waiting = pin!(tsdb.durable(late, |_| panic!("it is written"))).poll(&mut cx);
        assert!(matches!(waiting, Poll::Ready(Ok(()))));
        assert_eq!(samples(&fs.reboot(Survives::Nothing)), Some((50_000, 100_000)));
    }

    #[test]
    fn what_was_abandoned_acknowledges_nothing() {
        let fs = FaultFs::default();
        let tsdb = open(&fs, WalSync::Group);
        append(&tsdb, 1);
        tsdb.abandon();
        assert!(tsdb.appender().is_err() && tsdb.is_broken());
        assert_eq!(tsdb.stats().series, 0);
        assert_eq!(tsdb.options.series_budget.used(), 0);
    }

    /// Without a sync for each write, a kill loses nothing that was written, and a power cut only what came after the
    /// last sync.
    #[test]
    fn writes_that_are_synced_later_or_not_at_all() {
        for mode in [WalSync::Interval(Duration::from_millis(100)), WalSync::None] {
            let fs = FaultFs::default();
            let tsdb = open(&fs, mode);
            let write = |t| tsdb.wal.wait(append(&tsdb, t)).unwrap();
            write(1);
            assert_eq!(samples(&fs.reboot(Survives::Everything)), Some((1, 1)));
            assert_eq!(samples(&fs.reboot(Survives::Nothing)), None, "{mode:?}");
            tsdb.sync().unwrap();
            write(2);
            assert_eq!(samples(&fs.reboot(Survives::Nothing)), Some((1, 1)), "{mode:?}");
        }
    }
}
