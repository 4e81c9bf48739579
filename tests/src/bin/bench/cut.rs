//! A block is cut while writes go on: how long it takes, what writes notice of it, how much memory it needs, how
//! large the block is.
//!
//! Writes come at half the rate that the system has just kept up with, and a request's time counts from when it
//! was to be sent. First within one block's range, then beyond the three hours at which the range is due.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ringside_e2e::oracle;

use crate::figures::{Figure, Figures};
use crate::load::Load;
use crate::scenario::quantile_ms;
use crate::sender::{self, Pace};
use crate::system::{Kind, System, size_of};

/// How long writes are watched before the cut.
const BEFORE: Duration = Duration::from_secs(10);
/// How often the directories are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A cut is over when nothing temporary was seen for so long after the block came.
const QUIET: Duration = Duration::from_secs(4);
/// How long a cut may take.
const CUT_MAX: Duration = Duration::from_secs(300);
/// Data time at which the first range is due, and a bit.
const DUE_MS: i64 = 181 * 60_000;

/// Writes the scrapes from `next` on at `rate` requests per second and measures the cut of the first block.
pub(crate) async fn measure(
    system: &System,
    load: &Load,
    next: usize,
    rate: f64,
    figures: &mut Figures,
) -> Result<()> {
    let due = usize::try_from(DUE_MS / load.plan.interval_ms)?;
    let every = Duration::from_secs_f64(1.0 / rate);
    let scrapes = (BEFORE.as_secs_f64() * rate / load.places() as f64).ceil() as usize;
    let never = AtomicBool::new(false);
    let before = next..(next + scrapes).min(due - 2);
    let exchanges = sender::send_paced(&system.endpoint(), load, before, Pace { every, stop: &never })?;
    figures.insert(Figure::HalfLoadP99, quantile_ms(&exchanges, 0.99));
    if system.kind == Kind::VictoriaMetrics {
        return Ok(());
    }

    let over = AtomicBool::new(false);
    let (exchanges, cut) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(system, &over));
        let sent =
            sender::send_paced(&system.endpoint(), load, due..load.plan.scrapes, Pace { every, stop: &over });
        let cut = watcher.join().ok().context("the watcher panicked")?;
        Ok::<_, anyhow::Error>((sent?, cut?))
    })?;
    let during: Vec<_> = exchanges
        .into_iter()
        .filter(|exchange| exchange.start + exchange.took >= cut.start && exchange.start <= cut.end)
        .collect();
    ensure!(
        !during.is_empty(),
        "no write while the block was cut: there is not enough load for this machine"
    );
    figures.insert(Figure::CutP99, quantile_ms(&during, 0.99));
    figures.insert(Figure::CutSeconds, system.cut_seconds().await?);
    figures.insert(Figure::CutGrowth, (cut.peak as f64 / cut.before as f64 - 1.0) * 100.0);
    figures.insert(Figure::BlockPerSample, bytes_per_sample(&system.data())?);
    Ok(())
}

/// A cut as it is seen from outside: from the first sight of something temporary in the data directory to the last.
#[derive(Clone, Debug)]
struct Cut {
    start: Instant,
    end: Instant,
    /// Resident memory at the start, bytes.
    before: u64,
    /// The most between start and end, bytes.
    peak: u64,
}

/// Waits for a cut to begin and to end, then sets `over`.
fn watch(system: &System, over: &AtomicBool) -> Result<Cut> {
    let result = watch_until_over(system);
    over.store(true, Ordering::Relaxed);
    result
}

fn watch_until_over(system: &System) -> Result<Cut> {
    let (begin, data, process) = (Instant::now(), system.data(), &system.process);
    let mut seen = None::<Cut>;
    loop {
        let (now, temporary) = (Instant::now(), has_temporary(&data)? || has_temporary(&data.join("wal"))?);
        match &mut seen {
            None if temporary => {
                process.reset_peak_rss()?;
                let before = process.rss_bytes()?;
                seen = Some(Cut { start: now, end: now, before, peak: before });
            }
            Some(cut) if temporary => (cut.end, cut.peak) = (now, process.peak_rss_bytes()?),
            Some(cut) if cut.end.elapsed() > QUIET && !blocks(&data)?.is_empty() => return Ok(cut.clone()),
            _ => ensure!(begin.elapsed() < CUT_MAX, "no block was cut"),
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn has_temporary(folder: &Path) -> Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        if entry?.file_name().to_string_lossy().contains(".tmp") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn blocks(data: &Path) -> Result<Vec<PathBuf>> {
    let mut blocks = Vec::new();
    for entry in std::fs::read_dir(data)? {
        let entry = entry?;
        if oracle::is_block(&entry.file_name().to_string_lossy()) {
            blocks.push(entry.path());
        }
    }
    Ok(blocks)
}

/// Of all blocks together.
fn bytes_per_sample(data: &Path) -> Result<f64> {
    let (mut bytes, mut samples) = (0, 0);
    for block in blocks(data)? {
        bytes += size_of(&block)?;
        let meta: serde_json::Value = serde_json::from_slice(&std::fs::read(block.join("meta.json"))?)?;
        samples += meta["stats"]["numSamples"].as_u64().context("meta.json without numSamples")?;
    }
    ensure!(samples > 0, "the blocks are empty");
    Ok(bytes as f64 / samples as f64)
}
