//! The end of the demo: what is stored, judged by `promtool`, and how to look further.

use anyhow::{Result, ensure};
use ringside_e2e::bucket::Block;
use ringside_e2e::contents::{Contents, copies};
use ringside_e2e::generator::Ledger;
use ringside_e2e::wait;

use crate::display::grouped;
use crate::run::{Demo, TENANT};

/// What the sidecars call a tenant that names none.
const DEFAULT_TENANT: &str = "default-tenant";

/// Checks everything, says what was checked, and stops everything in order.
pub(crate) async fn verify(demo: &mut Demo) -> Result<()> {
    println!("\nverified with promtool tsdb dump on copies, live WAL included:");
    let ledger = demo.generator.ledger().clone();
    ledger.expect_no_failure()?;
    demo.agent.expect_no_failure().await?;
    ok(&format!("no write failed: {} requests, all 2xx", count(ledger.successes())));

    let stores = sidecars(demo, &ledger)?;
    shipped(demo, &stores).await?;
    agent(demo).await?;
    stop(demo).await
}

/// Every acknowledged sample is on two sidecars at least, the killed one has what it could get, and none has
/// anything else.
fn sidecars(demo: &Demo, ledger: &Ledger) -> Result<Vec<Contents>> {
    let acknowledged = ledger.everything_acknowledged();
    let mut stores = Vec::new();
    for sidecar in &demo.cluster.sidecars {
        let stored = sidecar.dump(TENANT)?;
        stored.expect_at_most(sidecar.name(), acknowledged)?;
        let missed = acknowledged.sample_count() - stored.sample_count();
        let missed =
            if missed == 0 { "none missing".to_owned() } else { format!("{} missed", count(missed)) };
        let (name, samples) = (sidecar.name(), count(stored.sample_count()));
        ok(&format!("{name}: {samples} samples of {} series, {missed}", stored.series_count()));
        stores.push(stored);
    }
    let counted = copies(acknowledged, &stores);
    ensure!(counted.keys().all(|copies| *copies >= 2), "copies of acknowledged samples: {counted:?}");
    let three = counted.get(&3).copied().unwrap_or_default();
    let two = counted.get(&2).copied().unwrap_or_default();
    ok(&format!(
        "all {} acknowledged samples are stored: {} on three sidecars, {} on two, none on fewer",
        count(acknowledged.sample_count()),
        count(three),
        count(two)
    ));
    Ok(stores)
}

/// The blocks of a sidecar in the bucket are what the sidecar has, in the blocks' time.
async fn shipped(demo: &Demo, stores: &[Contents]) -> Result<()> {
    let blocks = demo.bucket.blocks().await?;
    for (sidecar, stored) in demo.cluster.sidecars.iter().zip(stores) {
        let own: Vec<Block> = blocks
            .iter()
            .filter(|block| block.external_label("replica") == Some(sidecar.name()))
            .filter(|block| block.external_label("tenant_id") == Some(TENANT))
            .cloned()
            .collect();
        let folder = demo.cluster.folder().join("bucket").join(sidecar.name());
        demo.bucket.download(&own, &folder).await?;
        let ranges = own.iter().map(Block::range).collect::<Result<Vec<_>>>()?;
        let due = stored.filter(|_, t| ranges.iter().any(|(min, max)| (*min..*max).contains(&t)));
        let found = ringside_e2e::oracle::dump(&folder)?;
        found.expect_equal(&format!("the bucket for {}", sidecar.name()), &due)?;
        ensure!(found.sample_count() > 0, "nothing of {} is in the bucket", sidecar.name());
        let samples = count(found.sample_count());
        ok(&format!("bucket, {}: {} blocks, {samples} samples, the same ones", sidecar.name(), own.len()));
    }
    Ok(())
}

/// What the agent has in its own WAL is on every sidecar, but for the time that one was dead.
async fn agent(demo: &Demo) -> Result<()> {
    demo.agent.wait_scraping().await?;
    demo.agent.stop_scraping()?;
    let copy = demo.cluster.folder().join("agent-copy");
    let scraped = wait::eventually("the agent's last samples", async || {
        let scraped = demo.agent.scraped(&copy)?;
        let stores =
            demo.cluster.sidecars.iter().map(|one| one.dump(DEFAULT_TENANT)).collect::<Result<Vec<_>>>()?;
        for (sidecar, stored) in demo.cluster.sidecars.iter().zip(&stores) {
            stored.expect_at_most(sidecar.name(), &scraped)?;
        }
        let counted = copies(&scraped, &stores);
        ensure!(counted.keys().all(|copies| *copies >= 2), "copies of the agent's samples: {counted:?}");
        Ok(scraped)
    })
    .await?;
    demo.agent.expect_no_failure().await?;
    let samples = count(scraped.sample_count());
    ok(&format!("agent: all {samples} samples of its WAL are on at least two sidecars, nothing else is"));
    Ok(())
}

async fn stop(demo: &mut Demo) -> Result<()> {
    for sidecar in &mut demo.cluster.sidecars {
        sidecar.process.terminate().await?;
    }
    ok("the sidecars ended cleanly on SIGTERM");
    Ok(())
}

/// Printed when nothing runs any more.
pub(crate) fn look_further() {
    println!("\nnothing is left running; to look further:");
    println!(
        "  what a sidecar stored     .tools/bin/promtool tsdb dump .demo/ringside-0/data/{TENANT} | head"
    );
    println!("  its blocks in the bucket  .tools/bin/promtool tsdb list -r .demo/bucket/ringside-0");
    println!("  Envoy's configuration     .demo/envoy/envoy.yaml, as `ringside hashring render` wrote it");
    println!("  logs                      .demo/*/*.log");
}

fn ok(text: &str) {
    println!("  ok  {text}");
}

fn count(number: usize) -> String {
    grouped(number as f64)
}
