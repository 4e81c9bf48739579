//! Topology: one seeded stream of requests → one sidecar, and → one Prometheus 2.42 as remote-write receiver.
//!
//! Both answer each request alike and hold the same samples afterwards, save for the differences that
//! [`difference`] lists. Floats are compared by promtool's dump of both directories. What the dump does not show
//! (native histograms, and which NaN is a stale marker) is compared by asking both through PromQL: the sidecar's
//! directory is opened by a second Prometheus.
//!
//! `RINGSIDE_SEEDS=100..200` runs other seeds than the usual few; a failure names its seed.

pub(crate) mod compare;
mod difference;
mod histograms;
pub(crate) mod pair;
pub(crate) mod stream;

use anyhow::{Context, Result};
use ringside_e2e::scratch::Scratch;

use difference::Differences;
use pair::Pair;
use stream::{Op, Stream};

/// The seeds of an ordinary run.
const SEEDS: std::ops::Range<u64> = 0..4;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_requests_leave_what_prometheus_holds() -> Result<()> {
    for seed in seeds()? {
        run(seed).await.with_context(|| format!("seed {seed}: RINGSIDE_SEEDS={seed}..{}", seed + 1))?;
    }
    Ok(())
}

fn seeds() -> Result<std::ops::Range<u64>> {
    let Ok(text) = std::env::var("RINGSIDE_SEEDS") else { return Ok(SEEDS) };
    let (first, end) = text.split_once("..").context("RINGSIDE_SEEDS is first..end")?;
    Ok(first.parse()?..end.parse()?)
}

async fn run(seed: u64) -> Result<()> {
    let scratch = Scratch::new(&format!("differential-{seed}"))?;
    let mut pair = Pair::start(scratch.path()).await?;
    let mut differences = Differences::default();
    for (number, op) in Stream::new(seed)?.enumerate() {
        match op {
            Op::Write(write) => {
                let answers = pair.send(&write).await;
                differences
                    .judge(&write, &answers)
                    .with_context(|| format!("request {number}: {write:?}"))?;
            }
            Op::Restart(end) => pair.restart(end).await?,
        }
    }
    compare::expect_same(&scratch, pair, &differences).await?;
    println!("seed {seed}: {}", differences.summary());
    scratch.passed();
    Ok(())
}
