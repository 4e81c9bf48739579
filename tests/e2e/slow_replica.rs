//! Topology: generator → Envoy with the filter → three sidecars, RF=3, one of them stopped by SIGSTOP:
//! its sockets accept, and no answer comes before SIGCONT.
//!
//! The client's answer does not wait for the slow one, whose write is stored all the same. What is
//! asserted is the order of events: the answer is here while the third sidecar is still stopped.

use std::time::Duration;

use anyhow::{Result, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::cluster::{Cluster, Layout};
use ringside_e2e::generator::{Generator, Load};
use ringside_e2e::scratch::Scratch;

const TENANT: &str = "team-a";
const SLOW: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sidecar_delays_nobody_and_misses_nothing() -> Result<()> {
    let scratch = Scratch::new("slow-replica")?;
    let layout = Layout { write_timeout: Duration::from_secs(20), ..Layout::default() };
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
    generator.ledger().expect_no_failure()?;
    ensure!(cluster.sidecars[SLOW].process.is_stopped()?, "the slow sidecar ran before the answer");
    let acknowledged = generator.ledger().everything_acknowledged().clone();
    ensure!(acknowledged.sample_count() == 800, "{} samples", acknowledged.sample_count());
    for (index, sidecar) in cluster.sidecars.iter().enumerate() {
        let expected = if index == SLOW { &warm } else { &acknowledged };
        sidecar.expect_exactly(TENANT, expected).await?;
    }

    tokio::time::sleep(Duration::from_secs(5)).await;
    cluster.sidecars[SLOW].process.cont()?;
    cluster.sidecars[SLOW].expect_exactly(TENANT, &acknowledged).await?;
    scratch.passed();
    Ok(())
}
