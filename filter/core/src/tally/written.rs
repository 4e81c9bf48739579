//! How much of a request is written, from what its sidecars say that they miss.
//!
//! Owns the counts that an answer to a request of remote write 2.0 reports. A sample counts as written when a quorum
//! of its replicas has it. Sidecars report how many samples of a series they miss, not which; so of `n` samples those
//! are written that the quorum's worst member has. That is exact where replicas that miss the same number miss the
//! same samples, or where one misses only what another misses too: what makes a sidecar refuse a sample, an order or
//! a bound, is passed in one direction.
//!
//! Invariant: the counts are given only when no pending answer can change them.

use ringside_proto::remote_write_v2::Contents;

use super::{Named, Tally, within};
use crate::answer::Missing;
use crate::layout::Set;
use crate::quorum::Outcome;

impl Tally {
    /// What is written on a quorum of replicas, `None` while that is open.
    pub fn written(&self) -> Option<Contents> {
        let mut written = Contents::default();
        for set in self.layout.sets() {
            written += self.written_of(set)?;
        }
        Some(written)
    }

    fn written_of(&self, set: &Set) -> Option<Contents> {
        let quorum = usize::from(self.rule.quorum());
        let (mut takers, mut pending) = (Vec::with_capacity(set.members.len()), 0);
        let mut contents = set.contents;
        for member in &set.members {
            let Some(answer) = self.answers.get(usize::from(member.part))?.as_ref() else {
                pending += 1;
                continue;
            };
            if answer.rest == Outcome::Stored {
                let series = within(&answer.refused, *member, set.len);
                takers.push(Named { series, first: member.first, rest: answer.rest });
                if set.contents.is_none() {
                    contents = least(contents, answer.contents);
                }
            }
        }
        if takers.len() + pending < quorum {
            return Some(Contents::default());
        }
        let Some(contents) = contents else {
            // No taker says what it was sent, so none is reported; one that has not answered may say it.
            return (pending == 0).then(Contents::default);
        };
        let (at_least, at_most) = missing(&mut takers, pending, quorum);
        let best = contents.saturating_sub(at_least);
        let worst = at_most.map_or(Contents::default(), |at_most| contents.saturating_sub(at_most));
        (best == worst).then_some(worst)
    }
}

/// What a quorum misses of the series that takers name: if those that are pending miss nothing, and if they miss
/// everything, where the takers are a quorum without them.
fn missing(takers: &mut [Named<'_>], pending: usize, quorum: usize) -> (Contents, Option<Contents>) {
    let (mut at_least, mut at_most) = (Contents::default(), Contents::default());
    while let Some(place) = takers.iter().filter_map(Named::place).min() {
        let said = takers.iter_mut().map(|taker| taker.take(place).map(|series| series.missing));
        let said: Vec<_> = said.map(Option::unwrap_or_default).collect();
        at_most += of_quorum(&said, quorum);
        // Those that are pending would be the quorum's best members.
        at_least += of_quorum(&said, quorum.saturating_sub(pending));
    }
    (at_least, (takers.len() >= quorum).then_some(at_most))
}

/// What the worst of the best `quorum` members misses, kind by kind: nothing where the quorum needs none of them.
fn of_quorum(said: &[Missing], quorum: usize) -> Contents {
    let kind = |kind: fn(&Missing) -> u32| {
        let mut missing: Vec<_> = said.iter().map(kind).collect();
        missing.sort_unstable();
        quorum.checked_sub(1).and_then(|worst| missing.get(worst)).copied().unwrap_or(0)
    };
    Missing {
        samples: kind(|missing| missing.samples),
        histograms: kind(|missing| missing.histograms),
        exemplars: kind(|missing| missing.exemplars),
    }
    .into()
}

/// Sidecars that were sent the same agree on what it holds. If they do not, less is promised rather than more.
fn least(one: Option<Contents>, other: Option<Contents>) -> Option<Contents> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Contents {
            samples: one.samples.min(other.samples),
            histograms: one.histograms.min(other.histograms),
            exemplars: one.exemplars.min(other.exemplars),
        }),
        (one, other) => one.or(other),
    }
}
