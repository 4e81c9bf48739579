//! Topology: one seeded stream of requests → one sidecar, and → one Prometheus 2.42 as remote-write receiver.
//!
//! Some requests go to the sidecar as remote write 2.0, with the same content. Both answer each request alike and hold the same samples afterwards, save for the differences that
//! [`difference`] lists. Both are asked through PromQL: the sidecar's directory is opened by a second Prometheus. By
//! promtool's dump the sidecar holds every float that was accepted, bit for bit, and no other; by its own dump, every
//! native histogram.
//!
//! `RINGSIDE_SEEDS=100..200` runs other seeds than the usual few; a failure names its seed.

pub(crate) mod compare;
mod difference;
mod histograms;
pub(crate) mod pair;
pub(crate) mod stream;
mod version_2;

use anyhow::{Context, Result};
use ringside_e2e::scratch::Scratch;

use difference::Differences;
use pair::Pair;
use stream::{Op, Stream};

use crate::kinds::OUT_OF_ORDER_WINDOW_MS;

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
    // Every second stream finds receivers that take nothing late.
    let window_ms = if seed.is_multiple_of(2) { OUT_OF_ORDER_WINDOW_MS } else { 0 };
    let mut pair = Pair::start(scratch.path(), window_ms).await?;
    let mut differences = Differences::default();
    for (number, op) in Stream::new(seed)?.enumerate() {
        match op {
            Op::Write(write) => {
                let answers = pair.send(&write).await;
                differences
                    .judge(&write, &answers)
                    .with_context(|| format!("request {number}: {write:?}"))?;
            }
            Op::Restart(end, newest) => pair.restart(end, newest).await?,
        }
    }
    compare::expect_same(&scratch, pair, window_ms, &differences).await?;
    println!("seed {seed}: {}", differences.summary());
    scratch.passed();
    Ok(())
}
