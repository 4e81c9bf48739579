//! Topology: a client → Envoy with the filter, a virtual host for each case → two sidecars, RF=2.
//!
//! What Envoy's metadata says of the tenant goes before what the client says: dynamic metadata, then the
//! route's, then the virtual host's. Metadata that is there and no tenant refuses the write; nothing makes
//! the client's header count again.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::contents::{Contents, Labels};
use ringside_e2e::envoy::Envoy;
use ringside_e2e::generator::{Answer, Sender};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::sidecar::{Setup, Sidecar};
use ringside_e2e::{wait, wire};
use serde_json::{Value, json};

/// What the client says in every case.
const CLIENT: &str = "team-b";
/// Headers that Envoy makes dynamic metadata of: text, and a number.
const DYNAMIC: &str = "x-dynamic-tenant";
const DYNAMIC_NUMBER: &str = "x-dynamic-number";

/// What the filter should make of a case.
#[derive(Clone, Copy)]
enum Expected {
    Tenant(&'static str),
    /// Nothing stored: 400, or 503 where the operator is at fault.
    Refused,
}

use Expected::{Refused, Tenant};

struct Case {
    name: &'static str,
    /// Our namespace in the metadata of the virtual host and of its routes; null for none.
    host: Value,
    route: Value,
    /// A further header of the request.
    header: Option<(&'static str, &'static str)>,
    expected: Expected,
}

fn cases() -> Vec<Case> {
    let case = |name, host, route, expected| Case { name, host, route, header: None, expected };
    let none = || Value::Null;
    let tenant = |value: Value| json!({ "tenant": value });
    let rule = |value: Value| json!({ "tenant_header": value });
    let mut all = vec![
        case("no metadata", none(), none(), Tenant(CLIENT)),
        case("host", tenant("team-a".into()), none(), Tenant("team-a")),
        case("route", none(), tenant("team-a".into()), Tenant("team-a")),
        case("route before host", tenant("team-x".into()), tenant("team-a".into()), Tenant("team-a")),
        case("tenant before deny", rule("deny".into()), tenant("team-a".into()), Tenant("team-a")),
        case("deny", rule("deny".into()), none(), Tenant("default-tenant")),
        case("deny of the route", rule("allow".into()), rule("deny".into()), Tenant("default-tenant")),
        case("allow of the route", rule("deny".into()), rule("allow".into()), Tenant(CLIENT)),
        case("empty rule", rule("".into()), none(), Tenant("default-tenant")),
        case("rule is a bool", rule(false.into()), none(), Tenant("default-tenant")),
        case("empty tenant", tenant("".into()), none(), Refused),
        case("empty tenant of the route", tenant("team-x".into()), tenant("".into()), Refused),
        case("tenant is no directory", tenant("..".into()), none(), Refused),
        case("tenant is a number", tenant(7.into()), none(), Refused),
        case("tenant is a bool", tenant(true.into()), none(), Refused),
        case("tenant is null", tenant(none()), none(), Refused),
        case("tenant is a list", tenant(json!([])), none(), Refused),
        case("tenant is a list of one", tenant(json!(["team-x"])), none(), Refused),
        case("tenant is a struct", tenant(json!({})), none(), Refused),
        // The namespace is there, and says nothing of tenants.
        case("empty namespace", json!({}), none(), Tenant(CLIENT)),
        case("another key", json!({"note": "tenant"}), none(), Tenant(CLIENT)),
        case("beside a null", json!({"tenant": "team-a", "note": null}), none(), Tenant("team-a")),
        // A null keeps Envoy from handing over the namespace, so nobody can tell whether a tenant is there.
        case("nothing but a null", json!({"note": null}), none(), Refused),
        case("rule is null", rule(none()), none(), Refused),
    ];
    let dynamic = |name, header, expected| Case {
        name,
        host: tenant("team-x".into()),
        route: tenant("team-y".into()),
        header: Some(header),
        expected,
    };
    all.push(dynamic("dynamic before route", (DYNAMIC, "team-a"), Tenant("team-a")));
    all.push(dynamic("dynamic is a number", (DYNAMIC_NUMBER, "7"), Refused));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_goes_before_the_client() -> Result<()> {
    let scratch = Scratch::new("tenants")?;
    let setup = Setup::default();
    let start = |name| Sidecar::start(scratch.path(), name, &setup);
    let sidecars = [start("ringside-0").await?, start("ringside-1").await?];
    let addresses = sidecars.each_ref().map(|sidecar| sidecar.ring_address().to_string());
    let hashrings = json!([{ "endpoints": addresses }]).to_string();
    let flags = ["--replication-factor=2".to_owned()];
    let cases = cases();
    let envoy =
        Envoy::start_edited(&scratch.path().join("envoy"), &hashrings, &flags, |text| edit(text, &cases))
            .await?;
    wait::eventually("Envoy to find the sidecars healthy", async || envoy.expect_all_healthy().await).await?;

    let now = clock::aligned(HOUR, MINUTE)?;
    let mut stored: BTreeMap<&str, Contents> = BTreeMap::new();
    for (number, case) in cases.iter().enumerate() {
        let labels = Labels::from([
            ("__name__".to_owned(), "tenants".to_owned()),
            ("case".to_owned(), case.name.to_owned()),
        ]);
        let mut request = Vec::new();
        wire::series(&mut request, &labels, &[(now, 1.0)]);
        let mut sender =
            Sender::new(&envoy.write_url(), Some(CLIENT)).with_header("host", domain(number).as_bytes());
        if let Some((name, value)) = case.header {
            sender = sender.with_header(name, value.as_bytes());
        }
        let answer = sender.post(wire::snappy(&request)).await;
        match (case.expected, &answer) {
            (Tenant(tenant), Answer::Status { code: 200, .. }) => {
                stored.entry(tenant).or_default().add(&labels, now, 1.0)?;
            }
            (Refused, Answer::Status { code, message }) => {
                let expected = if case.header.is_some() { 400 } else { 503 };
                ensure!(*code == expected, "{}: {answer:?}", case.name);
                ensure!(message.contains("metadata is unusable"), "{}: {message}", case.name);
            }
            _ => anyhow::bail!("{}: {answer:?}", case.name),
        }
    }
    for sidecar in &sidecars {
        for (tenant, expected) in &stored {
            sidecar.expect_exactly(tenant, expected).await?;
        }
        let tenants = sidecar.tenants()?;
        ensure!(tenants == ["default-tenant", "team-a", CLIENT], "tenants: {tenants:?}");
    }
    scratch.passed();
    Ok(())
}

fn domain(case: usize) -> String {
    format!("case-{case}.test")
}

/// Adds a virtual host for each case, with the routes of the one that is there, and dynamic metadata from
/// headers. JSON is YAML too.
fn edit(bootstrap: &mut String, cases: &[Case]) -> Result<()> {
    let mut root: Value = serde_saphyr::from_str(bootstrap)?;
    let manager = root
        .pointer_mut("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config")
        .context("no connection manager")?;
    let hosts = manager
        .pointer_mut("/route_config/virtual_hosts")
        .and_then(Value::as_array_mut)
        .context("no hosts")?;
    let rendered = hosts.first().context("no virtual host")?.clone();
    for (number, case) in cases.iter().enumerate() {
        let mut host = rendered.clone();
        host["name"] = case.name.into();
        host["domains"] = json!([domain(number)]);
        set_metadata(&mut host, &case.host);
        for route in host["routes"].as_array_mut().context("no routes")? {
            set_metadata(route, &case.route);
        }
        hosts.push(host);
    }
    let rule = |header: &str, kind: &str| {
        let target = json!({"metadata_namespace": "ringside", "key": "tenant", "type": kind});
        json!({"header": header, "on_header_present": target, "remove": true})
    };
    let from_headers = json!({
        "name": "dynamic",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config",
            "request_rules": [rule(DYNAMIC, "STRING"), rule(DYNAMIC_NUMBER, "NUMBER")],
        },
    });
    manager["http_filters"].as_array_mut().context("no filters")?.insert(0, from_headers);
    *bootstrap = root.to_string();
    Ok(())
}

fn set_metadata(of: &mut Value, ours: &Value) {
    if !ours.is_null() {
        of["metadata"] = json!({"filter_metadata": {"ringside": ours}});
    }
}
