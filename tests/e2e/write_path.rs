//! Topology: a Prometheus agent (tenant by default) and a generator (tenant `team-a`) → Envoy with the
//! filter → three sidecars, RF=3 → S3.
//!
//! What was acknowledged is what is stored: on each sidecar with the live WAL, and in the bucket.

use anyhow::{Result, ensure};
use ringside_e2e::bucket::Block;
use ringside_e2e::clock::{self, BLOCK_RANGE, HOUR, MINUTE};
use ringside_e2e::cluster::{Cluster, Layout};
use ringside_e2e::contents::Contents;
use ringside_e2e::generator::{Generator, Load};
use ringside_e2e::prometheus::{Agent, AgentSetup};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::sidecar::Sidecar;
use ringside_e2e::wait;

const TENANT: &str = "team-a";
/// What the sidecars call a tenant that names none.
const DEFAULT_TENANT: &str = "default-tenant";
/// A block is cut when the head spans three hours: 5 h 10 min make two.
const SPAN: i64 = 5 * HOUR + 10 * MINUTE;
const BLOCKS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_what_is_stored() -> Result<()> {
    let scratch = Scratch::new("write-path")?;
    let mut cluster = Cluster::start(scratch.path(), &Layout { bucket: true, ..Layout::default() }).await?;
    let agent = Agent::start(
        &scratch.folder("agent")?,
        AgentSetup {
            write_url: &cluster.envoy.write_url(),
            tenant: None,
            targets: cluster.sidecars.iter().map(Sidecar::http_address).collect(),
        },
    )
    .await?;

    let generator = Generator::new(&cluster.envoy.write_url(), Load::new(TENANT, "load", 160));
    let start = clock::aligned(SPAN, BLOCK_RANGE)?;
    cluster.write_settled(&generator, start, start + SPAN, MINUTE, 5).await?;
    let acknowledged = {
        let ledger = generator.ledger();
        ledger.expect_no_failure()?;
        ledger.everything_acknowledged().clone()
    };
    for sidecar in &cluster.sidecars {
        sidecar.expect_exactly(TENANT, &acknowledged).await?;
    }

    let bucket = cluster.s3()?.bucket()?;
    for sidecar in &cluster.sidecars {
        let blocks = wait::eventually(&format!("the blocks of {}", sidecar.name()), async || {
            let mut blocks = bucket.blocks().await?;
            blocks.retain(|block| belongs(block, sidecar.name()));
            ensure!(blocks.len() == BLOCKS, "{} blocks of {}", blocks.len(), sidecar.name());
            Ok(blocks)
        })
        .await?;
        for block in &blocks {
            expect_complete(block)?;
        }
        let shipped = bucket.dump(&blocks, &scratch.path().join("shipped")).await?;
        let due = acknowledged.filter(|_, t| t < start + BLOCK_RANGE * BLOCKS as i64);
        shipped.expect_equal(&format!("the bucket for {}", sidecar.name()), &due)?;
    }

    agent.wait_scraping().await?;
    agent.stop_scraping()?;
    wait::eventually("every sidecar to have exactly what the agent scraped", async || {
        let scraped = agent.scraped(&scratch.path().join("agent-copy"))?;
        for sidecar in &cluster.sidecars {
            sidecar.dump(DEFAULT_TENANT)?.expect_equal(sidecar.name(), &scraped)?;
        }
        Ok(())
    })
    .await?;
    agent.expect_no_failure().await?;
    for sidecar in &cluster.sidecars {
        ensure!(sidecar.tenants()? == [DEFAULT_TENANT, TENANT], "tenants: {:?}", sidecar.tenants()?);
    }
    scratch.passed();
    Ok(())
}

fn belongs(block: &Block, replica: &str) -> bool {
    block.external_label("tenant_id") == Some(TENANT)
        && block.external_label("replica") == Some(replica)
        && block.external_label("cluster") == Some("e2e")
}

/// What Thanos reads besides the samples: the level, the source, and the list of files.
fn expect_complete(block: &Block) -> Result<()> {
    let meta = &block.meta;
    ensure!(meta["ulid"] == block.ulid.as_str(), "ulid in {meta}");
    ensure!(meta["version"] == 1 && meta["compaction"]["level"] == 1, "version or level in {meta}");
    ensure!(meta["compaction"]["sources"][0] == block.ulid.as_str(), "sources in {meta}");
    ensure!(meta["thanos"]["downsample"]["resolution"] == 0, "resolution in {meta}");
    let listed = meta["thanos"]["files"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut listed: Vec<&str> = listed.iter().filter_map(|file| file["rel_path"].as_str()).collect();
    listed.sort_unstable();
    ensure!(listed == block.objects, "files {listed:?}, objects {:?}", block.objects);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_samples_twice_are_stored_once() -> Result<()> {
    let scratch = Scratch::new("twice")?;
    let cluster = Cluster::start(scratch.path(), &Layout::default()).await?;
    let generator = Generator::new(&cluster.envoy.write_url(), Load::new(TENANT, "load", 40));
    let start = clock::aligned(HOUR, MINUTE)?;
    // The last step again is a retry after a lost answer; it is no error.
    for step in [0, 1, 2, 2, 3, 3, 3] {
        generator.send(&[start + step * MINUTE]).await?;
        cluster.envoy.wait_idle().await?;
    }
    let acknowledged: Contents = {
        let ledger = generator.ledger();
        ledger.expect_no_failure()?;
        ledger.everything_acknowledged().clone()
    };
    ensure!(acknowledged.sample_count() == 40 * 4, "{} samples", acknowledged.sample_count());
    for sidecar in &cluster.sidecars {
        sidecar.expect_exactly(TENANT, &acknowledged).await?;
    }
    scratch.passed();
    Ok(())
}
