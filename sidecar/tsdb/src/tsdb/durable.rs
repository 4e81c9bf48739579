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
