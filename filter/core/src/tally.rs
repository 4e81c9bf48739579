//! The count of one request's answers, series by series, up to its verdict.
//!
//! Owns which outcome each replica gave to each series, and when the outcome of the whole request is fixed.
//! It neither sends nor words anything (see `fanout` and `reply`).
//!
//! Series are not counted one by one. The series of a replica set share one fate, except those that some answer
//! names as refused; so without refusals the work per answer is one count per replica set, whatever the number
//! of series.
//!
//! Invariant: a verdict is given as soon as no completion of the pending answers can change it, and is then the
//! same for every order of the answers.

use crate::answer::{Answer, Refused};
use crate::layout::{Layout, Member, Set};
use crate::quorum::{Bounds, Counts, Outcome, Rule};

mod written;

/// The answers to the parts of one request.
#[derive(Debug)]
pub struct Tally {
    rule: Rule,
    layout: Layout,
    answers: Vec<Option<Answer>>,
    refused: Option<RefusedHere>,
}

/// Series that the filter itself refused, as beyond a limit, and did not send on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedHere {
    /// How many they are.
    pub series: u64,
    /// The first of them, by its index in the client's request.
    pub first: u32,
    /// Why that one was refused.
    pub message: String,
}

/// Some series of one set that share one fate.
struct Group {
    /// Place within the set; `None` for those that no answer names.
    place: Option<u32>,
    /// How many they are; `None` when nobody counted them.
    len: Option<u32>,
    counts: Counts,
}

/// What decided a request that was not stored whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Cause<'a> {
    pub outcome: Outcome,
    /// How many series have this outcome for certain.
    pub series: u64,
    /// Whether there are further ones that nobody counted.
    pub and_uncounted: bool,
    /// The first of them, by its index in the client's request, if it is known.
    pub first: Option<u32>,
    /// The part whose sidecar refused that one, unless the filter did, and what it said.
    pub part: Option<u16>,
    pub message: &'a str,
    /// The entry of the sidecar's list, if it gave one.
    pub refused: Option<Refused>,
}

impl Tally {
    pub fn new(rule: Rule, layout: Layout, refused: Option<RefusedHere>) -> Self {
        let answers = (0..layout.parts()).map(|_| None).collect();
        Self { rule, layout, answers, refused }
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What is kept of the series of the request, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let refused = self.answers.iter().flatten().map(|answer| size_of_val(&*answer.refused));
        self.layout.bytes() + refused.sum::<usize>()
    }

    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Counts the answer to a part. Only the first answer to a part counts.
    pub fn count(&mut self, part: u16, answer: Answer) {
        if let Some(slot @ None) = self.answers.get_mut(usize::from(part)) {
            *slot = Some(answer);
        }
    }

    /// The outcome of the request, once nothing can change it.
    pub fn verdict(&self) -> Option<Outcome> {
        let mut request = match self.refused {
            None => Bounds::NONE,
            Some(_) => Bounds { best: Outcome::Invalid, worst: Outcome::Invalid },
        };
        for set in self.layout.sets() {
            self.groups(set, |group| request = request.join(self.rule.bounds(&group.counts)));
            if request.best == Outcome::Unavailable {
                break; // Nothing is worse.
            }
        }
        request.fixed()
    }

    /// Names what decided a verdict. `None` if everything is stored.
    pub fn cause(&self, verdict: Outcome) -> Option<Cause<'_>> {
        if verdict == Outcome::Stored {
            return None;
        }
        let refused = self.refused.as_ref().filter(|_| verdict == Outcome::Invalid);
        let mut cause = refused.map(RefusedHere::cause);
        let (mut series, mut and_uncounted) = (refused.map_or(0, |refused| refused.series), false);
        for set in self.layout.sets() {
            self.groups(set, |group| {
                if self.rule.bounds(&group.counts).best != verdict {
                    return;
                }
                series += u64::from(group.len.unwrap_or(0));
                and_uncounted |= group.len.is_none();
                let first = group.place.map(|place| self.layout.client_index(set, place));
                let earlier = match (&cause, first) {
                    (None, _) => true,
                    (Some(known), Some(first)) => known.first.is_none_or(|known| first < known),
                    (Some(_), None) => false,
                };
                if earlier && let Some(found) = self.culprit(set, group.place, verdict) {
                    cause = Some(Cause { first, ..found });
                }
            });
        }
        cause.map(|cause| Cause { series, and_uncounted, ..cause })
    }

    /// The first replica of a set that gives the group at `place` an outcome like `verdict`, or else the first
    /// that did not store it.
    fn culprit(&self, set: &Set, place: Option<u32>, verdict: Outcome) -> Option<Cause<'_>> {
        let said = set.members.iter().filter_map(|member| {
            let answer = self.answers.get(usize::from(member.part))?.as_ref()?;
            let refused = place.and_then(|place| {
                let (at, refused) = (member.first + place, &answer.refused);
                let found = refused.binary_search_by_key(&at, |series| series.index).ok()?;
                refused.get(found).copied()
            });
            let outcome = refused.map_or(answer.rest, |refused| refused.outcome);
            let (part, message) = (Some(member.part), answer.message.as_str());
            Some(Cause { outcome, series: 0, and_uncounted: false, first: None, part, message, refused })
        });
        let mut refusals: Vec<_> = said.filter(|cause| cause.outcome != Outcome::Stored).collect();
        refusals.sort_by_key(|cause| {
            (cause.outcome != verdict, cause.outcome.is_retryable() != verdict.is_retryable())
        });
        let first = refusals.into_iter().next()?;
        Some(Cause { outcome: verdict, ..first })
    }

    /// Visits the groups of a set: each series that an answer names, and then all others together.
    fn groups(&self, set: &Set, mut visit: impl FnMut(Group)) {
        let mut rest = Counts::default();
        let mut named: Vec<Named<'_>> = Vec::new();
        for member in &set.members {
            let answer = self.answers.get(usize::from(member.part)).and_then(Option::as_ref);
            rest.add(answer.map(|answer| answer.rest));
            if let Some(answer) = answer {
                let series = within(&answer.refused, *member, set.len);
                if !series.is_empty() {
                    named.push(Named { series, first: member.first, rest: answer.rest });
                }
            }
        }
        let mut distinct = 0;
        while let Some(place) = named.iter().filter_map(Named::place).min() {
            let mut counts = rest;
            for answer in &mut named {
                if let Some(refused) = answer.take(place) {
                    counts.change(answer.rest, refused.outcome);
                }
            }
            distinct += 1;
            visit(Group { place: Some(place), len: Some(1), counts });
        }
        let len = set.len.map(|len| len.saturating_sub(distinct));
        if len != Some(0) {
            // Where nobody is named, the first of all is a fair example, if it is known to exist.
            let place = (distinct == 0 && len.is_some()).then_some(0);
            visit(Group { place, len, counts: rest });
        }
    }
}

impl RefusedHere {
    fn cause(&self) -> Cause<'_> {
        let (outcome, series, message) = (Outcome::Invalid, self.series, self.message.as_str());
        let first = Some(self.first);
        Cause { outcome, series, and_uncounted: false, first, part: None, message, refused: None }
    }
}

/// What one answer names of one set, from the series that is next to be visited.
struct Named<'a> {
    series: &'a [Refused],
    first: u32,
    rest: Outcome,
}

impl Named<'_> {
    fn place(&self) -> Option<u32> {
        self.series.first().map(|series| series.index - self.first)
    }

    fn take(&mut self, place: u32) -> Option<Refused> {
        let (first, others) = self.series.split_first()?;
        if first.index - self.first != place {
            return None;
        }
        self.series = others;
        Some(*first)
    }
}

/// The refused series of a part that belong to one set of it.
fn within(refused: &[Refused], member: Member, len: Option<u32>) -> &[Refused] {
    let begin = refused.partition_point(|series| series.index < member.first);
    let end = match len {
        Some(len) => refused.partition_point(|series| series.index < member.first.saturating_add(len)),
        None => refused.len(),
    };
    refused.get(begin..end).unwrap_or(&[])
}

#[cfg(test)]
mod tests;
