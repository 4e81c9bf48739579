//! Whether both stores hold the same.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use ringside_e2e::clock::HOUR;
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
    let unambiguous = |mut answers: Answers| {
        for (labels, samples) in &mut answers {
            samples.retain(|timestamp, _| differences.is_unambiguous(labels, *timestamp));
        }
        answers
    };
    let through_reader = unambiguous(answers(&reader).await?);
    let through_theirs = unambiguous(answers(&pair.theirs).await?);
    let (our_exemplars, their_exemplars) = (exemplars(&reader).await?, exemplars(&pair.theirs).await?);
    ensure!(our_exemplars == their_exemplars, "exemplars {our_exemplars:?} instead of {their_exemplars:?}");
    reader.expect_no_corruption().await?;
    drop(reader);

    pair.theirs.process.terminate().await?;
    let theirs = oracle::dump_copy(&pair.their_data, &scratch.path().join("their-copy"))?;
    ours.expect_equal("the sidecar's directory", &differences.expected(&theirs)?)?;

    expect_same_answers(&through_reader, &through_theirs)
}

/// What PromQL sees of the stream's series: series → time → JSON.
pub(crate) type Answers = BTreeMap<Labels, BTreeMap<i64, String>>;

/// An error that names the first difference, unless there is none.
pub(crate) fn expect_same_answers(found: &Answers, expected: &Answers) -> Result<()> {
    for (labels, samples) in expected {
        let found = found.get(labels).with_context(|| format!("{labels:?} is not answered"))?;
        for (timestamp, sample) in samples {
            let found = found.get(timestamp);
            ensure!(found == Some(sample), "{labels:?} at {timestamp}: {found:?} instead of {sample}");
        }
        ensure!(found.len() == samples.len(), "{labels:?}: {} samples, not {}", found.len(), samples.len());
    }
    ensure!(found.len() == expected.len(), "{} series instead of {}", found.len(), expected.len());
    Ok(())
}

/// Asks for every sample of the stream's series. PromQL shows no stale markers.
pub(crate) async fn answers(server: &Server) -> Result<Answers> {
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

/// The exemplars of the last hour before the newest one, as JSON: no truncation of the log has reached them.
async fn exemplars(server: &Server) -> Result<BTreeSet<(i64, String)>> {
    let mut found = BTreeSet::new();
    for series in server.exemplars("{job=\"differential\"}", Stream::END).await? {
        for exemplar in series["exemplars"].as_array().into_iter().flatten() {
            let seconds = exemplar["timestamp"].as_f64().context("no time")?;
            let text = format!("{} {} {}", series["seriesLabels"], exemplar["labels"], exemplar["value"]);
            found.insert(((seconds * 1000.0).round() as i64, text));
        }
    }
    let newest = found.last().map_or(0, |(timestamp, _)| *timestamp);
    Ok(found.split_off(&(newest - HOUR, String::new())))
}

fn text(kind: &str, value: &Value) -> String {
    format!("{kind} {value}")
}
