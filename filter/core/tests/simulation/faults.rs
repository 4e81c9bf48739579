//! Worlds in which something is wrong on purpose, to show that the checks find it.

use ringside_filter_core::{HEADERS_WRITTEN, Response};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An answer leaves with another status.
    Status { from: u16, to: u16 },
    /// An answer says that so much more is written.
    Written { more: i64 },
    /// Each reply counts also for a sidecar that has not replied.
    CountsTwice,
    /// No reply counts.
    LosesReplies,
}

impl Fault {
    /// Changes an answer; whether there is anything to change.
    pub(crate) fn changes(self, response: &mut Response) -> bool {
        match self {
            Self::Status { from, to } if response.status == from => response.status = to,
            Self::Written { more } => {
                let samples = response.headers.iter_mut().find(|(name, _)| *name == HEADERS_WRITTEN[0]);
                let Some((_, samples)) = samples else { return false };
                let said: i64 = samples.parse().expect("a number");
                *samples = (said + more).max(0).to_string().into();
                return said + more >= 0;
            }
            _ => return false,
        }
        true
    }
}
