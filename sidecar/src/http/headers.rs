//! What the headers of a request say: of a write, judged before its body is read; of any, the tenant.

use axum::http::{HeaderMap, HeaderName, Method, header};

use ringside_proto::Protocol;
use ringside_proto::limits::{ContentLimits, HEADER_LIMITS, LimitsError};

use crate::error::WriteError;
use crate::tenant_id::TenantId;

/// Thanos' own tenant header, taken where the configured one is absent.
const TENANT_HEADER: HeaderName = HeaderName::from_static("thanos-tenant");
/// Longest piece of a refused header that an answer repeats, in characters.
const ECHO_CHARS_MAX: usize = 100;

/// Judges method, content type and encoding, and tells the version of remote write. An absent or empty type or
/// encoding means 1.0 in snappy.
pub(super) fn judge(method: &Method, headers: &HeaderMap) -> Result<Protocol, WriteError> {
    if method != Method::POST {
        return Err(WriteError::Method);
    }
    let encodings = headers.get_all(header::CONTENT_ENCODING);
    for given in encodings.iter().map(|v| String::from_utf8_lossy(v.as_bytes())) {
        if !(given.is_empty() || given.trim().eq_ignore_ascii_case("snappy")) {
            return Err(WriteError::ContentEncoding { given: echo(&given) });
        }
    }
    protocol(headers)
}

/// The version of remote write. Of several content types the last counts, if all are supported.
pub(super) fn protocol(headers: &HeaderMap) -> Result<Protocol, WriteError> {
    let types = headers.get_all(header::CONTENT_TYPE).iter();
    let mut protocol = Protocol::V1;
    for given in types {
        protocol = Protocol::of_content_type(given.as_bytes())?;
    }
    Ok(protocol)
}

/// The tenant: of the configured header, else of Thanos' header, else the default.
pub(super) fn tenant(
    headers: &HeaderMap,
    configured: &HeaderName,
    default: &TenantId,
) -> Result<TenantId, WriteError> {
    Ok(named_tenant(headers, configured)?.unwrap_or_else(|| default.clone()))
}

/// The tenant that a header names, where one does. An empty header counts as absent.
pub(super) fn named_tenant(
    headers: &HeaderMap,
    configured: &HeaderName,
) -> Result<Option<TenantId>, WriteError> {
    for name in [configured, &TENANT_HEADER] {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next().filter(|v| !v.is_empty()) else { continue };
        let refuse = |reason| WriteError::TenantHeader { header: name.to_string(), reason };
        if values.next().is_some() {
            return Err(refuse("given more than once"));
        }
        let value = value.to_str().map_err(|_| refuse("not printable ASCII"))?;
        return TenantId::parse(value)
            .map(Some)
            .map_err(|source| WriteError::Tenant { header: name.to_string(), source });
    }
    Ok(None)
}

/// The limits that the filter hands on; none where it hands on none.
pub(super) fn handed_limits(headers: &HeaderMap) -> Result<ContentLimits, String> {
    let Some(given) = headers.get(HEADER_LIMITS) else { return Ok(ContentLimits::default()) };
    let given = given.to_str().map_err(|_| "not printable ASCII".to_owned())?;
    given.parse().map_err(|e: LimitsError| e.to_string())
}

/// The declared length of the body, where there is one that can be read.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn echo(given: &str) -> String {
    given.chars().take(ECHO_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair =
            |&(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn content_types_and_encodings() {
        let judge_one =
            |name, value| judge(&Method::POST, &headers(&[(name, value)])).map_err(|e| e.status().as_u16());
        for value in [
            "",
            "application/x-protobuf",
            "Application/X-Protobuf",
            "application/x-protobuf; charset=utf-8",
            "application/x-protobuf;proto=prometheus.WriteRequest",
            "application/x-protobuf; proto=\"prometheus.WriteRequest\"",
        ] {
            assert_eq!(judge_one("content-type", value), Ok(Protocol::V1), "{value}");
        }
        let version_2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
        assert_eq!(judge_one("content-type", version_2), Ok(Protocol::V2));
        for value in [
            "application/json",
            "application/x-protobuf;proto=io.prometheus.write.v3.Request",
            "; proto=prometheus.WriteRequest",
            "application/x-protobuf-ish",
        ] {
            assert_eq!(judge_one("content-type", value), Err(415), "{value}");
        }
        assert_eq!(judge_one("content-encoding", "Snappy"), Ok(Protocol::V1));
        assert_eq!(judge_one("content-encoding", "gzip"), Err(415));
        assert_eq!(judge_one("content-encoding", "snappy, gzip"), Err(415));
        assert_eq!(judge(&Method::GET, &HeaderMap::new()).unwrap_err().status().as_u16(), 405);
    }

    #[test]
    fn tenant_from_the_first_header_that_has_one() {
        let default = TenantId::parse("default-tenant").unwrap();
        let custom = HeaderName::from_static("x-scope-orgid");
        let of = |pairs: &[_]| {
            tenant(&headers(pairs), &custom, &default).map(|t| t.to_string()).map_err(|e| e.to_string())
        };
        assert_eq!(of(&[]).unwrap(), "default-tenant");
        assert_eq!(of(&[("thanos-tenant", "")]).unwrap(), "default-tenant");
        assert_eq!(of(&[("thanos-tenant", "acme")]).unwrap(), "acme");
        assert_eq!(of(&[("thanos-tenant", "acme"), ("x-scope-orgid", "b")]).unwrap(), "b");
        assert!(of(&[("x-scope-orgid", "../etc")]).unwrap_err().contains("x-scope-orgid"));
        assert!(of(&[("thanos-tenant", "..")]).unwrap_err().contains("thanos-tenant"));
        let mut twice = headers(&[("thanos-tenant", "a")]);
        twice.append("thanos-tenant", "b".parse().unwrap());
        assert!(tenant(&twice, &custom, &default).unwrap_err().to_string().contains("more than once"));
    }
}
