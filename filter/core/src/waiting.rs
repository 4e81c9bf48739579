//! Parts for sidecars that the host does not know yet.
//!
//! A changed ring may reach the filter before the clusters of its new sidecars are ready in the host. Their parts wait
//! here: every tick one of them is tried for each sidecar, and once it does not come back, the others follow. What is
//! too old to be worth sending ends.
//!
//! Invariant: what waits is bounded, in bytes and in time.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::events::{Call, Dispatch};

/// The most that waits in one worker, in bytes.
pub const WAITING_BYTES_MAX: usize = 64 << 20;

/// All that waits, by sidecar.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    by_sidecar: BTreeMap<Rc<str>, Queue>,
    bytes: usize,
}

/// What waits for one sidecar, in the order in which it was to be sent.
#[derive(Debug, Default)]
struct Queue {
    parts: VecDeque<Dispatch>,
    /// One more part was tried, and has not come back.
    is_tried: bool,
}

impl Waiting {
    /// Whether there are parts for a sidecar, behind which others queue up.
    pub(crate) fn is_for(&self, address: &str) -> bool {
        self.by_sidecar.contains_key(address)
    }

    /// Takes a part in, behind those for the same sidecar. Hands it back if that is too much.
    pub(crate) fn push(&mut self, dispatch: Dispatch) -> Result<(), Dispatch> {
        self.admit(dispatch).map(|(queue, dispatch)| queue.parts.push_back(dispatch))
    }

    /// Takes in a part that came back from the host, before those for the same sidecar.
    pub(crate) fn put_back(&mut self, dispatch: Dispatch) -> Result<(), Dispatch> {
        self.admit(dispatch).map(|(queue, dispatch)| {
            queue.is_tried = false;
            queue.parts.push_front(dispatch);
        })
    }

    fn admit(&mut self, dispatch: Dispatch) -> Result<(&mut Queue, Dispatch), Dispatch> {
        let bytes = dispatch.body.len();
        if self.bytes + bytes > WAITING_BYTES_MAX {
            return Err(dispatch);
        }
        self.bytes += bytes;
        Ok((self.by_sidecar.entry(Rc::clone(&dispatch.address)).or_default(), dispatch))
    }

    /// The parts that are not worth sending any more, which leave.
    pub(crate) fn expired(&mut self, now_ms: u64) -> Vec<Call> {
        let mut calls = Vec::new();
        for queue in self.by_sidecar.values_mut() {
            while let Some(dispatch) = queue.parts.pop_front_if(|part| part.expires_ms <= now_ms) {
                self.bytes -= dispatch.body.len();
                calls.push(dispatch.call);
            }
        }
        calls
    }

    /// The parts to be tried now, which leave: the first for each sidecar, or all where the first went through.
    pub(crate) fn due(&mut self) -> Vec<Dispatch> {
        let mut due = Vec::new();
        self.by_sidecar.retain(|_, queue| {
            let number = if queue.is_tried { queue.parts.len() } else { queue.parts.len().min(1) };
            due.extend(queue.parts.drain(..number));
            // Where one is tried alone, the queue stays for one tick more, to tell whether it came back.
            !std::mem::replace(&mut queue.is_tried, number > 0) && number > 0
        });
        self.bytes -= due.iter().map(|dispatch| dispatch.body.len()).sum::<usize>();
        due
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_sidecar.values().all(|queue| queue.parts.is_empty())
    }
}
