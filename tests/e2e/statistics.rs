//! Topology: clients → Envoy with the filter → four receivers in this process, RF=3, in a ring of four and one of three.
//!
//! What dashboards and alerts of Thanos Receive ask for is there under its names, beside the filter's own; each
//! request leaves a line with its tenant, its series and its verdict; and who scrapes reaches nothing else of Envoy.

use anyhow::{Context, Result, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::envoy::Envoy;
use ringside_e2e::generator::{Sender, series};
use ringside_e2e::http;
use ringside_e2e::receiver::{Receiver, Reply};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::{wait, wire};
use serde_json::{Value, json};

/// A tenant with a ring of three, to which bodies go unchanged.
const UNCHANGED: &str = "unchanged";
const SPLIT: &str = "split";

#[tokio::test(flavor = "multi_thread")]
async fn numbers_and_lines_tell_what_happened() -> Result<()> {
    let scratch = Scratch::new("statistics")?;
    let receivers = Receiver::start_many(4).await?;
    let addresses: Vec<String> = receivers.iter().map(|one| one.address().to_string()).collect();
    let rings = json!([
        {"hashring": "three", "tenants": [UNCHANGED, "another"], "endpoints": addresses[..3]},
        {"hashring": "four.dots", "endpoints": addresses},
    ]);
    let limits = scratch.path().join("limits.yaml");
    std::fs::write(
        &limits,
        "default: {labels_per_series: 40, label_name_bytes: 50}\ntenants: {small: {body_bytes: 10}}",
    )?;
    let flags = ["--access-log=access.log".to_owned(), format!("--limits={}", limits.display())];
    let folder = scratch.path().join("envoy");
    let envoy = Envoy::start(&folder, &rings.to_string(), &flags).await?;
    wait::eventually("healthy receivers", async || envoy.expect_all_healthy().await).await?;

    let now = clock::aligned(HOUR, MINUTE)?;
    let mut request = Vec::new();
    for labels in series("statistics", 20) {
        wire::series(&mut request, &labels, &[(now, 1.0)]);
    }
    let body = wire::snappy(&request);
    for (tenant, reply, expected) in [
        (UNCHANGED, Reply { series: Some(20), ..Reply::new(200, "") }, 200),
        (SPLIT, Reply::new(200, ""), 200),
        (SPLIT, Reply::new(409, "out of order"), 409),
        (UNCHANGED, Reply::new(503, "no"), 503),
    ] {
        receivers.iter().for_each(|receiver| receiver.answer(reply.clone()));
        let answer = Sender::new(&envoy.write_url(), Some(tenant)).post(body.clone()).await;
        ensure!(answer.code() == Some(expected), "{answer:?}");
        envoy.wait_idle().await?;
    }
    let garbage = Sender::new(&envoy.write_url(), Some("a/b")).post(body.clone()).await;
    ensure!(garbage.code() == Some(400), "{garbage:?}");
    let mut labels = series("statistics", 1).remove(0);
    labels.insert("l".repeat(51), "v".to_owned());
    let mut beyond = Vec::new();
    wire::series(&mut beyond, &labels, &[(now, 1.0)]);
    let beyond = Sender::new(&envoy.write_url(), Some(SPLIT)).post(wire::snappy(&beyond)).await;
    ensure!(beyond.code() == Some(400), "{beyond:?}");
    let too_long = Sender::new(&envoy.write_url(), Some("small")).post(body.clone()).await;
    ensure!(too_long.code() == Some(413), "{too_long:?}");

    let expected = [
        ("thanos_receive_replications_total", &[r#"result="success""#][..], 2.0),
        ("thanos_receive_replications_total", &[r#"result="error""#], 3.0),
        ("thanos_receive_forward_requests_total", &[r#"result="success""#], 7.0),
        ("thanos_receive_forward_requests_total", &[r#"result="error""#], 7.0),
        ("thanos_receive_hashring_nodes", &[r#"name="three""#], 3.0),
        ("thanos_receive_hashring_nodes", &[r#"name="four_dots""#], 4.0),
        ("thanos_receive_hashring_tenants", &[r#"name="three""#], 2.0),
        ("thanos_receive_replication_factor", &[], 3.0),
        ("thanos_receive_hashrings_file_refreshes_total", &[], 1.0),
        ("thanos_receive_hashrings_file_changes_total", &[], 1.0),
        ("thanos_receive_hashrings_file_errors_total", &[], 0.0),
        ("thanos_receive_config_last_reload_successful", &[], 1.0),
        ("http_requests_total", &[r#"code="200""#, r#"handler="receive""#], 2.0),
        ("http_requests_total", &[r#"code="400""#, r#"handler="receive""#], 2.0),
        ("http_requests_total", &[r#"code="409""#, r#"handler="receive""#], 1.0),
        ("http_requests_total", &[r#"code="503""#, r#"handler="receive""#], 1.0),
        ("ringside_writes_total", &[r#"form="unchanged""#], 2.0),
        ("ringside_writes_total", &[r#"form="split""#], 3.0),
        ("ringside_limited_total", &[r#"limit="labels""#], 1.0),
        ("ringside_limited_total", &[r#"limit="body_bytes""#], 1.0),
        // The third of those that said 503.
        ("ringside_late_writes_given_up_total", &[], 1.0),
        ("ringside_parts_held_back_total", &[], 0.0),
    ];
    // What was counted is handed to Envoy once a tick.
    wait::eventually("the counts", async || {
        let metrics = envoy.metrics().await?;
        for (name, labels, expected) in expected {
            let found = metrics.sum(name, labels);
            ensure!(found == expected, "{name}{labels:?} is {found}, not {expected}");
        }
        Ok(())
    })
    .await?;
    let metrics = envoy.metrics().await?;
    let page = http::get_ok(&envoy.statistics_url()).await?;
    for name in [
        "thanos_receive_config_hash",
        "thanos_receive_config_last_reload_success_timestamp_seconds",
        "ringside_received_bytes_total",
        "ringside_forwarded_bytes_total",
        "ringside_late_writes_total",
        "ringside_late_write_bytes",
        "ringside_in_flight_bytes",
        "ringside_arriving_bytes",
        "ringside_clients_gone_total",
        "ringside_rate_charges_lost_total",
    ] {
        ensure!(page.lines().any(|line| line.starts_with(name)), "no {name}");
    }
    ensure!(!page.contains("wasmcustom"), "a name is not taken apart");
    let bytes = metrics.sum("ringside_received_bytes_total", &[]);
    ensure!(bytes >= 4.0 * body.len() as f64, "{bytes} bytes received");

    expect_lines(&folder).await?;
    expect_nothing_else(&envoy).await?;
    scratch.passed();
    Ok(())
}

/// The access log has a line for each request, in the order in which they ended.
async fn expect_lines(folder: &std::path::Path) -> Result<()> {
    let expected = [
        (json!(UNCHANGED), json!("20"), "stored", 200),
        (json!(SPLIT), json!("20"), "stored", 200),
        (json!(SPLIT), json!("20"), "conflict", 409),
        (json!(UNCHANGED), json!(null), "unavailable", 503),
        (json!(null), json!(null), "invalid", 400),
        (json!(SPLIT), json!("1"), "invalid", 400),
        (json!("small"), json!(null), "too_large", 413),
    ];
    wait::eventually("the access log", async || {
        let text = std::fs::read_to_string(folder.join("access.log"))?;
        let lines = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
        ensure!(lines.len() >= expected.len(), "{} lines", lines.len());
        for (line, (tenant, series, verdict, status)) in lines.iter().zip(&expected) {
            ensure!(line["tenant"] == *tenant && line["series"] == *series, "{line}");
            ensure!(line["verdict"] == *verdict && line["status"] == *status, "{line}");
        }
        Ok(())
    })
    .await
}

/// The statistics listener shows statistics, and does nothing.
async fn expect_nothing_else(envoy: &Envoy) -> Result<()> {
    let url = envoy.statistics_url();
    let base = url.strip_suffix("/metrics").context("an odd url")?;
    http::get_ok(&format!("{base}/ready")).await?;
    let client = reqwest::Client::new();
    for path in ["/", "/quitquitquit", "/config_dump", "/metrics/../quitquitquit", "/api/v1/receive"] {
        for method in [reqwest::Method::GET, reqwest::Method::POST] {
            let status = client.request(method.clone(), format!("{base}{path}")).send().await?.status();
            ensure!(status == 404, "{method} {path}: {status}");
        }
    }
    let status = client.post(&url).send().await?.status();
    ensure!(status == 404, "POST: {status}");
    Ok(())
}
