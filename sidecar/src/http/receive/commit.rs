//! Has the logs of a tenant written for the requests that wait for it.
//!
//! Requests that are ready to be appended are let go first, so that one write and one sync serves them all: without a
//! timer, and with no delay where there is none.

use std::sync::Arc;

use ringside_tsdb::{Error, Leader, Position, Tsdb};
use tokio::runtime::Handle;
use tokio::task::{spawn_blocking, yield_now};
use tokio_util::task::TaskTracker;

use crate::limits::Reservation;

/// So often at most the runtime's other work goes first.
const ROUNDS_MAX: usize = 16;

/// Resolves once everything up to `position` is durable. Until then the request's bytes count as held, even if its
/// client goes: the log holds its records.
pub(super) async fn durable(
    tsdb: &Arc<Tsdb>,
    position: Position,
    reservation: Option<Reservation>,
    appends: &TaskTracker,
) -> Result<(), Error> {
    let mut held = Held { tsdb, position, reservation, appends };
    let result = tsdb.durable(position, |leader| spawn(leader, appends)).await;
    held.reservation = None;
    result
}

/// A request that is appended and not known to be durable.
struct Held<'a> {
    tsdb: &'a Arc<Tsdb>,
    position: Position,
    reservation: Option<Reservation>,
    appends: &'a TaskTracker,
}

impl Drop for Held<'_> {
    /// Should the client have gone, another task waits.
    fn drop(&mut self) {
        let (Some(reservation), Ok(runtime)) = (self.reservation.take(), Handle::try_current()) else {
            return;
        };
        let (tsdb, position, appends) = (Arc::clone(self.tsdb), self.position, self.appends.clone());
        let wait = async move {
            // Whoever still waits learns of an error.
            drop(tsdb.durable(position, |leader| spawn(leader, &appends)).await);
            drop(reservation);
        };
        self.appends.spawn_on(wait, &runtime);
    }
}

/// Does the leader's work on the blocking pool, and goes on to its end even when all clients have gone.
fn spawn(leader: Leader, appends: &TaskTracker) {
    appends.spawn(async move {
        let mut queued = leader.queued();
        for _ in 0..ROUNDS_MAX {
            yield_now().await;
            let before = std::mem::replace(&mut queued, leader.queued());
            if queued == before {
                break;
            }
        }
        if let Err(error) = spawn_blocking(|| leader.run()).await {
            tracing::error!(%error, "a commit broke off");
        }
    });
}
