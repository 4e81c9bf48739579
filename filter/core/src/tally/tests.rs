//! Every combination and every order of three answers, for both forms, against a plain model that knows each
//! series by itself and tries every completion.
//!
//! The model's request has named series 0 and 1, and, where the number of series is unknown, a series that no answer
//! can name. What an answer may say: one status for all, or a list that refuses series 0, 1 or both.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use ringside_proto::remote_write_v2::Contents;
use ringside_proto::ringside::Reason;

#[cfg(not(target_arch = "wasm32"))]
use {crate::split::Incoming, ringside_proto::Protocol, ringside_proto::limits::ContentLimits};

use super::{RefusedHere, Tally};
use crate::answer::{Answer, Missing, Refused};
use crate::layout::Layout;
use crate::quorum::{Outcome, Rule};

#[cfg(not(target_arch = "wasm32"))]
mod properties;
#[cfg(not(target_arch = "wasm32"))]
mod written;

#[cfg(not(target_arch = "wasm32"))]
fn incoming(protocol: Protocol) -> Incoming<'static> {
    let limits = ContentLimits::default();
    Incoming {
        tenant: "t",
        protocol,
        limits,
        counts_samples: false,
        looks_inside: false,
        decoded_bytes_max: 1 << 20,
    }
}

/// What one replica makes of each series of the model.
type Said = Vec<Outcome>;

const PERMANENT: [Outcome; 4] =
    [Outcome::Unsupported, Outcome::Invalid, Outcome::TooLarge, Outcome::Conflict];

/// The definition, for one series whose three replicas have answered.
fn series_outcome(said: [Outcome; 3]) -> Outcome {
    let count = |wanted: &[Outcome]| said.iter().filter(|outcome| wanted.contains(outcome)).count();
    if count(&[Outcome::Stored]) >= 2 {
        Outcome::Stored
    } else if count(&[Outcome::Unsupported]) >= 2 {
        Outcome::Unsupported
    } else if count(&[Outcome::Invalid]) >= 2 {
        Outcome::Invalid
    } else if count(&[Outcome::TooLarge]) >= 2 {
        Outcome::TooLarge
    } else if count(&PERMANENT) >= 2 {
        Outcome::Conflict
    } else if count(&[Outcome::Limited]) >= 2 {
        Outcome::Limited
    } else {
        Outcome::Unavailable
    }
}

/// The request's answer: 503 if any series could be saved by a retry, else 429, else the worst refusal, else 200.
fn request_outcome(said: [&Said; 3]) -> Outcome {
    let series = (0..said[0].len()).map(|series| series_outcome(said.map(|said| said[series])));
    let all: Vec<_> = series.collect();
    [Outcome::Unavailable, Outcome::Limited]
        .into_iter()
        .chain(PERMANENT)
        .find(|outcome| all.contains(outcome))
        .unwrap_or(Outcome::Stored)
}

/// Everything that a replica may make of `series` series.
fn all_said(series: usize) -> Vec<Said> {
    let mut all = vec![Vec::new()];
    for _ in 0..series {
        all = all
            .into_iter()
            .flat_map(|said: Said| {
                Outcome::ALL.map(|outcome| said.iter().copied().chain([outcome]).collect())
            })
            .collect();
    }
    all
}

/// What a list can make of a series.
const LISTED: [Outcome; 5] =
    [Outcome::Stored, Outcome::Conflict, Outcome::Invalid, Outcome::Limited, Outcome::Unavailable];

/// One answer, and what it says of each series of the model.
#[derive(Clone, Debug)]
struct Case {
    answer: Answer,
    said: Said,
}

/// Every answer of the model's language. `series` counts the one that cannot be named, if there is one.
fn cases(series: usize) -> Vec<Case> {
    let whole = |outcome| Case { answer: Answer::whole(outcome, ""), said: vec![outcome; series] };
    let mut cases: Vec<_> = Outcome::ALL.map(whole).into();
    for first in LISTED {
        for second in LISTED {
            let named = [(0, first), (1, second)];
            let refused: Vec<_> = named
                .into_iter()
                .filter(|(_, outcome)| *outcome != Outcome::Stored)
                .map(|(index, outcome)| Refused {
                    index,
                    outcome,
                    reason: Reason::Unspecified,
                    missing: Missing::default(),
                })
                .collect();
            if !refused.is_empty() {
                let mut said = vec![Outcome::Stored; series];
                (said[0], said[1]) = (first, second);
                let answer =
                    Answer { rest: Outcome::Stored, refused, contents: None, message: String::new() };
                cases.push(Case { answer, said });
            }
        }
    }
    cases
}

/// The one outcome of every completion of these answers, if there is just one.
fn fixed(known: &[&Case], completions: &[Said]) -> Option<Outcome> {
    let mut outcomes: Vec<Outcome> = match known {
        [a, b, c] => vec![request_outcome([&a.said, &b.said, &c.said])],
        [a, b] => completions.iter().map(|c| request_outcome([&a.said, &b.said, c])).collect(),
        [a] => {
            let pairs = completions.iter().flat_map(|b| completions.iter().map(move |c| (b, c)));
            pairs.map(|(b, c)| request_outcome([&a.said, b, c])).collect()
        }
        _ => return None,
    };
    outcomes.dedup();
    (outcomes.iter().all(|outcome| *outcome == outcomes[0])).then(|| outcomes[0])
}

fn check(layout: impl Fn() -> Layout, series: usize) {
    let cases = cases(series);
    let completions = all_said(series);
    let rule = Rule::new(3);
    let count = |known: &[(u16, &Case)]| {
        let mut tally = Tally::new(rule, layout(), None);
        for (part, case) in known {
            tally.count(*part, case.answer.clone());
        }
        tally.verdict()
    };
    for a in &cases {
        let expected = fixed(&[a], &completions);
        for part in 0..3 {
            assert_eq!(count(&[(part, a)]), expected, "{a:?}");
        }
        for b in &cases {
            let expected = fixed(&[a, b], &completions);
            for (first, second) in [(0, 1), (0, 2), (1, 2), (1, 0), (2, 0), (2, 1)] {
                assert_eq!(count(&[(first, a), (second, b)]), expected, "{a:?}\n{b:?}");
            }
            for c in &cases {
                let verdict = request_outcome([&a.said, &b.said, &c.said]);
                // All orders of (a, b, c) come by as the loops run over all cases; the parts may differ too.
                assert_eq!(count(&[(0, a), (1, b), (2, c)]), Some(verdict), "{a:?}\n{b:?}\n{c:?}");
                assert_eq!(count(&[(2, a), (0, b), (1, c)]), Some(verdict), "{a:?}\n{b:?}\n{c:?}");
                if let Some(early) = expected {
                    assert_eq!(early, verdict, "an early verdict holds");
                }
            }
        }
    }
}

#[test]
fn unchanged_bodies_with_an_unknown_number_of_series() {
    check(|| Layout::unchanged(3), 3);
}

#[test]
fn split_bodies_of_one_replica_set() {
    let layout = || {
        let mut layout = Layout::split(3, vec![0, 1]);
        layout.push_set([0, 1, 2].into_iter(), 2, Contents::default());
        layout
    };
    check(layout, 2);
}

fn refuse(index: u32, outcome: Outcome, reason: Reason) -> Answer {
    let refused = vec![Refused { index, outcome, reason, missing: Missing::default() }];
    Answer { rest: Outcome::Stored, refused, contents: None, message: "its words".to_owned() }
}

/// Two sets over four sidecars: the client's series 0 and 2 on parts 0, 1, 2 and its series 1 on parts 1, 2, 3.
fn two_sets() -> Tally {
    let mut layout = Layout::split(4, vec![0, 2, 1]);
    layout.push_set([0, 1, 2].into_iter(), 2, Contents::default());
    layout.push_set([1, 2, 3].into_iter(), 1, Contents::default());
    Tally::new(Rule::new(3), layout, None)
}

#[test]
fn each_set_needs_its_own_quorum() {
    let stored = || Answer::whole(Outcome::Stored, "");
    let mut tally = two_sets();
    tally.count(0, stored());
    tally.count(3, stored());
    assert_eq!(tally.verdict(), None);
    tally.count(1, stored());
    assert_eq!(tally.verdict(), Some(Outcome::Stored));
    assert_eq!(tally.cause(Outcome::Stored), None);
}

#[test]
fn a_refusal_counts_in_its_set_only() {
    let mut tally = two_sets();
    // Index 2 of parts 1 and 2 is the only series of the second set; index 0 of part 3 is the same one.
    tally.count(1, refuse(2, Outcome::Conflict, Reason::OutOfOrder));
    tally.count(2, Answer::whole(Outcome::Stored, ""));
    assert_eq!(tally.verdict(), None, "part 3 may store or refuse it");
    tally.count(3, refuse(0, Outcome::Conflict, Reason::TooOld));
    assert_eq!(tally.verdict(), Some(Outcome::Conflict));
    let cause = tally.cause(Outcome::Conflict).unwrap();
    assert_eq!((cause.series, cause.first, cause.part), (1, Some(1), Some(1)));
    assert_eq!(cause.refused.map(|refused| refused.reason), Some(Reason::OutOfOrder));
    assert_eq!(cause.message, "its words");
}

#[test]
fn unavailable_is_certain_as_soon_as_one_set_has_lost_its_quorum() {
    let mut tally = two_sets();
    tally.count(0, Answer::whole(Outcome::Unavailable, "gone"));
    tally.count(1, Answer::whole(Outcome::Unavailable, "gone"));
    assert_eq!(tally.verdict(), Some(Outcome::Unavailable));
    let cause = tally.cause(Outcome::Unavailable).unwrap();
    assert_eq!((cause.series, cause.and_uncounted, cause.first), (2, false, Some(0)));
    assert_eq!((cause.part, cause.message), (Some(0), "gone"));
}

#[test]
fn the_first_answer_of_a_part_counts() {
    let mut tally = two_sets();
    for _ in 0..3 {
        tally.count(0, Answer::whole(Outcome::Unavailable, ""));
    }
    assert_eq!(tally.verdict(), None);
}

#[test]
fn the_cause_names_a_series_by_its_index_in_the_unchanged_body() {
    let mut tally = Tally::new(Rule::new(3), Layout::unchanged(3), None);
    tally.count(2, refuse(17, Outcome::Invalid, Reason::Invalid));
    tally.count(0, refuse(17, Outcome::Invalid, Reason::Invalid));
    assert_eq!(tally.verdict(), Some(Outcome::Invalid), "the two stored all others");
    let cause = tally.cause(Outcome::Invalid).unwrap();
    assert_eq!((cause.series, cause.and_uncounted, cause.first, cause.part), (1, false, Some(17), Some(0)));
}

#[test]
fn series_that_the_filter_refused_are_invalid_and_the_others_go_on() {
    let refused = RefusedHere { series: 2, first: 3, message: "series 3: too long".to_owned() };
    let tally = |first, second| {
        let mut layout = Layout::split(3, vec![0]);
        layout.push_set([0, 1, 2].into_iter(), 1, Contents::default());
        let mut tally = Tally::new(Rule::new(3), layout, Some(refused.clone()));
        assert_eq!(tally.verdict(), None, "the others may be worth a retry");
        tally.count(0, Answer::whole(first, ""));
        tally.count(1, Answer::whole(second, ""));
        tally
    };
    let stored = tally(Outcome::Stored, Outcome::Stored);
    assert_eq!(stored.verdict(), Some(Outcome::Invalid));
    let cause = stored.cause(Outcome::Invalid).unwrap();
    assert_eq!((cause.series, cause.first, cause.part), (2, Some(3), None));
    assert_eq!(cause.message, "series 3: too long");
    let lost = tally(Outcome::Unavailable, Outcome::Unavailable);
    assert_eq!(lost.verdict(), Some(Outcome::Unavailable), "a retry may save the other");
    assert_eq!(tally(Outcome::Conflict, Outcome::Conflict).verdict(), Some(Outcome::Invalid));
    let both = tally(Outcome::Invalid, Outcome::Invalid);
    let cause = both.cause(Outcome::Invalid).unwrap();
    assert_eq!((cause.series, cause.first, cause.part), (3, Some(0), Some(0)));
}
