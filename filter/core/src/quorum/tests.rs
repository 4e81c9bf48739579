//! The rule against its definition: the outcome of complete counts as the words state it, and the bounds
//! of incomplete ones by trying every completion.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{Bounds, Counts, Outcome, Rule};

fn counts(outcomes: &[Option<Outcome>]) -> Counts {
    let mut counts = Counts::default();
    for outcome in outcomes {
        counts.add(*outcome);
    }
    counts
}

/// The words of the rule, for a series whose replicas have all answered.
fn by_definition(outcomes: &[Outcome]) -> Outcome {
    let replicas = outcomes.len();
    let quorum = if replicas == 2 { 1 } else { replicas / 2 + 1 };
    let blocking = replicas - quorum + 1;
    let said = |what: Outcome| outcomes.iter().filter(|outcome| **outcome == what).count();
    if said(Outcome::Stored) >= quorum {
        Outcome::Stored
    } else if said(Outcome::Unsupported)
        + said(Outcome::Invalid)
        + said(Outcome::TooLarge)
        + said(Outcome::Conflict)
        >= blocking
    {
        if said(Outcome::Unsupported) >= blocking {
            Outcome::Unsupported
        } else if said(Outcome::Invalid) >= blocking {
            Outcome::Invalid
        } else if said(Outcome::TooLarge) >= blocking {
            Outcome::TooLarge
        } else {
            Outcome::Conflict
        }
    } else if said(Outcome::Limited) >= blocking {
        Outcome::Limited
    } else {
        Outcome::Unavailable
    }
}

/// Best and worst over every completion of `known` to `replicas` outcomes.
fn by_enumeration(known: &mut Vec<Outcome>, replicas: usize, found: &mut Vec<Outcome>) {
    if known.len() == replicas {
        found.push(by_definition(known));
        return;
    }
    for outcome in Outcome::ALL {
        known.push(outcome);
        by_enumeration(known, replicas, found);
        known.pop();
    }
}

fn check_every_prefix(known: &mut Vec<Outcome>, replicas: usize) {
    let mut found = Vec::new();
    by_enumeration(known, replicas, &mut found);
    let pending = std::iter::repeat_n(None, replicas - known.len());
    let all: Vec<_> = known.iter().copied().map(Some).chain(pending).collect();
    let bounds = Rule::new(replicas).bounds(&counts(&all));
    let expected = Bounds { best: *found.iter().min().unwrap(), worst: *found.iter().max().unwrap() };
    assert_eq!(bounds, expected, "{known:?} of {replicas}");
    if known.len() < replicas {
        for outcome in Outcome::ALL {
            known.push(outcome);
            check_every_prefix(known, replicas);
            known.pop();
        }
    }
}

#[test]
fn bounds_are_those_of_every_completion() {
    for replicas in 1..=5 {
        check_every_prefix(&mut Vec::new(), replicas);
    }
}

#[test]
fn three_replicas_by_example() {
    use Outcome::{Conflict, Invalid, Limited, Stored, Unavailable};
    let rule = Rule::new(3);
    let fixed = |outcomes: &[Option<Outcome>]| rule.bounds(&counts(outcomes)).fixed();
    assert_eq!(fixed(&[Some(Stored), Some(Stored), None]), Some(Stored));
    assert_eq!(fixed(&[Some(Conflict), Some(Conflict), Some(Unavailable)]), Some(Conflict));
    assert_eq!(fixed(&[Some(Conflict), Some(Unavailable), Some(Unavailable)]), Some(Unavailable));
    assert_eq!(fixed(&[Some(Unavailable), Some(Unavailable), None]), Some(Unavailable));
    assert_eq!(fixed(&[Some(Limited), Some(Limited), None]), Some(Limited));
    assert_eq!(fixed(&[Some(Invalid), Some(Conflict), None]), None, "the third may make it 400 or 409");
    assert_eq!(fixed(&[Some(Stored), Some(Unavailable), None]), None);
}

#[test]
fn two_replicas_need_one() {
    let rule = Rule::new(2);
    assert_eq!(rule.quorum(), 1);
    assert_eq!(rule.bounds(&counts(&[Some(Outcome::Stored), None])).fixed(), Some(Outcome::Stored));
    assert_eq!(rule.bounds(&counts(&[Some(Outcome::Conflict), None])).fixed(), None);
}

#[test]
fn a_changed_replica_counts_once() {
    let mut counts = counts(&[Some(Outcome::Stored), Some(Outcome::Stored), None]);
    counts.change(Outcome::Stored, Outcome::Conflict);
    assert_eq!(counts, Counts { stored: 1, conflict: 1, pending: 1, ..Counts::default() });
}
