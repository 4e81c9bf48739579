//! Requests by their headers, as a host would ask.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use ringside_proto::Protocol;

use super::{Admission, Admitted, admit};
use crate::config::Config;
use crate::pairs::pairs;
use crate::rate::Rate;
use crate::rate::tests::Shared;
use crate::reply::Response;
use crate::request::Head;
use crate::tenant::{Lookup, Place, TenantId};

const V2: &[u8] = b"application/x-protobuf;proto=io.prometheus.write.v2.Request";
const WRITE: Head<'static> = Head {
    method: b"POST",
    path: b"/api/v1/push",
    content_type: V2,
    content_encoding: b"snappy",
    content_length: Some(b"100"),
    is_routed: true,
    is_bodyless: false,
};

fn config() -> Config {
    Config::parse(br#"{"hashrings":[{"endpoints":["a","b","c"]}],"limits":{"body_bytes":2000}}"#).unwrap()
}

/// Admits with a tenant in the header and, if there are any, limits in the metadata of the route.
fn admitted(head: &Head<'_>, tenant: &str, limits: Option<&[(&str, &[u8])]>, shared: &Shared) -> Admission {
    let lookup = |wanted: Lookup<'_>| match wanted {
        Lookup::Header("thanos-tenant") => Some(tenant.as_bytes().to_vec()),
        Lookup::Metadata(Place::Route, "limits") => limits.map(pairs),
        _ => None,
    };
    admit(&config(), head, lookup, shared, || 1000)
}

fn read(admission: Admission) -> Admitted {
    let Admission::Read(admitted) = admission else { panic!("{admission:?}") };
    admitted
}

/// The answer to a request of the tenant "t", or of one that is not known.
fn refusal(admission: Admission) -> Response {
    let Admission::Refuse { response, tenant } = admission else { panic!("{admission:?}") };
    let zeros = response.headers.iter().filter(|(name, value)| name.ends_with("-written") && value == "0");
    let is_about_tenant = response.body.contains("the tenant in the");
    assert_eq!(tenant.as_ref().map(TenantId::as_str), (!is_about_tenant).then_some("t"));
    assert_eq!(zeros.count(), 3, "nothing is written, says every answer to 2.0");
    response
}

#[test]
fn headers_admit_refuse_or_pass() {
    let shared = Shared::default();
    assert!(matches!(admitted(&Head { path: b"/other", ..WRITE }, "t", None, &shared), Admission::Pass));
    let v2 = read(admitted(&WRITE, "t", None, &shared));
    assert_eq!((v2.tenant.as_str(), v2.protocol, v2.limits.body_bytes), ("t", Protocol::V2, Some(2000)));
    let v1 = read(admitted(&Head { content_type: b"", ..WRITE }, "t", None, &shared));
    assert_eq!(v1.protocol, Protocol::V1);
    assert_eq!(refusal(admitted(&WRITE, "../x", None, &shared)).status, 400);
    let Admission::Refuse { response, tenant: None } =
        admitted(&Head { content_type: b"text/plain", ..WRITE }, "t", None, &shared)
    else {
        panic!()
    };
    assert_eq!(response.status, 415);
}

#[test]
fn the_smaller_body_limit_counts() {
    let shared = Shared::default();
    let long = |bytes: &'static [u8]| Head { content_length: Some(bytes), ..WRITE };
    assert_eq!(read(admitted(&long(b"2000"), "t", None, &shared)).body_bytes_max(&config()), 2000);
    assert_eq!(refusal(admitted(&long(b"2001"), "t", None, &shared)).status, 413);
    let limits: [(&str, &[u8]); 1] = [("body_bytes", b"5000000000")];
    let admitted = read(admitted(&long(b"3000"), "t", Some(&limits), &shared));
    assert_eq!(admitted.body_bytes_max(&config()), 32 << 20, "no tenant's is above that of the filter");
}

#[test]
fn a_tenant_over_its_rate_is_sent_away() {
    let shared = Shared::default();
    let limits: [(&str, &[u8]); 1] = [("samples_per_second", b"10")];
    let admitted = |tenant| admitted(&WRITE, tenant, Some(&limits), &shared);
    let first = read(admitted("t"));
    let rate = Rate { samples_per_second: 10, burst: 10 };
    assert_eq!(first.limits.rate, Some(rate));
    assert!(rate.charge(&shared, &first.tenant, 40, 1000));
    let response = refusal(admitted("t"));
    assert_eq!(response.status, 429);
    assert!(response.headers.contains(&("retry-after", "4".into())), "{:?}", response.headers);
    assert_eq!(response.body, "over the tenant's rate of 10 samples per second\n");
    read(admitted("u"));
}

#[test]
fn unusable_limits_send_nothing_on() {
    let shared = Shared::default();
    let limits: [(&str, &[u8]); 1] = [("sample_rate", b"10")];
    let response = refusal(admitted(&WRITE, "t", Some(&limits), &shared));
    assert_eq!((response.status, response.body.as_str()), (503, "the limit \"sample_rate\" is not known\n"));
}

#[test]
fn a_tenant_that_the_operator_got_wrong_loses_nothing() {
    for (place, status) in [(Place::Dynamic, 400), (Place::Route, 503), (Place::VirtualHost, 503)] {
        let lookup =
            |wanted: Lookup<'_>| (wanted == Lookup::Metadata(place, "tenant")).then(|| b"a/b".to_vec());
        let response = refusal(admit(&config(), &WRITE, lookup, &Shared::default(), || 1000));
        assert_eq!(response.status, status, "{place}");
    }
}
