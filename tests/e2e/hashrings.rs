//! Topology: clients → Envoy with the filter → nine receivers in this process, RF=3, three in each of three rings: one
//! for tenants by name, one for tenants by pattern, one for all others.
//!
//! A tenant's writes go to its own ring, under its own name, whatever else the client says. Metadata of a virtual host
//! may name another ring.

use anyhow::{Context, Result, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::envoy::Envoy;
use ringside_e2e::generator::{Sender, series};
use ringside_e2e::receiver::Receiver;
use ringside_e2e::scratch::Scratch;
use ringside_e2e::{wait, wire};
use serde_json::{Value, json};

const RING: usize = 3;
/// A host whose metadata names a ring, and one whose metadata names one that is not there.
const CHOSEN: &str = "chosen.test";
const LOST: &str = "lost.test";

#[tokio::test(flavor = "multi_thread")]
async fn each_tenant_has_its_ring() -> Result<()> {
    let scratch = Scratch::new("hashrings")?;
    let receivers = Receiver::start_many(3 * RING).await?;
    let endpoints: Vec<Vec<String>> = receivers
        .chunks(RING)
        .map(|ring| ring.iter().map(|one| one.address().to_string()).collect())
        .collect();
    let rings = json!([
        {"hashring": "exact", "tenants": ["acme", "team-x"], "endpoints": endpoints[0]},
        {"hashring": "glob", "tenants": ["team-*", "?"], "tenant_matcher_type": "glob", "endpoints": endpoints[1]},
        {"hashring": "default", "endpoints": endpoints[2]},
    ]);
    let folder = scratch.path().join("envoy");
    let envoy = Envoy::start_edited(&folder, &rings.to_string(), &[], edit).await?;
    wait::eventually("healthy receivers", async || envoy.expect_all_healthy().await).await?;

    let mut request = Vec::new();
    wire::series(&mut request, &series("hashrings", 1)[0], &[(clock::aligned(HOUR, MINUTE)?, 1.0)]);
    let body = wire::snappy(&request);
    for (host, tenant, ring, name) in [
        ("any.test", Some("acme"), 0, "acme"),
        ("any.test", Some("team-x"), 0, "team-x"),
        ("any.test", Some("team-y"), 1, "team-y"),
        ("any.test", Some("z"), 1, "z"),
        ("any.test", Some("acme2"), 2, "acme2"),
        ("any.test", Some("Acme"), 2, "Acme"),
        ("any.test", None, 2, "default-tenant"),
        (CHOSEN, Some("acme"), 1, "acme"),
        (CHOSEN, None, 1, "default-tenant"),
    ] {
        let sender = Sender::new(&envoy.write_url(), tenant).with_header("host", host.as_bytes());
        // What only the filter may say to a sidecar.
        let sender = sender
            .with_header("x-ringside-limits", b"series_per_request=0")
            .with_header("x-scope-orgid", b"forged");
        let answer = sender.post(body.clone()).await;
        ensure!(answer.code() == Some(200), "{host} {tenant:?}: {answer:?}");
        envoy.wait_idle().await?;
        for (number, receiver) in receivers.iter().enumerate() {
            let parts = receiver.take_parts();
            ensure!(
                parts.len() == usize::from(number / RING == ring),
                "{tenant:?}: {} at {number}",
                parts.len()
            );
            for part in parts {
                let all = part.headers.get_all("thanos-tenant").iter().count();
                ensure!(part.header("thanos-tenant") == name && all == 1, "{:?}", part.headers);
                ensure!(part.header("x-ringside-limits").is_empty(), "{:?}", part.headers);
                ensure!(part.header("x-scope-orgid").is_empty(), "{:?}", part.headers);
            }
        }
    }
    let lost = Sender::new(&envoy.write_url(), Some("acme")).with_header("host", LOST.as_bytes());
    let answer = lost.post(body).await;
    ensure!(answer.code() == Some(503), "{answer:?}");
    scratch.passed();
    Ok(())
}

/// Adds the hosts with metadata.
fn edit(bootstrap: &mut String) -> Result<()> {
    let mut root: Value = serde_saphyr::from_str(bootstrap)?;
    let hosts = root
        .pointer_mut(
            "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts",
        )
        .and_then(Value::as_array_mut)
        .context("no hosts")?;
    for (domain, ring) in [(CHOSEN, "glob"), (LOST, "nowhere")] {
        let mut host = hosts.first().context("no virtual host")?.clone();
        host["name"] = domain.into();
        host["domains"] = json!([domain]);
        host["metadata"] = json!({"filter_metadata": {"ringside": {"hashring": ring}}});
        hosts.push(host);
    }
    *bootstrap = root.to_string();
    Ok(())
}
