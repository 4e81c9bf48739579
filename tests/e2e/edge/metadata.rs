//! Tenants that the operator's configuration or a gateway names, without a proof by the client itself.

use anyhow::{Result, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::generator::{Sender, series};
use ringside_e2e::{wait, wire};

use super::{Refused, Stage, Tenant};

const RECEIVE: &str = "/api/v1/receive";
const ALIASES: [&str; 2] = ["/api/v1/write", "/api/v1/push"];

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_header_is_the_tenant() -> Result<()> {
    let stage = Stage::start("gateway-header", |_, _| Ok(())).await?;
    let client = stage.plain_client();
    for (case, tenant, fate) in [
        ("team-a", &b"team-a"[..], Tenant("team-a")),
        ("no tenant", b"team/a", Refused(400)),
        ("not even text", b"\xff", Refused(400)),
        ("nothing but the client's claims", b"", Refused(403)),
    ] {
        stage.expect(case, &client.clone().with_header("x-gateway-tenant", tenant), fate).await?;
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_the_tenant() -> Result<()> {
    let stage = Stage::start("virtual-hosts", |_, _| Ok(())).await?;
    for (case, host, stage_header, tenant) in [
        ("a", "team-a.metrics.example", "", "team-a"),
        ("with a port", "team-a.metrics.example:19290", "", "team-a"),
        ("upper case", "TEAM-B.metrics.example", "", "team-b"),
        ("route", "team-b.metrics.example", "test", "team-b-test"),
        ("another route's header", "team-a.metrics.example", "test", "team-a"),
        ("below a tenant", "x.team-a.metrics.example", "", "default-tenant"),
        ("any", "127.0.0.1", "test", "default-tenant"),
    ] {
        for path in [RECEIVE].into_iter().chain(ALIASES) {
            let client = stage.client(&stage.envoy.write_url().replace(RECEIVE, path));
            let sender = client.with_header("host", host.as_bytes());
            let sender = sender.with_header("x-stage", stage_header.as_bytes());
            stage.expect(&format!("{case}, {path}"), &sender, Tenant(tenant)).await?;
        }
    }
    stage.end().await
}

/// The metadata of a route is for what the route takes; what none takes would be anybody's.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_route_there_is_no_write() -> Result<()> {
    let stage = Stage::start("virtual-hosts", |_, text| {
        ensure!(text.contains("(receive|write|push)"), "no such routes in the edge");
        *text = text.replace("(receive|write|push)", "receive");
        Ok(())
    })
    .await?;
    for path in ALIASES {
        let client = stage.client(&stage.envoy.write_url().replace(RECEIVE, path));
        let client = |host: &str| client.clone().with_header("host", host.as_bytes());
        stage.expect(path, &client("team-b.metrics.example"), Refused(503)).await?;
        stage.expect(path, &client("team-a.metrics.example"), Tenant("team-a")).await?;
    }
    let client = stage.plain_client().with_header("host", b"team-b.metrics.example");
    stage.expect("with a route", &client, Tenant("team-b")).await?;
    stage.end().await
}

/// Limits of a virtual host's metadata are those of its tenant, and of no other.
#[tokio::test(flavor = "multi_thread")]
async fn limits_of_the_host_hold() -> Result<()> {
    let stage = Stage::start_before(4, "virtual-hosts", |_, text| {
        let rate = "samples_per_second: 100000, burst: 500000";
        ensure!(text.contains(rate), "no such rate in the edge");
        // So low that no time of a test works off the debt.
        *text = text.replace(rate, "samples_per_second: 1, burst: 1");
        Ok(())
    })
    .await?;
    let client = |host: &str| stage.plain_client().with_header("host", host.as_bytes());
    let [limited, free] = ["team-a.metrics.example", "team-b.metrics.example"].map(client);
    expect_status(&limited, 10_001, 413, "more than 10000 series").await?;
    expect_status(&limited, 10_000, 200, "").await?;
    expect_status(&limited, 1, 429, "over the tenant's rate of 1 samples per second").await?;
    expect_status(&free, 10_001, 200, "").await?;
    expect_status(&free, 1, 200, "").await?;
    // A worker hands over what it has counted from time to time.
    wait::eventually("the limits that were hit to be counted", async || {
        let metrics = stage.envoy.metrics().await?;
        for limit in ["series", "rate"] {
            let hit = metrics.sum("ringside_limited_total", &[&format!("limit=\"{limit}\"")]);
            ensure!(hit == 1.0, "{limit}: {hit}");
        }
        Ok(())
    })
    .await?;
    stage.envoy.wait_idle().await?;
    stage.receivers.iter().for_each(|receiver| drop(receiver.take_parts()));
    stage.end().await
}

/// Limits are in the metadata of any place, and of several the first counts: what a filter before ours says, then the
/// route, then the host.
#[tokio::test(flavor = "multi_thread")]
async fn limits_of_the_route_and_of_a_filter_hold() -> Result<()> {
    let of_a_filter = r#"
http_filters:
- name: envoy.filters.http.set_metadata
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config
    metadata: [{metadata_namespace: ringside, value: {limits: {series_per_request: 5}}}]
"#;
    for (further, most) in [("", 7), (of_a_filter, 5)] {
        let stage = Stage::start_before(4, "virtual-hosts", |_, text| {
            let (host, route) = ("{tenant: team-b}", "{tenant: team-b-test}");
            ensure!(text.contains(host) && text.contains(route), "no such tenants in the edge");
            *text = text.replace(host, "{tenant: team-b, limits: {series_per_request: 9}}");
            *text = text.replace(route, "{tenant: team-b-test, limits: {series_per_request: 7}}");
            text.push_str(further);
            Ok(())
        })
        .await?;
        let client = stage.plain_client().with_header("host", b"team-b.metrics.example");
        let client = client.with_header("x-stage", b"test");
        expect_status(&client, most, 200, "").await?;
        expect_status(&client, most + 1, 413, &format!("more than {most} series")).await?;
        stage.envoy.wait_idle().await?;
        stage.receivers.iter().for_each(|receiver| drop(receiver.take_parts()));
        stage.end().await?;
    }
    Ok(())
}

/// Writes so many series, and judges the answer.
async fn expect_status(sender: &Sender, number: usize, expected: u16, words: &str) -> Result<()> {
    let now = clock::aligned(HOUR, MINUTE)?;
    let mut request = Vec::new();
    series("limits", number).iter().for_each(|labels| wire::series(&mut request, labels, &[(now, 1.0)]));
    let (status, headers, message) = sender.exchange(wire::snappy(&request)).await?;
    ensure!(status == expected && message.contains(words), "{number} series: {status} {message}");
    ensure!(headers.contains_key("retry-after") == (status == 429), "{headers:?}");
    Ok(())
}
