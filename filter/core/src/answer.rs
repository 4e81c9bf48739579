//! A sidecar's answer, read as outcomes of the series in its part.
//!
//! Owns the meaning of a sidecar's status and of its refusal list, also for receivers that send no list (stock
//! Thanos Receive ingestors among them). It does not know what the other replicas said.
//!
//! Invariant: what cannot be understood counts as unavailable for every series, never as stored. Nor does a success
//! that does not say what was written of a part of remote write 2.0: a receiver of 1.0 finds no series in it, and is
//! content.

use prost::Message as _;
use ringside_proto::remote_write_v2::Contents;
use ringside_proto::ringside::{Reason, RefusedSeries, WriteRefused};
use ringside_proto::{CONTENT_TYPE_REFUSED, Protocol, REFUSED_LISTED_MAX, protocol};

use crate::quorum::Outcome;

/// The longest refusal list that is read, in bytes. A host need not hand over more than one byte beyond it.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;
/// What a Go server with TLS answers, with status 400, to whoever speaks plain HTTP.
const WANTS_TLS: &[u8] = b"Client sent an HTTP request to an HTTPS server.";
/// The status by which a host says that it waited in vain.
const TIMED_OUT: u16 = 504;
/// How much of a sidecar's message is kept, in bytes.
const MESSAGE_BYTES_MAX: usize = 512;

/// An answer as it came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reply<'a> {
    /// `None` for a stream that was reset.
    pub status: Option<u16>,
    pub content_type: Option<&'a [u8]>,
    /// The values of [`protocol::HEADERS_WRITTEN`], where the part's dispatch asks for them.
    pub written: [Option<&'a [u8]>; 3],
    /// The value of [`HEADER_SERIES`](ringside_proto::HEADER_SERIES), where the part's dispatch asks for it.
    pub series: Option<&'a [u8]>,
    pub body: &'a [u8],
}

/// What one sidecar said of its part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The outcome of every series that is not in `refused`.
    pub rest: Outcome,
    /// The refused series in ascending order of index, each once.
    pub refused: Vec<Refused>,
    /// What its part holds, stored or not, where the sidecar lets it be known. Of a refusal without a list it is what is
    /// stored all the same, and at least that.
    pub contents: Option<Contents>,
    /// The sidecar's own words, empty if it had none.
    pub message: String,
}

/// One series that a sidecar refused, by its index in the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub index: u32,
    pub outcome: Outcome,
    pub reason: Reason,
    pub missing: Missing,
}

/// How much of a series a sidecar did not store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    pub samples: u32,
    pub histograms: u32,
    pub exemplars: u32,
}

impl From<Missing> for Contents {
    fn from(missing: Missing) -> Self {
        Self {
            samples: missing.samples.into(),
            histograms: missing.histograms.into(),
            exemplars: missing.exemplars.into(),
        }
    }
}

impl Answer {
    /// The same outcome for every series of the part.
    pub fn whole(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { rest: outcome, refused: Vec::new(), contents: None, message: message.into() }
    }

    /// No answer, for this reason.
    pub fn none(message: impl Into<String>) -> Self {
        Self::whole(Outcome::Unavailable, message)
    }

    /// Reads an answer to a part of this version; `holds` says whether the part has a series of that index.
    pub fn read(protocol: Protocol, reply: &Reply<'_>, holds: impl Fn(u32) -> bool) -> Self {
        let Some(status) = reply.status else {
            return Self::none("the connection was reset");
        };
        if status == TIMED_OUT {
            return Self::none("it did not answer in time");
        }
        let body = reply.body;
        let outcome = match outcome_of(status) {
            // It speaks of the path, not of the data.
            Outcome::Invalid if body.starts_with(WANTS_TLS) => Outcome::Unavailable,
            outcome => outcome,
        };
        let written = protocol::written(reply.written);
        if protocol == Protocol::V2 && outcome == Outcome::Stored && written.is_none() {
            return Self::whole(Outcome::Unsupported, "the receiver knows remote write 1.0 only");
        }
        if !reply.content_type.is_some_and(is_refusal_list) {
            let contents =
                written.filter(|written| outcome == Outcome::Stored || *written != Contents::default());
            let message = words(status, &String::from_utf8_lossy(head(body)));
            return Self { contents, ..Self::whole(outcome, message) };
        }
        if body.len() > ANSWER_BYTES_MAX {
            return Self::whole(Outcome::Unavailable, "the list of refused series is too long");
        }
        let Ok(list) = WriteRefused::decode(body) else {
            return Self::whole(Outcome::Unavailable, "the list of refused series is unreadable");
        };
        if list.series.len() > REFUSED_LISTED_MAX {
            return Self::whole(Outcome::Unavailable, "the list of refused series has too many");
        }
        if !list.series.iter().all(|series| holds(series.index)) {
            return Self::whole(
                Outcome::Unavailable,
                "the list of refused series names one that was not sent",
            );
        }
        if list.series.is_empty() {
            let contents = written.filter(|_| outcome == Outcome::Stored);
            return Self { contents, ..Self::whole(outcome, words(status, &list.message)) };
        }
        let refused = in_order(list.series.iter().map(refused).collect());
        let contents = written.map(|mut contents| {
            refused.iter().for_each(|series| contents += series.missing.into());
            contents
        });
        Self { rest: Outcome::Stored, refused, contents, message: words(status, &list.message) }
    }
}

fn refused(series: &RefusedSeries) -> Refused {
    let reason = series.reason();
    let missing = Missing {
        samples: series.samples_missing,
        histograms: series.histograms_missing,
        exemplars: series.exemplars_missing,
    };
    Refused { index: series.index, outcome: outcome_of_reason(reason), reason, missing }
}

/// Sorts by index. Of several entries for one series the worst counts.
fn in_order(mut refused: Vec<Refused>) -> Vec<Refused> {
    refused.sort_unstable_by_key(|series| (series.index, std::cmp::Reverse(series.outcome)));
    refused.dedup_by_key(|series| series.index);
    refused.shrink_to_fit();
    refused
}

/// The outcome that a status states for a whole part.
///
/// Only what speaks of the data is final. Every other refusal, such as 404 or 431, is a fault of the path between filter
/// and sidecar, and counts as unavailable: a retry may find the path mended, and nothing is dropped meanwhile.
pub(crate) fn outcome_of(status: u16) -> Outcome {
    match status {
        200..=299 => Outcome::Stored,
        409 => Outcome::Conflict,
        413 => Outcome::TooLarge,
        415 => Outcome::Unsupported,
        429 => Outcome::Limited,
        400 | 422 => Outcome::Invalid,
        _ => Outcome::Unavailable,
    }
}

fn outcome_of_reason(reason: Reason) -> Outcome {
    match reason {
        Reason::Invalid => Outcome::Invalid,
        Reason::OutOfOrder | Reason::DuplicateTimestamp | Reason::OutOfBounds | Reason::TooOld => {
            Outcome::Conflict
        }
        Reason::Limit => Outcome::Limited,
        // A sidecar newer than this filter may have reasons unknown here: let the client retry.
        Reason::Unavailable | Reason::Unspecified => Outcome::Unavailable,
    }
}

/// A reason in words.
pub fn reason_words(reason: Reason) -> &'static str {
    match reason {
        Reason::Invalid => "invalid",
        Reason::OutOfOrder => "out of order",
        Reason::DuplicateTimestamp => "duplicate timestamp with another value",
        Reason::OutOfBounds => "out of bounds",
        Reason::TooOld => "too old",
        Reason::Limit => "over a limit",
        Reason::Unavailable => "unavailable",
        Reason::Unspecified => "refused without a reason",
    }
}

/// Media types are compared without regard to case or blanks, as parameters may be spaced.
fn is_refusal_list(content_type: &[u8]) -> bool {
    let meant = content_type.iter().filter(|byte| !byte.is_ascii_whitespace());
    meant.map(u8::to_ascii_lowercase).eq(CONTENT_TYPE_REFUSED.bytes().map(|byte| byte.to_ascii_lowercase()))
}

fn head(body: &[u8]) -> &[u8] {
    body.get(..MESSAGE_BYTES_MAX).unwrap_or(body)
}

/// One line of a sidecar's message; its status stands in where it said nothing.
fn words(status: u16, message: &str) -> String {
    let mut line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if let Some((end, _)) = line.char_indices().find(|(at, _)| *at >= MESSAGE_BYTES_MAX) {
        line.truncate(end);
    }
    let line = line.trim();
    if line.is_empty() && !(200..=299).contains(&status) {
        format!("status {status}")
    } else {
        line.to_owned()
    }
}

#[cfg(test)]
mod tests;
