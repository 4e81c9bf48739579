//! The two versions of remote write: how a request says which it is, and what its answer owes the sender.
//!
//! It owns names and the choice of the version. What a body of either version holds is read by `remote_write` and
//! `remote_write_v2`.

use crate::remote_write_v2::Contents;

/// A version of remote write. The content type chooses it; the version header decides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Remote write 1.0, whose message is `prometheus.WriteRequest`.
    V1,
    /// Remote write 2.0, whose message is `io.prometheus.write.v2.Request`.
    V2,
}

/// Why a content type is refused, with 415.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentTypeError {
    /// No protobuf.
    #[error("content type {given:?} is not supported: use {MEDIA_TYPE}")]
    MediaType {
        /// The media type as sent, cut to a readable length.
        given: String,
    },
    /// A parameter that is no pair.
    #[error("content type parameter {given:?} has no value")]
    Parameter {
        /// The parameter as sent, cut to a readable length.
        given: String,
    },
    /// A message of neither version.
    #[error("message {given:?} is not supported: use {MESSAGE_V1} or {MESSAGE_V2}")]
    Message {
        /// The message as sent, cut to a readable length.
        given: String,
    },
}

const MEDIA_TYPE: &str = "application/x-protobuf";
const MESSAGE_V1: &str = "prometheus.WriteRequest";
const MESSAGE_V2: &str = "io.prometheus.write.v2.Request";
/// Longest piece of a refused content type that an answer repeats, in characters.
const ECHO_CHARS_MAX: usize = 100;

/// The headers of an answer that say how many samples, histograms and exemplars are written: on every answer to a
/// request of 2.0, whatever its status, and on none that a client of 1.0 gets.
pub const HEADERS_WRITTEN: [&str; 3] = [
    "x-prometheus-remote-write-samples-written",
    "x-prometheus-remote-write-histograms-written",
    "x-prometheus-remote-write-exemplars-written",
];

impl Protocol {
    /// The version that a content type means: 1.0 where there is none, or none that names a message. Parameters
    /// other than `proto` mean nothing here.
    ///
    /// # Errors
    /// What is not supported about it.
    pub fn of_content_type(content_type: &[u8]) -> Result<Self, ContentTypeError> {
        let text = String::from_utf8_lossy(content_type);
        if text.trim().is_empty() {
            return Ok(Self::V1);
        }
        let mut fields = text.split(';').map(str::trim);
        let media_type = fields.next().unwrap_or("");
        if !media_type.eq_ignore_ascii_case(MEDIA_TYPE) {
            return Err(ContentTypeError::MediaType { given: echo(media_type) });
        }
        let mut protocol = Self::V1;
        for field in fields {
            let Some((name, value)) = field.split_once('=') else {
                return Err(ContentTypeError::Parameter { given: echo(field) });
            };
            if name.trim().eq_ignore_ascii_case("proto") {
                protocol = match value.trim().trim_matches('"') {
                    MESSAGE_V1 => Self::V1,
                    MESSAGE_V2 => Self::V2,
                    other => return Err(ContentTypeError::Message { given: echo(other) }),
                };
            }
        }
        Ok(protocol)
    }

    /// The content type of a request, in the spelling that every receiver takes.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::V1 => MEDIA_TYPE,
            Self::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// The value of `X-Prometheus-Remote-Write-Version`.
    pub fn version(self) -> &'static str {
        match self {
            Self::V1 => "0.1.0",
            Self::V2 => "2.0.0",
        }
    }

    /// The status of a request that is written whole.
    pub fn success(self) -> u16 {
        match self {
            Self::V1 => 200,
            Self::V2 => 204,
        }
    }
}

/// Reads the values of [`HEADERS_WRITTEN`] of one answer: `None` where the answer has none of them, which is how a
/// receiver that knows 1.0 only gives itself away. One that is missing beside others, or is no number, counts as 0.
pub fn written(values: [Option<&[u8]>; 3]) -> Option<Contents> {
    if values.iter().all(Option::is_none) {
        return None;
    }
    let number = |value: Option<&[u8]>| {
        value.and_then(|digits| std::str::from_utf8(digits).ok()?.trim().parse().ok()).unwrap_or(0)
    };
    let [samples, histograms, exemplars] = values.map(number);
    Some(Contents { samples, histograms, exemplars })
}

fn echo(given: &str) -> String {
    given.chars().take(ECHO_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        use Protocol::{V1, V2};
        for (content_type, expected) in [
            (&b""[..], V1),
            (b"  ", V1),
            (b"application/x-protobuf", V1),
            (b"Application/X-Protobuf", V1),
            (b"application/x-protobuf;proto=prometheus.WriteRequest", V1),
            (b"application/x-protobuf; Proto=\"prometheus.WriteRequest\"; charset=utf-8", V1),
            (b"application/x-protobuf; charset=utf-8", V1),
            (b"application/x-protobuf;proto=io.prometheus.write.v2.Request", V2),
            (b"Application/X-Protobuf; PROTO = \"io.prometheus.write.v2.Request\"", V2),
        ] {
            assert_eq!(Protocol::of_content_type(content_type), Ok(expected), "{content_type:?}");
        }
        for protocol in [V1, V2] {
            assert_eq!(Protocol::of_content_type(protocol.content_type().as_bytes()), Ok(protocol));
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let error = |content_type: &[u8]| Protocol::of_content_type(content_type).unwrap_err().to_string();
        let json = "content type \"application/json\" is not supported: use application/x-protobuf";
        assert_eq!(error(b"application/json"), json);
        assert!(error(b";proto=prometheus.WriteRequest").starts_with("content type \"\""));
        assert!(error(b"\xff\xfe").starts_with("content type"));
        assert!(error(b"application/x-protobuf;proto=").starts_with("message \"\" is not supported"));
        assert!(error(b"application/x-protobuf;proto=prometheus.write.v3").contains("prometheus.write.v3"));
        assert_eq!(error(b"application/x-protobuf;proto"), "content type parameter \"proto\" has no value");
        assert!(error(b"application/x-protobuf;").contains("parameter \"\""));
        let long = [b"image/", &[b'x'; 1000][..]].concat();
        assert!(error(&long).len() < 200);
    }

    #[test]
    fn written_headers() {
        let contents = |samples, histograms, exemplars| Contents { samples, histograms, exemplars };
        assert_eq!(written([None, None, None]), None);
        assert_eq!(
            written([Some(b"3"), Some(b"0"), Some(b"18446744073709551615")]),
            Some(contents(3, 0, u64::MAX))
        );
        assert_eq!(written([Some(b" 7 "), None, Some(b"x")]), Some(contents(7, 0, 0)));
    }
}
