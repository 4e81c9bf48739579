//! Topology: generator → Envoy with the filter → three sidecars, RF=3 → S3, which is down when the
//! blocks are due.
//!
//! Writes go on without the bucket; each block is uploaded when it is back, once, also over a restart.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use ringside_e2e::clock::{self, BLOCK_RANGE, HOUR, MINUTE};
use ringside_e2e::cluster::{Cluster, Layout};
use ringside_e2e::generator::{Generator, Load};
use ringside_e2e::oracle::is_block;
use ringside_e2e::scratch::Scratch;
use ringside_e2e::sidecar::Sidecar;
use ringside_e2e::wait;

const TENANT: &str = "team-a";
const SPAN: i64 = 5 * HOUR + 10 * MINUTE;
const BLOCKS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_bucket_costs_nothing() -> Result<()> {
    let scratch = Scratch::new("bucket-outage")?;
    let mut cluster = Cluster::start(scratch.path(), &Layout { bucket: true, ..Layout::default() }).await?;
    let bucket = cluster.s3()?.bucket()?;
    cluster.s3()?.kill9()?;

    let generator = Generator::new(&cluster.envoy.write_url(), Load::new(TENANT, "load", 100));
    let start = clock::aligned(SPAN, BLOCK_RANGE)?;
    cluster.write_settled(&generator, start, start + SPAN, MINUTE, 5).await?;
    for sidecar in &cluster.sidecars {
        wait::eventually("the cut of the blocks, and failing uploads", async || {
            ensure!(local_blocks(sidecar)?.len() == BLOCKS, "blocks: {:?}", local_blocks(sidecar)?);
            // As in Thanos: a pass that failed, whatever part of an upload it was.
            let failures = sidecar.metrics().await?.sum("thanos_shipper_dir_sync_failures_total", &[]);
            ensure!(failures > 0.0, "{} does not say that uploads fail", sidecar.name());
            Ok(())
        })
        .await?;
    }
    // The head goes on as if nothing were.
    cluster.write_settled(&generator, start + SPAN, start + SPAN + 10 * MINUTE, MINUTE, 1).await?;
    generator.ledger().expect_no_failure()?;

    cluster.s3()?.restart().await?;
    let mut expected: Vec<String> = Vec::new();
    for sidecar in &cluster.sidecars {
        expected.extend(local_blocks(sidecar)?);
    }
    expected.sort();
    let uploaded = wait::eventually("every block in the bucket", async || {
        let blocks: Vec<String> = bucket.blocks().await?.into_iter().map(|block| block.ulid).collect();
        ensure!(blocks == expected, "in the bucket: {blocks:?}, cut: {expected:?}");
        bucket_state(&bucket).await
    })
    .await?;
    for sidecar in &cluster.sidecars {
        wait::eventually("the count of uploads", async || {
            let uploads = sidecar.metrics().await?.sum("thanos_shipper_uploads_total", &[]);
            ensure!(uploads == BLOCKS as f64, "{} counts {uploads} uploads", sidecar.name());
            Ok(())
        })
        .await?;
    }

    let acknowledged = generator.ledger().everything_acknowledged().clone();
    for sidecar in &mut cluster.sidecars {
        sidecar.process.terminate().await?;
        sidecar.restart().await?;
        sidecar.expect_exactly(TENANT, &acknowledged).await?;
        wait::eventually("a pass over the blocks after the restart", async || {
            let passes = sidecar.metrics().await?.sum("thanos_shipper_dir_syncs_total", &[]);
            ensure!(passes > 0.0, "no pass yet");
            Ok(())
        })
        .await?;
        let again = sidecar.metrics().await?.sum("thanos_shipper_uploads_total", &[]);
        ensure!(again == 0.0, "{} uploaded {again} blocks again", sidecar.name());
    }
    // Uploaded again, a meta.json would tell another time.
    ensure!(bucket_state(&bucket).await? == uploaded, "the bucket changed");
    scratch.passed();
    Ok(())
}

async fn bucket_state(bucket: &ringside_e2e::bucket::Bucket) -> Result<BTreeMap<String, String>> {
    Ok(bucket.blocks().await?.into_iter().map(|block| (block.ulid, block.meta.to_string())).collect())
}

fn local_blocks(sidecar: &Sidecar) -> Result<Vec<String>> {
    let mut blocks = Vec::new();
    for entry in std::fs::read_dir(sidecar.tenant_dir(TENANT))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if is_block(&name) {
            blocks.push(name);
        }
    }
    blocks.sort();
    Ok(blocks)
}
