//! What clients read.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use ringside_proto::Protocol;
use ringside_proto::remote_write_v2::Contents;
use ringside_proto::ringside::Reason;

use super::Response;
use crate::answer::{Answer, Missing, Refused};
use crate::layout::Layout;
use crate::quorum::{Outcome, Rule};
use crate::tally::Tally;

fn answered(answers: [Answer; 3]) -> Response {
    let mut tally = Tally::new(Rule::new(3), Layout::unchanged(3), None);
    for (part, answer) in (0..).zip(answers) {
        tally.count(part, answer);
    }
    let addresses = ["a:19291", "b:19291", "c:19291"];
    let address = |part| addresses.get(usize::from(part)).copied();
    Response::verdict(Protocol::V1, tally.verdict().unwrap(), &tally, address)
}

fn list(message: &str, refused: &[(u32, Outcome, Reason)]) -> Answer {
    let refused = refused
        .iter()
        .map(|&(index, outcome, reason)| Refused { index, outcome, reason, missing: Missing::default() })
        .collect();
    Answer { rest: Outcome::Stored, refused, contents: None, message: message.to_owned() }
}

#[test]
fn success_says_nothing() {
    let stored = || Answer::whole(Outcome::Stored, "");
    let response = answered([stored(), stored(), Answer::whole(Outcome::Unavailable, "gone")]);
    assert_eq!(response, Response::stored(Protocol::V1));
    assert_eq!((response.status, response.body.as_str()), (200, ""));
}

#[test]
fn a_refusal_names_the_first_series_its_reason_and_the_sidecar() {
    let refused = || {
        let series = [(3, Outcome::Conflict, Reason::OutOfOrder), (9, Outcome::Conflict, Reason::TooOld)];
        list("up{job=\"a\"}: 5 is before 7", &series)
    };
    let response = answered([Answer::whole(Outcome::Stored, ""), refused(), refused()]);
    assert_eq!(response.status, 409);
    assert_eq!(
        response.body,
        "refused: 2 series, the first of them at index 3 (out of order), by b:19291: up{job=\"a\"}: 5 is before 7\n"
    );
    assert_eq!(response.headers, [("content-type", "text/plain; charset=utf-8".into())]);
}

#[test]
fn a_lost_quorum_says_what_is_needed_and_when_to_retry() {
    let gone = || Answer::whole(Outcome::Unavailable, "connection refused");
    let response = answered([Answer::whole(Outcome::Stored, ""), gone(), gone()]);
    assert_eq!(response.status, 503);
    assert_eq!(
        response.body,
        "write quorum not reached (2 of 3 replicas needed): the series of this request, by b:19291: \
         connection refused\n"
    );
    assert!(response.headers.contains(&("retry-after", "1".into())));
}

#[test]
fn counted_and_uncounted_series() {
    let one = || list("", &[(0, Outcome::Limited, Reason::Limit)]);
    let response = answered([one(), one(), Answer::whole(Outcome::Stored, "")]);
    assert_eq!(response.status, 429);
    assert!(response.headers.contains(&("retry-after", "1".into())));
    assert!(response.body.starts_with("over a limit of the tenant: 1 series, the first of them at index 0"));
    let all = || Answer::whole(Outcome::Unavailable, "");
    let response = answered([list("", &[(4, Outcome::Invalid, Reason::Invalid)]), all(), all()]);
    assert!(response.body.contains("1 series and others"), "{}", response.body);
}

#[test]
fn a_refused_method_names_the_allowed_one() {
    let response = Response::method_not_allowed("POST");
    assert_eq!(response.status, 405);
    assert!(response.headers.contains(&("allow", "POST".into())));
}

#[test]
fn only_an_answer_to_a_request_of_2_0_says_what_is_written() {
    let written = Contents { samples: 7, histograms: 0, exemplars: 2 };
    let response = Response::stored(Protocol::V2).with_written(Protocol::V2, written);
    assert_eq!(response.status, 204);
    let expected = [
        ("x-prometheus-remote-write-samples-written", "7".into()),
        ("x-prometheus-remote-write-histograms-written", "0".into()),
        ("x-prometheus-remote-write-exemplars-written", "2".into()),
    ];
    assert_eq!(response.headers, expected);
    let v1 = Response::stored(Protocol::V1).with_written(Protocol::V1, written);
    assert_eq!(v1, Response::stored(Protocol::V1));
}
