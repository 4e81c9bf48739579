//! Topology: generator → one sidecar, directly; then a real Prometheus 2.42 on a copy of its directory.
//!
//! Prometheus answers PromQL over our head and our blocks, and compacts three of our blocks that fill an
//! aligned six hours.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringside_e2e::clock::{self, BLOCK_RANGE, HOUR, MINUTE};
use ringside_e2e::contents::{Contents, Labels};
use ringside_e2e::generator::{Generator, Load};
use ringside_e2e::oracle::{self, is_block};
use ringside_e2e::prometheus::Server;
use ringside_e2e::scratch::Scratch;
use ringside_e2e::sidecar::{Setup, Sidecar};
use ringside_e2e::wait;
use serde_json::Value;

const TENANT: &str = "team-a";
/// Three blocks for the aligned six hours, one newer block, and a head.
const SPAN: i64 = 9 * HOUR + 10 * MINUTE;

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_and_compacts_what_a_sidecar_wrote() -> Result<()> {
    let scratch = Scratch::new("prometheus-reads")?;
    let sidecar = Sidecar::start(scratch.path(), "ringside-0", &Setup::default()).await?;
    let generator = Generator::new(&sidecar.write_url(), Load::new(TENANT, "load", 96));
    let start = clock::aligned(SPAN, 6 * HOUR)?;
    generator.send_range(start, start + SPAN, MINUTE, 5).await?;
    let acknowledged = {
        let ledger = generator.ledger();
        ledger.expect_no_failure()?;
        ledger.everything_acknowledged().clone()
    };
    wait::eventually("four blocks", async || {
        let count = metas(&sidecar.tenant_dir(TENANT))?.len();
        ensure!(count == 4, "{count} blocks");
        Ok(())
    })
    .await?;

    let data = scratch.path().join("prometheus-data");
    oracle::copy_tsdb(&sidecar.tenant_dir(TENANT), &data)?;
    let server = Server::start(&scratch.folder("prometheus")?, &data).await?;
    // In each block, on both sides of a seam, and in the head.
    let times = [0, 1, 119, 120, 239, 240, 359, 360, 479, 480, 481, 549].map(|n| start + n * MINUTE);
    expect_answers(&server, &acknowledged, &times).await?;

    // Prometheus looks for work once a minute.
    wait::eventually_within(Duration::from_secs(240), "the compaction", async || {
        let metas = metas(&data)?;
        let compacted = metas.iter().find(|meta| meta["compaction"]["level"] == 2);
        let meta = compacted.with_context(|| format!("{} blocks, all of level 1", metas.len()))?;
        ensure!(meta["minTime"] == start && meta["maxTime"] == start + 3 * BLOCK_RANGE, "{meta}");
        ensure!(meta["compaction"]["sources"].as_array().map(Vec::len) == Some(3), "{meta}");
        ensure!(metas.len() == 2, "its {} sources are still there", metas.len() - 2);
        Ok(())
    })
    .await?;
    expect_answers(&server, &acknowledged, &times).await?;
    server.expect_no_corruption().await?;
    drop(server);
    oracle::dump(&data)?.expect_equal("the directory after Prometheus had it", &acknowledged)?;
    scratch.passed();
    Ok(())
}

/// Asks for every series at every time, and compares the values.
async fn expect_answers(server: &Server, expected: &Contents, times: &[i64]) -> Result<()> {
    for time in times {
        let mut answered = Contents::default();
        for series in server.query("{__name__=~\".+\"}", *time).await? {
            let labels: Labels = serde_json::from_value(series["metric"].clone())?;
            let value = series["value"][1].as_str().context("no value")?;
            answered.add(&labels, *time, value.parse()?)?;
        }
        let there = expected.filter(|_, t| t == *time);
        answered.expect_equal(&format!("Prometheus at {time}"), &there)?;
    }
    Ok(())
}

fn metas(data: &Path) -> Result<Vec<Value>> {
    let mut metas = Vec::new();
    for entry in std::fs::read_dir(data)? {
        let entry = entry?;
        if is_block(&entry.file_name().to_string_lossy()) {
            metas.push(serde_json::from_slice(&std::fs::read(entry.path().join("meta.json"))?)?);
        }
    }
    Ok(metas)
}
