//! Every form of `hashrings.json`, and every reason to refuse one.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const THREE: &str = r#"["a:1", "b:1", "c:1"]"#;

fn parse(json: &str) -> Result<Hashrings, ConfigError> {
    Hashrings::parse(json.as_bytes(), 3)
}

fn refused(json: &str) -> String {
    parse(json).expect_err(json).to_string()
}

/// The first address of the tenant's ring, which tells the rings of a test apart.
fn first<'a>(rings: &'a Hashrings, tenant: &str) -> Option<&'a str> {
    rings.for_tenant(tenant).map(|ring| ring.endpoints()[0].address.as_str())
}

#[test]
fn every_form() {
    let rings = parse(
        r#"[
        {"hashring": "team", "tenants": ["team-a", "team-b"], "tenant_matcher_type": "exact",
         "algorithm": "ketama", "external_labels": {"team": "x"},
         "endpoints": ["x:1", {"address": "y:1", "capnproto_address": "y:2", "az": "1"}, {"address": "z:1"}]},
        {"hashring": "dev", "tenants": ["dev-*"], "tenant_matcher_type": "glob", "endpoints": ["d:1", "e:1", "f:1"]},
        {"endpoints": ["a:1", "b:1", "c:1"], "tenants": null, "tenant_matcher_type": "", "algorithm": "",
         "shuffle_sharding_config": {"shard_size": 0}}
    ]"#,
    )
    .unwrap();
    assert_eq!(first(&rings, "team-b"), Some("x:1"));
    assert_eq!(first(&rings, "dev-1"), Some("d:1"));
    assert_eq!(first(&rings, "anyone"), Some("a:1"));
    assert_eq!(rings.named_for_tenant("team-a").map(NamedRing::name), Some("team"));
    let team = &rings.rings()[0];
    assert_eq!(team.ring().endpoints()[1], crate::Endpoint { address: "y:1".into(), az: "1".into() });
    assert_eq!(team.external_labels()["team"], "x");
    assert_eq!(*team.tenants(), Tenants::Exact(vec!["team-a".into(), "team-b".into()]));
    assert_eq!(rings.rings()[2].name(), "");
}

#[test]
fn no_ring_for_a_tenant_that_none_matches() {
    let rings = parse(&format!(r#"[{{"tenants": ["a"], "endpoints": {THREE}}}]"#)).unwrap();
    assert!(rings.for_tenant("a").is_some());
    assert!(rings.for_tenant("b").is_none());
}

#[test]
fn the_first_match_wins() {
    let exact = r#"{"tenants": ["team-a"], "endpoints": ["x:1", "y:1", "z:1"]}"#;
    let glob = r#"{"tenants": ["t*"], "tenant_matcher_type": "glob", "endpoints": ["p:1", "q:1", "r:1"]}"#;
    let all = format!(r#"{{"endpoints": {THREE}}}"#);
    for (json, team_a, team_b, other) in [
        (format!("[{exact}, {glob}, {all}]"), "x:1", "p:1", "a:1"),
        (format!("[{glob}, {exact}, {all}]"), "p:1", "p:1", "a:1"),
        (format!("[{all}, {exact}, {glob}]"), "a:1", "a:1", "a:1"),
        (format!("[{exact}, {all}, {glob}]"), "x:1", "a:1", "a:1"),
    ] {
        let rings = parse(&json).unwrap();
        assert_eq!(first(&rings, "team-a"), Some(team_a), "{json}");
        assert_eq!(first(&rings, "team-b"), Some(team_b), "{json}");
        assert_eq!(first(&rings, "other"), Some(other), "{json}");
    }
}

#[test]
fn not_an_array_of_rings() {
    assert!(refused("[").contains("not JSON"));
    assert!(refused("{}").contains("expected an array"));
    assert!(refused("null").contains("expected an array"));
    assert!(refused("[]").contains("empty"));
    assert!(refused("[1]").contains("#0"));
}

#[test]
fn refusals_name_the_ring_and_the_field() {
    let ring =
        |fields: &str| refused(&format!(r#"[{{"hashring": "prod", "endpoints": {THREE}, {fields}}}]"#));
    for (fields, named) in [
        (r#""tenant": ["a"]"#, "unknown field `tenant`"),
        (r#""algorithm": "hashmod""#, r#"algorithm "hashmod""#),
        (r#""algorithm": "KETAMA""#, r#"algorithm "KETAMA""#),
        (r#""shuffle_sharding_config": {"shard_size": 2}"#, "shuffle_sharding_config"),
        (r#""shuffle_sharding_config": {}"#, "shuffle_sharding_config"),
        (r#""tenant_matcher_type": "regex""#, r#"tenant_matcher_type "regex""#),
        (r#""tenants": ["[a"], "tenant_matcher_type": "glob""#, r#"pattern "[a""#),
        (r#""tenants": "a""#, "invalid type"),
        (r#""external_labels": ["a"]"#, "invalid type"),
    ] {
        let message = ring(fields);
        assert!(message.contains(r#"hashring "prod" (#0)"#), "{message}");
        assert!(message.contains(named), "{message}");
    }
}

#[test]
fn refusals_of_endpoints() {
    let ring = |endpoints: &str| refused(&format!(r#"[{{"hashring": "prod", "endpoints": {endpoints}}}]"#));
    for (endpoints, named) in [
        (r#"["a:1", {"az": "1"}]"#, "endpoints[1]: missing field `address`"),
        (r#"["a:1", {"address": "b:1", "zone": "1"}]"#, "endpoints[1]: unknown field `zone`"),
        (r#"["a:1", 2]"#, "endpoints[1]: invalid type"),
        (r#"["a:1", "", "c:1"]"#, "endpoints[1] has an empty address"),
        (r#"["a:1", "b:1"]"#, "2 endpoints, fewer than the replication factor 3"),
        (r#"["a:1", "b:1", "c:1", "b:1"]"#, r#""b:1" is there twice, as endpoints[1] and endpoints[3]"#),
        ("[]", "no endpoints"),
        ("null", "no endpoints"),
    ] {
        let message = ring(endpoints);
        assert!(message.contains(r#"hashring "prod" (#0)"#), "{message}");
        assert!(message.contains(named), "{message}");
    }
    assert!(refused(r#"[{"hashring": "prod"}]"#).contains("no endpoints"));
}

#[test]
fn a_default_ring_of_one_is_refused_at_any_replication_factor() {
    let json = br#"[{"hashring": "prod", "endpoints": ["a:1"]}]"#;
    for replication_factor in [1, 3] {
        let message = Hashrings::parse(json, replication_factor).unwrap_err().to_string();
        assert!(message.contains("default ring has one endpoint only"), "{message}");
    }
    let json = br#"[{"tenants": ["a"], "endpoints": ["a:1"]}]"#;
    assert!(Hashrings::parse(json, 1).is_ok(), "not a default ring");
    assert!(Hashrings::parse(json, 0).unwrap_err().to_string().contains("replication factor is 0"));
}

#[test]
fn a_tenant_matched_twice_is_refused() {
    let ring = |name: &str, tenants: &str| {
        format!(r#"{{"hashring": "{name}", "tenants": {tenants}, "endpoints": {THREE}}}"#)
    };
    let (one, two) = (ring("one", r#"["a", "b"]"#), ring("two", r#"["c", "b"]"#));
    let message = refused(&format!("[{one}, {two}]"));
    assert_eq!(message, r#"tenant "b" is listed in hashring "one" (#0) and in hashring "two" (#1)"#);
    // Twice in one ring says nothing new.
    assert!(parse(&format!("[{}]", ring("one", r#"["a", "a"]"#))).is_ok());

    let glob = |name: &str| ring(name, r#"["t*"], "tenant_matcher_type": "glob""#);
    let message = refused(&format!("[{}, {}]", glob("one"), glob("two")));
    assert!(message.contains(r#"tenant "t*" is listed in hashring "one" (#0)"#), "{message}");

    let message = refused(&format!("[{}, {}]", ring("one", "[]"), ring("two", "null")));
    assert!(message.contains(r#""one" (#0) and hashring "two" (#1) both have no tenants"#), "{message}");
}
