//! Whether both stores hold the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ringside_e2e::clock::HOUR;
use ringside_e2e::contents::Labels;
use ringside_e2e::oracle;
use ringside_e2e::prometheus::Server;
use ringside_e2e::scratch::Scratch;
use serde_json::Value;

use super::difference::Differences;
use super::pair::{Pair, TENANT, server_with};
use super::stream::{SPAN, Stream};

/// An error unless the stores hold the same, save for intended differences.
pub(super) async fn expect_same(
    scratch: &Scratch,
    mut pair: Pair,
    window_ms: i64,
    differences: &Differences,
) -> Result<()> {
    let ours = pair.ours.dump(TENANT)?;
    let copy = scratch.path().join("opened-by-prometheus");
    oracle::copy_tsdb(&pair.ours.tenant_dir(TENANT), &copy)?;
    differences.expect_histograms(&dumped_histograms(&copy)?)?;
    let reader = Server::start_with(&scratch.folder("reader")?, &copy, &server_with(window_ms)).await?;
    let shared = |mut answers: Answers| {
        for (labels, samples) in &mut answers {
            samples.retain(|timestamp, _| differences.is_shared(labels, *timestamp));
        }
        answers
    };
    let mut through_reader = shared(answers(&reader).await?);
    let mut through_theirs = shared(answers(&pair.theirs).await?);
    pass_over_confused(&mut through_theirs, &through_reader, differences);
    pass_over_lost(&mut through_reader, &through_theirs);
    let (our_exemplars, their_exemplars) = (exemplars(&reader).await?, exemplars(&pair.theirs).await?);
    let (more, fewer) = (&our_exemplars - &their_exemplars, &their_exemplars - &our_exemplars);
    // Prometheus 2.42 does not keep every exemplar that it acknowledges over a restart.
    ensure!(
        fewer.is_empty() && more.iter().all(|(_, text)| differences.has_exemplar(text)),
        "exemplars {more:?}, but not {fewer:?}"
    );
    reader.expect_no_corruption().await?;
    drop(reader);

    pair.theirs.process.terminate().await?;
    let theirs = oracle::dump_copy(&pair.their_data, &scratch.path().join("their-copy"))?;
    let expected = differences.expected()?;
    ours.expect_equal("the sidecar's directory", &expected)?;
    // promtool 2.42 passes over what the log has before the end of a block of late samples, so there may be less.
    let theirs = theirs.filter(|labels, timestamp| differences.is_shared(labels, timestamp));
    theirs.expect_at_most("Prometheus' directory", &expected)?;

    expect_same_answers(&through_reader, &through_theirs)
}

/// Prometheus 2.42 shows what it read last, of any series, in place of an empty or a stale histogram. Such a one becomes
/// what the sidecar has, which is held against what was sent.
fn pass_over_confused(theirs: &mut Answers, ours: &Answers, differences: &Differences) {
    for (labels, samples) in theirs {
        let ours = ours.get(labels);
        samples.retain(|timestamp, text| {
            if !differences.is_empty_histogram(labels, *timestamp) {
                return true;
            }
            let sent = ours.and_then(|ours| ours.get(timestamp));
            sent.is_some_and(|sent| {
                text.clone_from(sent);
                true
            })
        });
    }
}

/// Prometheus 2.42 loses samples that it acknowledged: some in each of many series when it starts again, and histograms of
/// a request that has several. Such ones are held against what was sent alone.
fn pass_over_lost(ours: &mut Answers, theirs: &Answers) {
    let mut lost = 0;
    for (labels, samples) in ours {
        let Some(theirs) = theirs.get(labels) else { continue };
        samples.retain(|timestamp, _| {
            let is_lost = !theirs.contains_key(timestamp);
            lost += usize::from(is_lost);
            !is_lost
        });
    }
    if lost > 0 {
        println!("Prometheus lost {lost} samples");
    }
}

/// Leaves of histograms that they are there: Prometheus may have confused them in one of two readings.
pub(crate) fn forget_histograms(answers: &mut Answers) {
    let samples = answers.values_mut().flat_map(BTreeMap::values_mut);
    samples.filter(|text| text.starts_with(HISTOGRAM)).for_each(String::clear);
}

/// The histograms of a directory that nobody writes to, as `ringside tsdb dump` prints them.
pub(crate) fn dumped_histograms(dir: &Path) -> Result<Answers> {
    let mut histograms = Answers::new();
    oracle::dump_text(oracle::Reader::Ringside, dir, i64::MIN, |labels, timestamp, value| {
        if value.starts_with('{') {
            histograms.entry(labels.clone()).or_default().insert(timestamp, value.to_owned());
        }
        Ok(())
    })?;
    Ok(histograms)
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
        for kind in ["values", HISTOGRAM] {
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

/// In front of the JSON of a histogram.
const HISTOGRAM: &str = "histograms";

fn text(kind: &str, value: &Value) -> String {
    format!("{kind} {value}")
}
