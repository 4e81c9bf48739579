//! Statuses and refusal lists, well-formed and otherwise.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use prost::Message as _;
use ringside_proto::CONTENT_TYPE_REFUSED;
use ringside_proto::ringside::{Reason, RefusedSeries, WriteRefused};

use super::{ANSWER_BYTES_MAX, Answer, Refused};
use crate::quorum::Outcome;

fn list(message: &str, series: &[(u32, Reason)]) -> Vec<u8> {
    let series = series
        .iter()
        .map(|(index, reason)| RefusedSeries { index: *index, reason: (*reason).into() })
        .collect();
    WriteRefused { message: message.to_owned(), series }.encode_to_vec()
}

fn read_list(status: u16, body: &[u8]) -> Answer {
    Answer::read(Some(status), Some(CONTENT_TYPE_REFUSED.as_bytes()), body, |index| index < 10)
}

#[test]
fn a_status_alone_counts_for_every_series() {
    let said = |status| Answer::read(Some(status), Some(b"text/plain"), b"why", |_| true).rest;
    assert_eq!(said(200), Outcome::Stored);
    assert_eq!(said(204), Outcome::Stored);
    assert_eq!(said(400), Outcome::Invalid);
    assert_eq!(said(409), Outcome::Conflict);
    assert_eq!(said(413), Outcome::TooLarge);
    assert_eq!(said(422), Outcome::Invalid);
    assert_eq!(said(429), Outcome::Limited);
    for status in [100, 302, 401, 403, 404, 408, 500, 502, 503, 504, 599, 0, 700] {
        assert_eq!(said(status), Outcome::Unavailable, "{status}");
    }
}

#[test]
fn a_reset_is_unavailable() {
    assert_eq!(Answer::read(None, None, b"", |_| true).rest, Outcome::Unavailable);
}

#[test]
fn the_message_is_one_bounded_line() {
    let body = format!("line one\nline two {}", "é".repeat(1000));
    let answer = Answer::read(Some(400), None, body.as_bytes(), |_| true);
    assert!(answer.message.starts_with("line one line two é"));
    assert!(answer.message.len() <= 514, "{}", answer.message.len());
    assert_eq!(Answer::read(Some(404), None, b"", |_| true).message, "status 404");
    assert_eq!(Answer::read(Some(200), None, b"", |_| true).message, "");
}

#[test]
fn a_list_speaks_of_its_series_only() {
    let body = list("two refused", &[(7, Reason::OutOfOrder), (2, Reason::Limit), (7, Reason::Unavailable)]);
    let answer = read_list(503, &body);
    assert_eq!(answer.rest, Outcome::Stored);
    assert_eq!(answer.message, "two refused");
    let expected = [
        Refused { index: 2, outcome: Outcome::Limited, reason: Reason::Limit },
        Refused { index: 7, outcome: Outcome::Unavailable, reason: Reason::Unavailable },
    ];
    assert_eq!(answer.refused, expected, "in order, and the worse of two entries");
}

#[test]
fn the_type_of_a_list_may_be_spaced_and_in_any_case() {
    let body = list("", &[(1, Reason::Invalid)]);
    let spaced = b"Application/x-protobuf; proto=ringside.v1.WriteRefused";
    let answer = Answer::read(Some(400), Some(spaced), &body, |_| true);
    assert_eq!(answer.refused.len(), 1);
    assert_eq!(answer.message, "status 400");
}

#[test]
fn an_empty_list_leaves_the_status_to_speak() {
    assert_eq!(read_list(409, &list("all of it", &[])), Answer::whole(Outcome::Conflict, "all of it"));
    assert_eq!(read_list(200, &list("", &[])), Answer::whole(Outcome::Stored, ""));
}

#[test]
fn what_cannot_be_understood_is_unavailable() {
    let truncated = &list("cut", &[(1, Reason::Invalid)])[..6];
    assert_eq!(read_list(400, truncated).rest, Outcome::Unavailable);
    assert_eq!(read_list(200, b"\xff\xff\xff").rest, Outcome::Unavailable);
    let beyond = list("", &[(10, Reason::Invalid)]);
    assert_eq!(read_list(400, &beyond).rest, Outcome::Unavailable, "a series that was not sent");
    let long = vec![0; ANSWER_BYTES_MAX + 1];
    assert_eq!(read_list(400, &long).rest, Outcome::Unavailable);
}

#[test]
fn an_unknown_reason_is_worth_a_retry() {
    let series = vec![RefusedSeries { index: 1, reason: 99 }];
    let body = WriteRefused { message: String::new(), series }.encode_to_vec();
    assert_eq!(read_list(400, &body).refused[0].outcome, Outcome::Unavailable);
}
