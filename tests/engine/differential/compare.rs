//! Whether both stores hold the same.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use ringside_e2e::contents::Labels;
use ringside_e2e::oracle;
use ringside_e2e::prometheus::Server;
use ringside_e2e::scratch::Scratch;
use serde_json::Value;

use super::difference::Differences;
use super::pair::{Pair, TENANT, server_setup};
use super::stream::{SPAN, Stream};

/// An error unless the stores hold the same, save for intended differences.
pub(super) async fn expect_same(scratch: &Scratch, mut pair: Pair, differences: &Differences) -> Result<()> {
    let ours = pair.ours.dump(TENANT)?;
    let copy = scratch.path().join("opened-by-prometheus");
    oracle::copy_tsdb(&pair.ours.tenant_dir(TENANT), &copy)?;
    let reader = Server::start_with(&scratch.folder("reader")?, &copy, &server_setup()).await?;
    let (through_reader, through_theirs) = (answers(&reader).await?, answers(&pair.theirs).await?);
    drop(reader);

    pair.theirs.process.terminate().await?;
    let theirs = oracle::dump_copy(&pair.their_data, &scratch.path().join("their-copy"))?;
    ours.expect_equal("the sidecar's directory", &differences.expected(&theirs)?)?;

    // Both ends of the stream are far from the bounds of time, so what only one of them has is not in here.
    for (labels, theirs) in &through_theirs {
        let ours = through_reader.get(labels).with_context(|| format!("{labels:?} is not answered"))?;
        for (timestamp, sample) in theirs {
            let found = ours.get(timestamp);
            ensure!(found == Some(sample), "{labels:?} at {timestamp}: {found:?} instead of {sample}");
        }
        ensure!(ours.len() == theirs.len(), "{labels:?}: {} samples, {} expected", ours.len(), theirs.len());
    }
    ensure!(through_reader.len() == through_theirs.len(), "Prometheus answers more of our directory");
    Ok(())
}

/// Every sample of the stream's series as PromQL sees it, without stale markers: series → time → JSON.
async fn answers(server: &Server) -> Result<BTreeMap<Labels, BTreeMap<i64, String>>> {
    let query = format!("{{job=\"differential\",x0000=\"\"}}[{}ms]", 2 * SPAN);
    let mut answered = BTreeMap::new();
    for series in server.query(&query, Stream::END).await? {
        let labels: Labels = serde_json::from_value(series["metric"].clone())?;
        let mut samples = BTreeMap::new();
        for kind in ["values", "histograms"] {
            for sample in series[kind].as_array().into_iter().flatten() {
                let seconds = sample[0].as_f64().context("no time")?;
                let known = samples.insert((seconds * 1000.0).round() as i64, text(kind, &sample[1]));
                ensure!(known.is_none(), "{labels:?} has two samples at {seconds}");
            }
        }
        answered.insert(labels, samples);
    }
    Ok(answered)
}

fn text(kind: &str, value: &Value) -> String {
    format!("{kind} {value}")
}
