//! Topology: generator → Envoy with the filter → three sidecars, RF=3, one of them stopped by SIGSTOP:
//! its sockets accept, and no answer comes before SIGCONT.
//!
//! The client's answer does not wait for the slow one, whose write is stored all the same. The filter would
//! wait for a sidecar longer than the sender waits for the filter, so an answer that waited would be none.

use std::time::Duration;

use anyhow::{Result, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::cluster::{Cluster, Layout};
use ringside_e2e::generator::{Generator, Load};
use ringside_e2e::http::Metrics;
use ringside_e2e::scratch::Scratch;
use ringside_e2e::wait;

const TENANT: &str = "team-a";
const SLOW: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sidecar_delays_nobody_and_misses_nothing() -> Result<()> {
    let scratch = Scratch::new("slow-replica")?;
    let layout = Layout { write_timeout: Duration::from_secs(60), ..Layout::default() };
    let cluster = Cluster::start(scratch.path(), &layout).await?;
    let generator = Generator::new(&cluster.envoy.write_url(), Load::new(TENANT, "load", 400));
    let start = clock::aligned(HOUR, MINUTE)?;
    generator.send(&[start]).await?;
    let warm = generator.ledger().everything_acknowledged().clone();
    for sidecar in &cluster.sidecars {
        sidecar.expect_exactly(TENANT, &warm).await?;
    }

    cluster.sidecars[SLOW].process.stop()?;
    generator.send(&[start + MINUTE]).await?;
    let resume = tokio::time::sleep(Duration::from_secs(5));
    generator.ledger().expect_no_failure()?;
    ensure!(cluster.sidecars[SLOW].process.is_stopped()?, "the slow sidecar ran before the answer");
    let acknowledged = generator.ledger().everything_acknowledged().clone();
    ensure!(acknowledged.sample_count() == 800, "{} samples", acknowledged.sample_count());
    for (index, sidecar) in cluster.sidecars.iter().enumerate() {
        let expected = if index == SLOW { &warm } else { &acknowledged };
        sidecar.expect_exactly(TENANT, expected).await?;
    }

    resume.await;
    let late = |metrics: &Metrics| metrics.sum("ringside_late_writes_total", &[r#"result="success""#]);
    let before = late(&cluster.envoy.metrics().await?);
    cluster.sidecars[SLOW].process.cont()?;
    cluster.sidecars[SLOW].expect_exactly(TENANT, &acknowledged).await?;
    wait::eventually("the filter's account of the late write", async || {
        let now = late(&cluster.envoy.metrics().await?);
        ensure!(now > before, "{before} late writes before, {now} now");
        Ok(())
    })
    .await?;
    scratch.passed();
    Ok(())
}
