//! Cases of the suite that are about a request as a whole: its type, its encoding, a body that is damaged, and senders
//! of remote write 1.0.

use super::case::{Asked, Case, Given, Version};
use super::series::float;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for content_type in ["application/json", "image/png"] {
        let subtest = content_type.replace('/', "_");
        cases.push(Case { content_type: Some(content_type), ..unsupported("TestBadContentTypes", subtest) });
    }
    for content_encoding in ["gzip", "deflate"] {
        let case = unsupported("TestBadContentEncodings", content_encoding.to_owned());
        let given = Given::Refusal { status: 415, is_counted: true };
        cases.push(Case { content_encoding, given, ..case });
    }
    cases.push(damaged("TestCorruptRequestBody", String::new()));
    cases.extend(version_1());
    cases
}

/// A body whose snappy block does not have the length that it says.
fn damaged(function: &'static str, subtest: String) -> Case {
    let case = Case::once(function, subtest, vec![float(&[("__name__", "up")], 1.0)]);
    Case {
        first_byte: Some(b'0'),
        asked: Asked { success: false, written: [0; 3], status: None },
        given: Given::Refusal { status: 400, is_counted: true },
        ..case
    }
}

/// The same, in a form that is refused before anybody looks into it. No version is known by a foreign type, and so
/// there are no counts.
fn unsupported(function: &'static str, subtest: String) -> Case {
    let case = damaged(function, subtest);
    let asked = Asked { status: Some(415), ..case.asked };
    Case { asked, given: Given::Refusal { status: 415, is_counted: false }, ..case }
}

/// A sender of 1.0 gets no counts, which the suite reads as counts of 0.
fn version_1() -> Vec<Case> {
    let up = [("__name__", "up"), ("job", "testjob"), ("instance", "localhost:9090")];
    let series = vec![float(&up, 1.0), float(&[("__name__", "http_requests_total")], 100.0)];
    let well_formed = Case::once("TestRW1BasicCompatibility", "", series);
    let damaged = damaged("TestRW1ErrorHandling", String::new());
    vec![
        Case { version: Version::V1, asked: Asked { written: [0; 3], ..well_formed.asked }, ..well_formed },
        Case {
            version: Version::V1,
            first_byte: Some(0xff),
            given: Given::Refusal { status: 400, is_counted: false },
            ..damaged
        },
    ]
}
