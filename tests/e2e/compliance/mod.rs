//! Topology: a client → Envoy with the filter → sidecars, RF=3: three, to which bodies go unchanged, and five, for which
//! they are split.
//!
//! The receiver cases of the public suite `prometheus/compliance`, under the names of its functions and subtests. Each
//! answer has to be one that the suite takes, and the very one that is given here; what is counted as written is what
//! the sidecars then hold, on three of them. As the suite's requests are, these are sent one after the other for the
//! same few series, with the time of the clock, and labels in any order.

mod case;
mod combined;
mod exemplars;
mod histograms;
mod metadata;
mod requests;
mod samples;
mod series;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use reqwest::header::HeaderMap;
use ringside_e2e::clock;
use ringside_e2e::cluster::{Cluster, Layout};
use ringside_e2e::contents::{Contents, copies};
use ringside_e2e::generator::Sender;
use ringside_e2e::oracle::{self, Reader};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::sidecar::Sidecar;
use ringside_e2e::wire_v2::WRITTEN;

use case::{Case, Given, Version};
use series::Written;

const TENANT: &str = "team-compliance";
/// The suite's functions.
const FUNCTIONS: usize = 39;
/// What they send to a receiver.
const REQUESTS: usize = 205;

/// In the order in which the suite runs its files.
fn cases() -> Vec<Case> {
    [
        combined::cases(),
        exemplars::cases(),
        histograms::cases(),
        metadata::cases(),
        samples::cases(),
        requests::cases(),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_receiver_case_of_the_suite() -> Result<()> {
    let cases = cases();
    let functions: BTreeSet<_> = cases.iter().map(|case| case.function).collect();
    ensure!(functions.len() == FUNCTIONS, "{} functions: {functions:?}", functions.len());
    let requests: usize = cases.iter().map(Case::sendings).sum();
    ensure!(requests == REQUESTS, "{requests} requests");
    for sidecars in [3, 5] {
        let scratch = Scratch::new(&format!("compliance-{sidecars}"))?;
        let layout = Layout { sidecars, ..Layout::default() };
        let cluster = Cluster::start(scratch.path(), &layout).await?;
        let mut run = Run::new(&cluster);
        for case in &cases {
            run.send(case).await?;
        }
        let failures = run.failures.join("\n");
        ensure!(failures.is_empty(), "with {sidecars} sidecars:\n{failures}");
        for sidecar in &cluster.sidecars {
            run.found.push(stored(sidecar, &scratch)?);
        }
        run.expect_stored()?;
        scratch.passed();
    }
    Ok(())
}

/// Samples of both kinds; for the value of a histogram there is 0.
#[derive(Default)]
struct Stored {
    floats: Contents,
    histograms: Contents,
}

/// One run of the suite.
struct Run<'c> {
    cluster: &'c Cluster,
    random: fastrand::Rng,
    last_ms: i64,
    failures: Vec<String>,
    expected: Stored,
    /// Of each sidecar.
    found: Vec<Stored>,
}

impl<'c> Run<'c> {
    fn new(cluster: &'c Cluster) -> Self {
        Self {
            cluster,
            random: fastrand::Rng::with_seed(cluster.sidecars.len() as u64),
            last_ms: 0,
            failures: Vec::new(),
            expected: Stored::default(),
            found: Vec::new(),
        }
    }

    /// Sends a case as often as the suite does. An answer that is wrong is noted, so that the others are seen too.
    async fn send(&mut self, case: &Case) -> Result<()> {
        let version = if case.version == Version::V2 { "2.0.0" } else { "" };
        let sender = Sender::new(&self.cluster.envoy.write_url(), Some(TENANT))
            .with_header("content-type", case.content_type().as_bytes())
            .with_header("content-encoding", case.content_encoding.as_bytes())
            .with_header("x-prometheus-remote-write-version", version.as_bytes());
        for sending in 0..case.sendings() {
            // No two requests of a series have the same time.
            let now = clock::now()?.max(self.last_ms + 1);
            self.last_ms = now;
            let (status, headers, message) = sender.exchange(case.body(now, &mut self.random)).await?;
            if let Err(error) = judge(case, sending, status, &headers) {
                let Case { function, subtest, .. } = case;
                self.failures.push(format!(
                    "{function}/{subtest}, sending {}: {error:#}; it was {status} {headers:?} {message:?}",
                    sending + 1
                ));
            }
            self.note_stored(case, sending, now)?;
            self.cluster.envoy.wait_idle().await?;
        }
        Ok(())
    }

    /// Notes what has to be stored of a case.
    fn note_stored(&mut self, case: &Case, sending: usize, now: i64) -> Result<()> {
        if case.given != Given::Verdict {
            return Ok(());
        }
        for series in &case.series {
            let ([samples, histograms, _], labels) = (series.written(sending), series.sorted());
            if samples > 0 {
                for (at, value) in &series.data.samples {
                    self.expected.floats.add(&labels, now + at, *value)?;
                }
            }
            if histograms > 0 {
                for histogram in &series.data.histograms {
                    self.expected.histograms.add(&labels, now + histogram.timestamp, 0.0)?;
                }
            }
        }
        Ok(())
    }

    /// Exactly what was counted is stored, with three copies.
    fn expect_stored(self) -> Result<()> {
        let (floats, histograms): (Vec<_>, Vec<_>) =
            self.found.into_iter().map(|stored| (stored.floats, stored.histograms)).unzip();
        for (what, expected, found) in
            [("floats", self.expected.floats, floats), ("histograms", self.expected.histograms, histograms)]
        {
            let mut union = Contents::default();
            found.iter().try_for_each(|one| union.merge(one))?;
            union.expect_equal(what, &expected)?;
            let count = copies(&expected, &found);
            ensure!(count == BTreeMap::from([(3, expected.sample_count())]), "copies of {what}: {count:?}");
        }
        Ok(())
    }
}

/// An error unless the suite takes this answer, and it is the one that is given.
fn judge(case: &Case, sending: usize, status: u16, headers: &HeaderMap) -> Result<()> {
    let mut counts = [None; 3];
    for (name, count) in WRITTEN.into_iter().zip(&mut counts) {
        if let Some(value) = headers.get(name) {
            *count = Some(value.to_str()?.parse().context(name)?);
        }
    }
    let is_strict = case.is_repeated && sending == 0;
    case.asked.judge(is_strict, status, counts.map(Option::unwrap_or_default))?;
    let (expected, written): (u16, Option<Written>) = case.answer(sending);
    ensure!(status == expected, "{expected} is given here");
    let written = written.map_or([None; 3], |written| written.map(Some));
    ensure!(counts == written, "{written:?} is given here, not {counts:?}");
    Ok(())
}

/// Floats as `promtool` finds them, which passes over histograms, and histograms as `ringside` does.
fn stored(sidecar: &Sidecar, scratch: &Scratch) -> Result<Stored> {
    let copy = scratch.path().join(format!("copy-{}", sidecar.name()));
    oracle::copy_tsdb(&sidecar.tenant_dir(TENANT), &copy)?;
    let mut histograms = Contents::default();
    oracle::dump_text(Reader::Ringside, &copy, i64::MIN, |labels, timestamp, value| {
        match value.starts_with('{') {
            true => histograms.add(labels, timestamp, 0.0),
            false => Ok(()),
        }
    })?;
    Ok(Stored { floats: sidecar.dump(TENANT)?, histograms })
}
