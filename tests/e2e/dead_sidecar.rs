//! Topology: clients → Envoy with the filter → three sidecars, RF=3, of which one and then another hang: SIGSTOP, so that
//! their sockets accept and nothing comes back.
//!
//! The filter would wait for a sidecar longer than the client waits for the filter. So whoever gets an answer without a
//! quorum did not wait: what is dead is known to be, and costs no timeout any more.

use std::time::Duration;

use anyhow::{Result, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::cluster::{Cluster, Layout};
use ringside_e2e::generator::{Generator, Load, Sender, series};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::{wait, wire};

const TENANT: &str = "team-a";

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_sidecar_costs_no_timeout_after_the_first_seconds() -> Result<()> {
    let scratch = Scratch::new("dead-sidecar")?;
    let layout = Layout { write_timeout: Duration::from_secs(90), ..Layout::default() };
    let cluster = Cluster::start(scratch.path(), &layout).await?;
    let generator = Generator::new(&cluster.envoy.write_url(), Load::new(TENANT, "load", 200));
    let start = clock::aligned(HOUR, MINUTE)?;
    generator.send_range(start, start + 10_000, 1_000, 1).await?;

    cluster.sidecars[2].process.stop()?;
    generator.send(&[start + 10_000]).await?;
    expect_dead(&cluster, 1).await?;
    let mut now = start + 11_000;
    wait::eventually("twenty writes of which none waits for the dead one", async || {
        let before = in_flight(&cluster).await?;
        generator.send_range(now, now + 20_000, 1_000, 1).await?;
        now += 20_000;
        let after = in_flight(&cluster).await?;
        ensure!(after <= before, "{before} writes wait before, {after} after");
        Ok(())
    })
    .await?;
    generator.ledger().expect_no_failure()?;

    cluster.sidecars[1].process.stop()?;
    expect_dead(&cluster, 2).await?;
    let sender = Sender::new(&cluster.envoy.write_url(), Some("prober"));
    for probe in 0..20 {
        let mut request = Vec::new();
        wire::series(&mut request, &series("probe", 1)[0], &[(start + probe, 1.0)]);
        let answer = sender.post(wire::snappy(&request)).await;
        ensure!(answer.code() == Some(503), "{answer:?}");
    }

    for sidecar in &cluster.sidecars[1..] {
        sidecar.process.cont()?;
    }
    cluster.wait_all_healthy().await?;
    generator.send_range(now, now + 10_000, 1_000, 1).await?;
    generator.ledger().expect_no_failure()?;
    cluster.envoy.wait_idle().await?;
    scratch.passed();
    Ok(())
}

/// Waits until Envoy knows how many are dead.
async fn expect_dead(cluster: &Cluster, number: usize) -> Result<()> {
    wait::eventually("Envoy to know who is dead", async || {
        let metrics = cluster.envoy.metrics().await?;
        // Of the sidecars, and the admin page that the statistics come from.
        let healthy = metrics.sum("envoy_cluster_membership_healthy", &[]) - 1.0;
        let known = cluster.sidecars.len() - number;
        ensure!(healthy == known as f64, "{healthy} of {known} healthy");
        Ok(())
    })
    .await
}

/// How many writes are under way, by a statistic that follows within a tick.
async fn in_flight(cluster: &Cluster) -> Result<f64> {
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(cluster.envoy.metrics().await?.sum("ringside_writes_in_flight", &[]))
}
