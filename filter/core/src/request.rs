//! Judges a request from its headers and its size, before a byte of its body is kept.
//!
//! Owns which requests are writes at all, and the rules for method, content type, encoding and length. Tenants
//! are chosen elsewhere (`tenant`), bodies are read elsewhere (`split`).

use ringside_proto::remote_write_v2::Contents;
use ringside_proto::snappy::SnappyError;
use ringside_proto::{Protocol, WRITE_PATHS};

use crate::limits::Limit;
use crate::reply::Response;

/// The headers that decide, as raw bytes: a client may send any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    pub method: &'a [u8],
    pub path: &'a [u8],
    pub content_type: &'a [u8],
    pub content_encoding: &'a [u8],
    pub content_length: Option<&'a [u8]>,
    /// Whether a route of the host's takes it.
    pub is_routed: bool,
    /// Whether the request ends with its headers.
    pub is_bodyless: bool,
}

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Not a write: the filter leaves it alone.
    Pass,
    /// Refused before its body is read.
    Refuse(Response),
    /// A write of this version, whose body is to be read and is as long as declared.
    Read { protocol: Protocol, declared: Option<usize> },
}

/// Judges the headers of a request.
pub fn judge(head: &Head<'_>, body_bytes_max: usize) -> Judgement {
    if !is_write_path(head.path) {
        return Judgement::Pass;
    }
    if !head.is_routed {
        // Nothing says whose it would be: a tenant may be in the metadata of the route. It may be on its way, or its
        // cluster, so that a retry can save what is sent.
        return Judgement::Refuse(Response::refusal(
            503,
            "no route takes writes here, or its cluster is not there",
        ));
    }
    if head.method != b"POST" {
        return Judgement::Refuse(Response::method_not_allowed("POST"));
    }
    let protocol = match Protocol::of_content_type(head.content_type) {
        Ok(protocol) => protocol,
        Err(error) => return Judgement::Refuse(Response::refusal(415, error.to_string())),
    };
    match declared_length(head, body_bytes_max) {
        Err(response) => Judgement::Refuse(response.with_written(protocol, Contents::default())),
        Ok(declared) => Judgement::Read { protocol, declared },
    }
}

/// Judges the length of a body, declared or arrived so far.
pub fn judge_length(bytes: usize, body_bytes_max: usize) -> Option<Response> {
    (bytes > body_bytes_max).then(|| {
        Response::over_limit(413, Limit::BodyBytes, format!("the body has more than {body_bytes_max} bytes"))
    })
}

/// The answer to a write without a body.
pub fn empty_body() -> Response {
    Response::refusal(400, SnappyError::Empty.to_string())
}

/// The length that a body declares, or why the request is refused.
fn declared_length(head: &Head<'_>, body_bytes_max: usize) -> Result<Option<usize>, Response> {
    let encoding = head.content_encoding.trim_ascii();
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"snappy") {
        let encoding = String::from_utf8_lossy(encoding);
        let message = format!("content encoding {encoding:?} is not supported: use snappy");
        return Err(Response::refusal(415, message));
    }
    let parse = |declared| std::str::from_utf8(declared).ok()?.trim().parse::<usize>().ok();
    let declared = match head.content_length.map(parse) {
        Some(None) => return Err(Response::refusal(400, "the content length is not a number")),
        declared => declared.flatten(),
    };
    if let Some(refusal) = declared.and_then(|declared| judge_length(declared, body_bytes_max)) {
        return Err(refusal);
    }
    if head.is_bodyless { Err(empty_body()) } else { Ok(declared) }
}

fn is_write_path(path: &[u8]) -> bool {
    let path = path.split(|byte| *byte == b'?').next().unwrap_or(path);
    WRITE_PATHS.iter().any(|write| write.as_bytes() == path)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{Head, Judgement, Protocol, judge, judge_length};

    const WRITE: Head<'static> = Head {
        method: b"POST",
        path: b"/api/v1/receive",
        content_type: b"application/x-protobuf",
        content_encoding: b"snappy",
        content_length: Some(b"100"),
        is_routed: true,
        is_bodyless: false,
    };

    fn status(head: &Head<'_>) -> u16 {
        match judge(head, 1000) {
            Judgement::Pass => 0,
            Judgement::Read { .. } => 200,
            Judgement::Refuse(response) => response.status,
        }
    }

    #[test]
    fn writes_are_read_on_every_alias() {
        for path in
            ["/api/v1/receive", "/api/v1/write", "/api/v1/push", "/api/v1/receive?a=b", "/api/v1/push?"]
        {
            assert_eq!(status(&Head { path: path.as_bytes(), ..WRITE }), 200, "{path}");
        }
    }

    #[test]
    fn other_paths_are_left_alone() {
        for path in
            ["/", "", "/api/v1/receive/", "/api/v1/query?x=/api/v1/receive", "/api/v1", "?/api/v1/write"]
        {
            assert_eq!(status(&Head { path: path.as_bytes(), method: b"GET", ..WRITE }), 0, "{path}");
        }
    }

    #[test]
    fn a_write_without_a_route_is_not_taken() {
        assert_eq!(status(&Head { is_routed: false, ..WRITE }), 503);
        assert_eq!(status(&Head { is_routed: false, path: b"/", ..WRITE }), 0);
    }

    #[test]
    fn the_method_is_post() {
        let Judgement::Refuse(response) = judge(&Head { method: b"PUT", ..WRITE }, 1000) else { panic!() };
        assert_eq!(response.status, 405);
        assert!(response.headers.contains(&("allow", "POST".into())));
    }

    #[test]
    fn content_types() {
        let judge = |content_type| judge(&Head { content_type, ..WRITE }, 1000);
        let read = |protocol| Judgement::Read { protocol, declared: Some(100) };
        assert_eq!(judge(b""), read(Protocol::V1));
        assert_eq!(judge(b"application/x-protobuf"), read(Protocol::V1));
        let v2 = b"application/x-protobuf;proto=io.prometheus.write.v2.Request";
        assert_eq!(judge(v2), read(Protocol::V2));
        for other in [&b"application/json"[..], b"image/png", b"application/x-protobuf;proto=x", b"\xff\xfe"]
        {
            assert_eq!(status(&Head { content_type: other, ..WRITE }), 415, "{other:?}");
        }
    }

    #[test]
    fn a_refusal_of_2_0_says_that_nothing_is_written() {
        let written = |content_type| {
            let head = Head { content_type, content_length: Some(b"1001"), ..WRITE };
            let Judgement::Refuse(response) = judge(&head, 1000) else { panic!() };
            assert_eq!(response.status, 413);
            response.headers.iter().filter(|(name, value)| name.ends_with("-written") && value == "0").count()
        };
        assert_eq!(written(b"application/x-protobuf;proto=io.prometheus.write.v2.Request"), 3);
        assert_eq!(written(b""), 0);
    }

    #[test]
    fn content_encodings() {
        for (content_encoding, expected) in
            [(&b""[..], 200), (b"Snappy", 200), (b"gzip", 415), (b"\xff", 415)]
        {
            assert_eq!(status(&Head { content_encoding, ..WRITE }), expected, "{content_encoding:?}");
        }
    }

    #[test]
    fn lengths() {
        let cases: [(Option<&[u8]>, u16); 6] = [
            (None, 200),
            (Some(b"1000"), 200),
            (Some(b"1001"), 413),
            (Some(b"99999999999999999999999"), 400),
            (Some(b"-1"), 400),
            (Some(b"x"), 400),
        ];
        for (content_length, expected) in cases {
            assert_eq!(status(&Head { content_length, ..WRITE }), expected, "{content_length:?}");
        }
        assert_eq!(judge_length(1000, 1000), None);
        assert_eq!(judge_length(1001, 1000).map(|response| response.status), Some(413));
    }

    #[test]
    fn a_write_has_a_body() {
        assert_eq!(status(&Head { is_bodyless: true, ..WRITE }), 400);
    }
}
