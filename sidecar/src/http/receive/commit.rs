//! Has the logs of a tenant written for the requests that wait for it.
//!
//! Requests that are ready to be appended are let go first, so that one write and one sync serves them all: without a
//! timer, and with no delay where there is none.

use ringside_tsdb::Leader;
use tokio::task::{spawn_blocking, yield_now};
use tokio_util::task::TaskTracker;

/// So often at most the runtime's other work goes first.
const ROUNDS_MAX: usize = 16;

/// Does the leader's work on the blocking pool, and goes on to its end even when all clients have gone.
pub(super) fn spawn(leader: Leader, appends: &TaskTracker) {
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
