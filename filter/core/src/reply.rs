//! What the client is told: the status, headers and words of every answer that the filter gives itself.
//!
//! Owns the wording and `Retry-After`. Which outcome a request has is decided elsewhere (`quorum`, `tally`).

use std::borrow::Cow;
use std::fmt::Write as _;

use ringside_proto::Protocol;
use ringside_proto::protocol::HEADERS_WRITTEN;
use ringside_proto::remote_write_v2::{Contents, RequestError};
use ringside_proto::snappy::SnappyError;

use crate::answer::{outcome_of, reason_words};
use crate::limits::Limit;
use crate::quorum::Outcome;
use crate::rate::Rate;
use crate::split::BodyError;
use crate::tally::{Cause, Tally};

/// Seconds that a client is asked to wait before it sends a retryable request again.
const RETRY_AFTER_SECONDS: &str = "1";

/// An answer to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// Plain text, empty on success.
    pub body: String,
    /// The limit that it is about, where the filter found it hit.
    pub limit: Option<Limit>,
    /// What it tells of the request.
    pub outcome: Outcome,
}

impl Response {
    /// Everything is stored.
    pub fn stored(protocol: Protocol) -> Self {
        Self {
            status: protocol.success(),
            headers: Vec::new(),
            body: String::new(),
            limit: None,
            outcome: Outcome::Stored,
        }
    }

    /// A refusal of the whole request, with a message of one line.
    pub fn refusal(status: u16, message: impl Into<String>) -> Self {
        let mut headers = vec![("content-type", Cow::Borrowed("text/plain; charset=utf-8"))];
        if matches!(status, 429 | 503) {
            headers.push(("retry-after", RETRY_AFTER_SECONDS.into()));
        }
        let mut body = message.into();
        body.push('\n');
        let outcome = if status == 405 { Outcome::Invalid } else { outcome_of(status) };
        Self { status, headers, body, limit: None, outcome }
    }

    /// A refusal of what is beyond a limit.
    pub fn over_limit(status: u16, limit: Limit, message: impl Into<String>) -> Self {
        Self { limit: Some(limit), ..Self::refusal(status, message) }
    }

    /// A refusal of a tenant that has sent too much, with the seconds after which it may send again.
    pub fn over_rate(rate: Rate, retry_after_seconds: u64) -> Self {
        let message = format!("over the tenant's rate of {} samples per second", rate.samples_per_second);
        let mut response = Self::over_limit(429, Limit::Rate, message);
        for (name, value) in &mut response.headers {
            if *name == "retry-after" {
                *value = retry_after_seconds.to_string().into();
            }
        }
        response
    }

    /// A refusal of the method, which names the one that is allowed.
    pub fn method_not_allowed(allowed: &'static str) -> Self {
        let mut response = Self::refusal(405, format!("the method is not allowed here: use {allowed}"));
        response.headers.push(("allow", allowed.into()));
        response
    }

    /// The answer to a body that cannot be split.
    pub fn unusable_body(error: &BodyError) -> Self {
        let message = error.to_string();
        match error {
            BodyError::Snappy(SnappyError::TooLarge { .. })
            | BodyError::PartsTooLarge { .. }
            | BodyError::Malformed(RequestError::Expanded) => {
                Self::over_limit(413, Limit::BodyBytes, message)
            }
            BodyError::TooManySeries { .. } => Self::over_limit(413, Limit::Series, message),
            BodyError::Snappy(_) | BodyError::Malformed(_) => Self::refusal(400, message),
        }
    }

    /// The answer to a request whose verdict is fixed. `address` names the sidecar of a part.
    pub fn verdict<'a>(
        protocol: Protocol,
        verdict: Outcome,
        tally: &Tally,
        address: impl Fn(u16) -> Option<&'a str>,
    ) -> Self {
        let status = verdict.status(protocol);
        let refusal = |message| Self { outcome: verdict, ..Self::refusal(status, message) };
        match tally.cause(verdict) {
            Some(cause) => refusal(words(&cause, tally, cause.part.and_then(address))),
            None if verdict == Outcome::Stored => Self::stored(protocol),
            None => refusal(headline(verdict, tally)),
        }
    }

    /// What became of the request, in one word for an access log.
    pub fn verdict_name(&self) -> &'static str {
        self.outcome.name()
    }

    /// Says what is written, as every answer to a request of remote write 2.0 does, and none to one of 1.0.
    #[must_use]
    pub fn with_written(mut self, protocol: Protocol, written: Contents) -> Self {
        if protocol == Protocol::V2 {
            let values = [written.samples, written.histograms, written.exemplars];
            let headers = HEADERS_WRITTEN.into_iter().zip(values.map(|value| Cow::Owned(value.to_string())));
            self.headers.extend(headers);
        }
        self
    }
}

fn headline(verdict: Outcome, tally: &Tally) -> String {
    let (quorum, replicas) = (tally.rule().quorum(), tally.rule().replicas());
    match verdict {
        Outcome::Unavailable => format!("write quorum not reached ({quorum} of {replicas} replicas needed)"),
        Outcome::Limited => "over a limit of the tenant".to_owned(),
        Outcome::TooLarge => "refused as too large".to_owned(),
        Outcome::Unsupported => "this version of remote write is not supported".to_owned(),
        Outcome::Stored | Outcome::Conflict | Outcome::Invalid => "refused".to_owned(),
    }
}

/// One line: what happened to how many series, the first of them, and what the sidecar said of it.
fn words(cause: &Cause<'_>, tally: &Tally, address: Option<&str>) -> String {
    let mut line = headline(cause.outcome, tally);
    let _ = match (cause.series, cause.and_uncounted) {
        (0, _) => write!(line, ": the series of this request"),
        (counted, false) => write!(line, ": {counted} series"),
        (counted, true) => write!(line, ": {counted} series and others"),
    };
    if let Some(first) = cause.first {
        let _ = write!(line, ", the first of them at index {first}");
    }
    if let Some(refused) = cause.refused {
        let _ = write!(line, " ({})", reason_words(refused.reason));
    }
    if let Some(address) = address {
        let _ = write!(line, ", by {address}");
    }
    if !cause.message.is_empty() {
        let _ = write!(line, ": {}", cause.message);
    }
    line
}

#[cfg(test)]
mod tests;
