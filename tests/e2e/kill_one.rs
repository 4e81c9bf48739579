//! Topology: generator → Envoy with the filter → five sidecars, RF=3; and for the second test a
//! generator that writes to one sidecar directly, so that its answers are the sidecar's own.
//!
//! kill -9 of one sidecar at a time: the client notices nothing, and nothing acknowledged is lost.

use std::time::Duration;

use anyhow::{Result, ensure};
use ringside_e2e::clock::{self, BLOCK_RANGE, HOUR};
use ringside_e2e::cluster::{Cluster, Layout};
use ringside_e2e::contents::{Contents, copies};
use ringside_e2e::generator::{Generator, Load, Retry};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::sidecar::{Setup, Sidecar};
use ringside_e2e::wait;

const TENANT: &str = "team-a";
const KILLS: usize = 12;
const STEP_MS: i64 = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_sidecar_changes_no_answer_and_loses_nothing() -> Result<()> {
    let scratch = Scratch::new("kill-one")?;
    let mut cluster = Cluster::start(scratch.path(), &Layout { sidecars: 5, ..Layout::default() }).await?;
    let load = Load { retry: Retry::Never, ..Load::new(TENANT, "load", 500) };
    let generator = Generator::new(&cluster.envoy.write_url(), load);
    let running = generator.start(clock::aligned(HOUR, BLOCK_RANGE)?, STEP_MS, Duration::from_millis(50));

    for kill in 0..KILLS {
        let victim = kill % cluster.sidecars.len();
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.sidecars[victim].process.kill9()?;
        let answered = generator.ledger().successes();
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        wait::eventually("a write that is answered while one is dead", async || {
            ensure!(generator.ledger().successes() > answered, "none while {victim} is");
            Ok(())
        })
        .await?;
        cluster.sidecars[victim].restart().await?;
        // One at a time: the next is not killed before Envoy has taken this one back.
        cluster.wait_all_healthy().await?;
    }
    running.stop().await?;

    let ledger = generator.ledger().clone();
    ledger.expect_no_failure()?;
    let acknowledged = ledger.everything_acknowledged();
    let before = dump_all(&cluster)?;
    for (index, (sidecar, stored)) in cluster.sidecars.iter().zip(&before).enumerate() {
        let mut allowed = Contents::default();
        for (labels, timestamp, value) in ledger.everything_sent().iter() {
            if cluster.owners(TENANT, labels)?.contains(&index) {
                allowed.add(labels, timestamp, value)?;
            }
        }
        stored.expect_at_most(sidecar.name(), &allowed)?;
    }
    let counted = copies(acknowledged, &before);
    ensure!(counted.keys().all(|copies| *copies >= 2), "copies → samples: {counted:?}");

    // Once more, all at the same time: what a sidecar has is on its disk.
    for sidecar in &mut cluster.sidecars {
        sidecar.process.kill9()?;
    }
    for sidecar in &mut cluster.sidecars {
        sidecar.restart().await?;
    }
    for ((after, before), sidecar) in dump_all(&cluster)?.iter().zip(&before).zip(&cluster.sidecars) {
        after.expect_equal(&format!("{} after another kill", sidecar.name()), before)?;
    }
    eprintln!("{} answers, copies → samples: {counted:?}", ledger.successes());
    scratch.passed();
    Ok(())
}

fn dump_all(cluster: &Cluster) -> Result<Vec<Contents>> {
    cluster.sidecars.iter().map(|sidecar| sidecar.dump(TENANT)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_sidecar_has_everything_that_it_acknowledged() -> Result<()> {
    let scratch = Scratch::new("restart")?;
    let mut sidecar = Sidecar::start(scratch.path(), "ringside-0", &Setup::default()).await?;
    let generator = Generator::new(&sidecar.write_url(), Load::new(TENANT, "load", 300));
    // A step of three minutes: blocks are cut in between, so some kills hit that. The pause keeps data
    // time, ten hours in a second at most, from ever catching up with the clock.
    let mut next = clock::aligned(14 * 24 * HOUR, BLOCK_RANGE)?;
    for _ in 0..8 {
        let running = generator.start(next, 3 * clock::MINUTE, Duration::from_millis(5));
        tokio::time::sleep(Duration::from_millis(700)).await;
        let acknowledged = generator.ledger().everything_acknowledged().clone();
        sidecar.process.kill9()?;
        let stored = sidecar.dump(TENANT)?;
        stored.expect_at_least("the directory of the killed sidecar", &acknowledged)?;
        sidecar.restart().await?;
        next = running.stop().await?;
    }
    let ledger = generator.ledger().clone();
    ledger.expect_no_refusal()?;
    sidecar.expect_exactly(TENANT, ledger.everything_acknowledged()).await?;
    ensure!(ledger.failures() > 0, "no kill hit a write: {:?}", ledger.answers());
    scratch.passed();
    Ok(())
}
