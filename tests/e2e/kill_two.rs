//! Topology: generator → Envoy with the filter → three sidecars, RF=3, two of them killed.
//!
//! Without a quorum the client gets 503 within the write timeout, never 2xx and never silence; when the
//! two are back, its retries succeed.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::cluster::{Cluster, Layout};
use ringside_e2e::contents::copies;
use ringside_e2e::generator::{Generator, Load, Sender, series, value};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::{wait, wire};

const TENANT: &str = "team-a";
const WRITE_TIMEOUT: Duration = Duration::from_secs(3);
/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_the_answer_is_503_and_retries_mend_it() -> Result<()> {
    let scratch = Scratch::new("kill-two")?;
    let layout = Layout { write_timeout: WRITE_TIMEOUT, ..Layout::default() };
    let mut cluster = Cluster::start(scratch.path(), &layout).await?;
    let start = clock::aligned(HOUR, MINUTE)?;
    let generator = Generator::new(&cluster.envoy.write_url(), Load::new(TENANT, "load", 100));
    generator.send_range(start, start + 10_000, 1_000, 1).await?;
    generator.ledger().expect_no_failure()?;

    // Another tenant's series, so that these requests, which are never sent again, are told apart.
    let sender = Sender::new(&cluster.envoy.write_url(), Some("frozen"));
    for sidecar in &cluster.sidecars[1..] {
        sidecar.process.stop()?;
    }
    let mut request = Vec::new();
    wire::series(&mut request, &series("probe", 1)[0], &[(start, value(0, start))]);
    let asked = Instant::now();
    let answer = sender.post(wire::snappy(&request)).await;
    ensure!(answer.code() == Some(503), "two that say nothing: {answer:?}");
    ensure!(asked.elapsed() <= WRITE_TIMEOUT + SLACK, "the answer took {:?}", asked.elapsed());

    cluster.sidecars[1].process.kill9()?;
    cluster.sidecars[2].process.kill9()?;
    let sender = Sender::new(&cluster.envoy.write_url(), Some("prober"));
    for probe in 0..10 {
        let mut request = Vec::new();
        wire::series(&mut request, &series("probe", 1)[0], &[(start + probe, value(0, start + probe))]);
        let asked = Instant::now();
        let answer = sender.post(wire::snappy(&request)).await;
        ensure!(answer.code() == Some(503), "{answer:?}");
        ensure!(asked.elapsed() <= WRITE_TIMEOUT + SLACK, "the answer took {:?}", asked.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // A sender that retries, as Prometheus does.
    let before = generator.ledger().successes();
    let running = generator.start(start + 10_000, 1_000, Duration::from_millis(10));
    wait::eventually("a few refusals", async || {
        let failures = generator.ledger().failures();
        ensure!(failures >= 5, "{failures} refusals");
        Ok(())
    })
    .await?;
    ensure!(generator.ledger().successes() == before, "2xx without a quorum");
    cluster.sidecars[1].restart().await?;
    cluster.sidecars[2].restart().await?;
    wait::eventually("the retries to succeed", async || {
        let successes = generator.ledger().successes();
        ensure!(successes >= before + 10, "{successes} successes");
        Ok(())
    })
    .await?;
    running.stop().await?;

    let ledger = generator.ledger().clone();
    ledger.expect_no_refusal()?;
    let acknowledged = ledger.everything_acknowledged();
    let mut stores = Vec::new();
    for sidecar in &cluster.sidecars {
        let stored = sidecar.dump(TENANT)?;
        stored.expect_at_most(sidecar.name(), ledger.everything_sent())?;
        stores.push(stored);
    }
    let counted = copies(acknowledged, &stores);
    ensure!(counted.keys().all(|copies| *copies >= 2), "copies → samples: {counted:?}");
    for sidecar in &cluster.sidecars[1..] {
        let probes = sidecar.dump("prober")?.sample_count();
        ensure!(probes == 0, "{probes} refused probes are on {}, which was dead", sidecar.name());
    }
    scratch.passed();
    Ok(())
}
