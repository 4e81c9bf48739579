//! Statuses and refusal lists, well-formed and otherwise.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use prost::Message as _;
use ringside_proto::remote_write_v2::Contents;
use ringside_proto::ringside::{Reason, RefusedSeries, WriteRefused};
use ringside_proto::{CONTENT_TYPE_REFUSED, Protocol};

use super::{ANSWER_BYTES_MAX, Answer, Missing, REFUSED_LISTED_MAX, Refused, Reply};
use crate::quorum::Outcome;

fn list(message: &str, series: &[(u32, Reason)]) -> Vec<u8> {
    let series = series
        .iter()
        .map(|(index, reason)| RefusedSeries {
            index: *index,
            reason: (*reason).into(),
            ..Default::default()
        })
        .collect();
    WriteRefused { message: message.to_owned(), series }.encode_to_vec()
}

fn reply<'a>(status: u16, content_type: &'a str, body: &'a [u8]) -> Reply<'a> {
    Reply { status: Some(status), content_type: Some(content_type.as_bytes()), body, ..Reply::default() }
}

fn read(reply: Reply<'_>, holds: impl Fn(u32) -> bool) -> Answer {
    Answer::read(Protocol::V1, &reply, holds)
}

fn read_list(status: u16, body: &[u8]) -> Answer {
    read(reply(status, CONTENT_TYPE_REFUSED, body), |index| index < 10)
}

#[test]
fn a_status_alone_counts_for_every_series() {
    let said = |status| read(reply(status, "text/plain", b"why"), |_| true).rest;
    assert_eq!(said(200), Outcome::Stored);
    assert_eq!(said(204), Outcome::Stored);
    assert_eq!(said(400), Outcome::Invalid);
    assert_eq!(said(409), Outcome::Conflict);
    assert_eq!(said(413), Outcome::TooLarge);
    assert_eq!(said(415), Outcome::Unsupported);
    assert_eq!(said(422), Outcome::Invalid);
    assert_eq!(said(429), Outcome::Limited);
    for status in [
        100, 302, 401, 403, 404, 405, 408, 411, 414, 421, 426, 428, 431, 451, 500, 502, 503, 504, 599, 0, 700,
    ] {
        assert_eq!(said(status), Outcome::Unavailable, "{status}");
    }
}

#[test]
fn a_reset_is_unavailable() {
    assert_eq!(read(Reply::default(), |_| true).rest, Outcome::Unavailable);
}

#[test]
fn the_message_is_one_bounded_line() {
    let body = format!("line one\nline two {}", "é".repeat(1000));
    let answer = read(reply(400, "", body.as_bytes()), |_| true);
    assert!(answer.message.starts_with("line one line two é"));
    assert!(answer.message.len() <= 514, "{}", answer.message.len());
    assert_eq!(read(reply(404, "", b""), |_| true).message, "status 404");
    assert_eq!(read(reply(200, "", b""), |_| true).message, "");
}

#[test]
fn a_list_speaks_of_its_series_only() {
    let body = list("two refused", &[(7, Reason::OutOfOrder), (2, Reason::Limit), (7, Reason::Unavailable)]);
    let answer = read_list(503, &body);
    assert_eq!(answer.rest, Outcome::Stored);
    assert_eq!(answer.message, "two refused");
    let missing = Missing::default();
    let expected = [
        Refused { index: 2, outcome: Outcome::Limited, reason: Reason::Limit, missing },
        Refused { index: 7, outcome: Outcome::Unavailable, reason: Reason::Unavailable, missing },
    ];
    assert_eq!(answer.refused, expected, "in order, and the worse of two entries");
}

#[test]
fn the_type_of_a_list_may_be_spaced_and_in_any_case() {
    let body = list("", &[(1, Reason::Invalid)]);
    let spaced = "Application/x-protobuf; proto=ringside.v1.WriteRefused";
    let answer = read(reply(400, spaced, &body), |_| true);
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
    let many = vec![(1, Reason::Invalid); REFUSED_LISTED_MAX + 1];
    assert_eq!(read_list(400, &list("", &many)).rest, Outcome::Unavailable);
    let most = read_list(400, &list("", &many[1..]));
    assert_eq!((most.rest, most.refused.len()), (Outcome::Stored, 1));
    assert!(most.refused.capacity() < 10, "no memory is kept of what was said twice");
}

#[test]
fn a_server_that_wants_tls_says_nothing_of_the_data() {
    let said = b"Client sent an HTTP request to an HTTPS server.\n";
    assert_eq!(read(reply(400, "text/plain", said), |_| true).rest, Outcome::Unavailable);
    assert_eq!(read(reply(400, "text/plain", &said[1..]), |_| true).rest, Outcome::Invalid);
}

#[test]
fn an_unknown_reason_is_worth_a_retry() {
    let series = vec![RefusedSeries { index: 1, reason: 99, ..Default::default() }];
    let body = WriteRefused { message: String::new(), series }.encode_to_vec();
    assert_eq!(read_list(400, &body).refused[0].outcome, Outcome::Unavailable);
}

#[test]
fn a_success_of_2_0_says_what_is_written() {
    let read = |written| {
        let reply = Reply { written, ..reply(204, "", b"") };
        let answer = Answer::read(Protocol::V2, &reply, |_| true);
        (answer.rest, answer.contents)
    };
    let contents = Contents { samples: 5, histograms: 0, exemplars: 1 };
    assert_eq!(read([Some(b"5"), Some(b"0"), Some(b"1")]), (Outcome::Stored, Some(contents)));
    assert_eq!(read([None, None, None]), (Outcome::Unsupported, None), "a receiver of 1.0");
}

#[test]
fn written_and_missing_are_what_was_sent() {
    let one = |index, samples_missing, histograms_missing, exemplars_missing| RefusedSeries {
        index,
        reason: Reason::OutOfOrder.into(),
        samples_missing,
        histograms_missing,
        exemplars_missing,
    };
    let series = vec![one(4, 2, 0, 1), one(1, 0, 3, 0)];
    let body = WriteRefused { message: String::new(), series }.encode_to_vec();
    let written = [Some(&b"10"[..]), Some(b"20"), Some(b"30")];
    let list = Reply { written, ..reply(409, CONTENT_TYPE_REFUSED, &body) };
    let answer = Answer::read(Protocol::V2, &list, |_| true);
    assert_eq!(answer.contents, Some(Contents { samples: 12, histograms: 23, exemplars: 31 }));
    assert_eq!(answer.refused[1].missing, Missing { samples: 2, histograms: 0, exemplars: 1 });

    // Without a list no series is stored for certain, but something is.
    let plain = |written| {
        let answer =
            Answer::read(Protocol::V2, &Reply { written, ..reply(409, "text/plain", b"") }, |_| true);
        (answer.rest, answer.contents)
    };
    let contents = Contents { samples: 10, histograms: 20, exemplars: 30 };
    assert_eq!(plain(written), (Outcome::Conflict, Some(contents)));
    assert_eq!(plain([Some(b"0"); 3]), (Outcome::Conflict, None));
}
