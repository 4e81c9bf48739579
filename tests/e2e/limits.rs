//! Topology: clients → Envoy with the filter, at one, two or four workers → receivers or sidecars, RF=3: three, to which
//! bodies go unchanged, and more, to which they are split.
//!
//! A tenant gets its rate whatever the number of workers, and the same answer to what is beyond a limit in either form.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::contents::Labels;
use ringside_e2e::envoy::Envoy;
use ringside_e2e::generator::{Answer, Sender, series};
use ringside_e2e::receiver::{Receiver, Reply};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::sidecar::{Setup, Sidecar};
use ringside_e2e::wire_v2::{Data, Request};
use ringside_e2e::{wait, wire, wire_v2};
use serde_json::json;

const RATE: f64 = 4_000.0;
/// A second's: who sends too little in one moment, for want of a processor, catches up.
const BURST: f64 = 4_000.0;
const SERIES: usize = 100;
/// For how long requests begin.
const SPAN: Duration = Duration::from_secs(6);
const CLIENTS: usize = 8;

/// Writes a limits file, and the flag that names it.
fn limits(scratch: &Scratch, yaml: &str) -> Result<String> {
    let file = scratch.path().join("limits.yaml");
    std::fs::write(&file, yaml)?;
    Ok(format!("--limits={}", file.display()))
}

fn labels(number: usize) -> Labels {
    Labels::from([("__name__".to_owned(), "limits".to_owned()), ("number".to_owned(), number.to_string())])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_gets_its_rate_at_any_number_of_workers() -> Result<()> {
    for workers in [1, 2, 4] {
        let scratch = Scratch::new(&format!("rate-{workers}"))?;
        let setup = Setup::default();
        let mut sidecars = Vec::new();
        for number in 0..4 {
            sidecars.push(Sidecar::start(scratch.path(), &format!("ringside-{number}"), &setup).await?);
        }
        let addresses: Vec<String> = sidecars.iter().map(|one| one.ring_address().to_string()).collect();
        let rings = json!([
            {"hashring": "three", "tenants": ["unchanged"], "endpoints": addresses[..3]},
            {"hashring": "four", "endpoints": addresses},
        ]);
        let limit = format!("default: {{samples_per_second: {RATE}, burst: {BURST}}}");
        let flags = [limits(&scratch, &limit)?];
        let envoy =
            Envoy::start_with_workers(&scratch.path().join("envoy"), &rings.to_string(), &flags, workers)
                .await?;
        wait::eventually("healthy sidecars", async || envoy.expect_all_healthy().await).await?;
        for tenant in ["unchanged", "split"] {
            let ratio = share_of_rate(&envoy, tenant).await?;
            eprintln!("{workers} workers, {tenant}: {ratio:.3} of the rate");
            ensure!((0.8..1.2).contains(&ratio), "{workers} workers, {tenant}: {ratio:.3} of the rate");
        }
        let lost = envoy.metrics().await?.sum("ringside_rate_charges_lost_total", &[]);
        ensure!(lost == 0.0, "{lost} charges lost");
        scratch.passed();
    }
    Ok(())
}

/// Sends as much as goes for some time, by connections that end up on every worker; how much of its rate the tenant
/// got in it.
async fn share_of_rate(envoy: &Envoy, tenant: &str) -> Result<f64> {
    let start = Instant::now();
    let now = clock::aligned(HOUR, MINUTE)?;
    let clients = (0..CLIENTS).map(|client| {
        let (url, tenant) = (envoy.write_url(), tenant.to_owned());
        tokio::spawn(async move {
            let (mut accepted, mut refused) = (0, 0);
            let mut timestamp = now;
            while start.elapsed() < SPAN {
                // A connection each, so that the kernel spreads them over the workers.
                let sender = Sender::new(&url, Some(&tenant));
                let mut request = Vec::new();
                for number in 0..SERIES {
                    wire::series(&mut request, &labels(client * SERIES + number), &[(timestamp, 1.0)]);
                }
                let (status, headers, message) = sender.exchange(wire::snappy(&request)).await?;
                timestamp += 1;
                match status {
                    200 => accepted += SERIES,
                    429 => {
                        ensure!(headers.contains_key("retry-after"), "no Retry-After");
                        refused += 1;
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    _ => anyhow::bail!("{status}: {message}"),
                }
            }
            Ok((accepted, refused))
        })
    });
    let (mut accepted, mut refused) = (0, 0);
    for client in clients.collect::<Vec<_>>() {
        let of_client = client.await??;
        accepted += of_client.0;
        refused += of_client.1;
    }
    ensure!(refused > 4 * CLIENTS, "the rate holds nobody back: {refused} refusals");
    Ok((accepted as f64 - BURST) / (RATE * SPAN.as_secs_f64()))
}

/// What a limit is about, and the answer that is owed.
struct Case {
    tenant: &'static str,
    body: Vec<u8>,
    is_v2: bool,
    status: u16,
    words: &'static str,
}

fn cases(now: i64) -> Result<Vec<Case>> {
    let body = |all: &[Labels]| {
        let mut request = Vec::new();
        all.iter().for_each(|labels| wire::series(&mut request, labels, &[(now, 1.0)]));
        wire::snappy(&request)
    };
    let with = |name: &str, value: &str| {
        let mut labels = labels(1);
        labels.insert(name.to_owned(), value.to_owned());
        labels
    };
    let case =
        |tenant, all: &[Labels], status, words| Case { tenant, body: body(all), is_v2: false, status, words };
    let many = series("limits", 21);
    let mut v2 = Request::default();
    for labels in [labels(0), with("a", "1"), with("long", &"v".repeat(21))] {
        let labels: Vec<_> = labels.into_iter().collect();
        v2.series(&labels, &Data { samples: vec![(now, 1.0)], ..Data::default() });
    }
    Ok(vec![
        case("series", &many[..20], 200, ""),
        case("series", &many, 413, "more than 20"),
        case("labels", &[labels(0), with("a", "1")], 200, ""),
        case(
            "labels",
            &[labels(0), {
                let mut l = with("a", "1");
                l.insert("b".to_owned(), "2".to_owned());
                l
            }],
            400,
            "more than 3 labels",
        ),
        case("labels", &[with("name_of_11_", "1")], 400, "a label name of 11 bytes, more than 10"),
        case("labels", &[with("a", &"v".repeat(21))], 400, "a label value of 21 bytes, more than 20"),
        Case {
            tenant: "labels",
            body: wire::snappy(&v2.encode()),
            is_v2: true,
            status: 400,
            words: "a label value of 21 bytes",
        },
        Case {
            tenant: "bytes",
            body: vec![0; 1025],
            is_v2: false,
            status: 413,
            words: "more than 1024 bytes",
        },
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_the_same_in_either_form() -> Result<()> {
    let scratch = Scratch::new("limits")?;
    let setup = Setup::default();
    let mut sidecars = Vec::new();
    for number in 0..4 {
        sidecars.push(Sidecar::start(scratch.path(), &format!("ringside-{number}"), &setup).await?);
    }
    let addresses: Vec<String> = sidecars.iter().map(|one| one.ring_address().to_string()).collect();
    let yaml = "tenants: {series: {series_per_request: 20}, bytes: {body_bytes: 1024},
                labels: {labels_per_series: 3, label_name_bytes: 10, label_value_bytes: 20}}";
    let flags = [limits(&scratch, yaml)?];
    let now = clock::aligned(HOUR, MINUTE)?;
    for (form, endpoints) in [("unchanged", &addresses[..3]), ("split", &addresses[..])] {
        let rings = json!([{ "endpoints": endpoints }]).to_string();
        let envoy = Envoy::start(&scratch.path().join(form), &rings, &flags).await?;
        wait::eventually("healthy sidecars", async || envoy.expect_all_healthy().await).await?;
        for Case { tenant, body, is_v2, status, words } in cases(now)? {
            let mut sender = Sender::new(&envoy.write_url(), Some(tenant));
            if is_v2 {
                let v2 = wire_v2::CONTENT_TYPE.as_bytes();
                sender = sender.with_header("content-type", v2);
            }
            let (found, headers, message) = sender.exchange(body).await?;
            ensure!(found == status && message.contains(words), "{form}, {words}: {found} {message}");
            if is_v2 {
                let written = headers.get("x-prometheus-remote-write-samples-written");
                ensure!(written.is_some_and(|written| written == "2"), "{form}: {headers:?}");
            }
        }
        wait::eventually("the limits to be counted", async || {
            let limited = envoy.metrics().await?;
            let hit = |limit: &str| limited.sum("ringside_limited_total", &[&format!("limit=\"{limit}\"")]);
            ensure!(hit("body_bytes") == 1.0, "{} bodies too long", hit("body_bytes"));
            ensure!((hit("series"), hit("labels")) == if form == "split" { (1.0, 4.0) } else { (0.0, 0.0) });
            ensure!(
                limited.sum("ringside_writes_total", &[&format!("form=\"{form}\"")]) > 0.0,
                "another form"
            );
            Ok(())
        })
        .await?;
    }
    scratch.passed();
    Ok(())
}

/// What is under way is bounded, and what a tenant may have of it: with every receiver silent, writes beyond either bound
/// are answered at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_bounded() -> Result<()> {
    let scratch = Scratch::new("in-flight")?;
    let receivers = Receiver::start_many(3).await?;
    let rings = Receiver::hashrings(&receivers);
    // Until all are sent, none is answered; a late write is given up after three times as long.
    let own = limits(&scratch, "tenants: {small: {in_flight_bytes: 300000}}")?;
    let flags = ["--write-timeout=8s".to_owned(), "--in-flight-bytes-max=1048576".to_owned(), own];
    let envoy = Envoy::start_with_workers(&scratch.path().join("envoy"), &rings, &flags, 1).await?;
    wait::eventually("healthy receivers", async || envoy.expect_all_healthy().await).await?;
    for receiver in &receivers {
        receiver.answer(Reply { delay: Duration::from_secs(60), ..Reply::default() });
    }
    // What does not compress: 200 KiB, three times. The length goes first.
    let mut body = vec![0x80, 0x80, 0x0d];
    body.resize(200 << 10, 0x80);
    let refused = async |tenant, writes: usize, words| {
        let sender = Sender::new(&envoy.write_url(), Some(tenant)).over_http2()?;
        let answers = (0..writes).map(|_| {
            let (sender, body) = (sender.clone(), body.clone());
            async move { sender.post(body).await }
        });
        let answers = futures::future::join_all(answers).await;
        let is_refused = |answer: &&Answer| matches!(answer, Answer::Status { code: 503, message } if message.contains(words));
        let refused = answers.iter().filter(is_refused).count();
        ensure!(refused == writes - 1, "all but one are refused, not {refused}: {answers:?}");
        Ok(())
    };
    let alone = refused("small", 5, "the tenant has more than 300000 bytes in flight");
    let further = async {
        wait::eventually("the small tenant's write", async || {
            ensure!(receivers.iter().all(|receiver| receiver.parts() > 0), "it is not there");
            Ok(())
        })
        .await?;
        refused("t", 8, "too many bytes are under way").await
    };
    tokio::try_join!(alone, further)?;
    wait::eventually("nothing to be under way", async || {
        let metrics = envoy.metrics().await?;
        for (limit, expected) in [("in_flight", 7.0), ("tenant_in_flight", 4.0)] {
            let limited = metrics.sum("ringside_limited_total", &[&format!("limit=\"{limit}\"")]);
            ensure!(limited == expected, "{limited} instead of {expected}: {limit}");
        }
        let bytes =
            metrics.sum("ringside_in_flight_bytes", &[]) + metrics.sum("ringside_late_write_bytes", &[]);
        ensure!(bytes == 0.0, "{bytes} bytes");
        let given_up = metrics.sum("ringside_late_writes_given_up_total", &[]);
        ensure!(given_up == 6.0, "two writes of three parts are given up, not {given_up}");
        Ok(())
    })
    .await?;
    scratch.passed();
    Ok(())
}
