//! Topology: sender → one sidecar, killed and started again.
//!
//! A restart needs no more memory than the process had before, so that a sidecar which was killed for its memory
//! comes back in the same machine: by the kernel's count of its resident memory, and under a limit of its address
//! space. Nor does a log that nobody cut for many hours need more than a process that took the same hours.

use std::path::Path;

use anyhow::{Result, ensure};
use futures::TryStreamExt;
use ringside_e2e::clock::{BLOCK_RANGE, HOUR, MINUTE};
use ringside_e2e::contents::Labels;
use ringside_e2e::generator::{self, Answer, Sender};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::sidecar::{Setup, Sidecar};
use ringside_e2e::{clock, oracle, wire};
use ringside_tsdb::fs::RealFs;
use ringside_tsdb::{Options, Tsdb, WalSync, block};

const TENANT: &str = "team-a";
const SERIES: usize = 100_000;
const SERIES_PER_REQUEST: usize = 2_000;
const SENDERS: usize = 4;
const SCRAPES: i64 = 30;
const SCRAPE_MS: i64 = 15_000;
/// For noise: the allocator's arenas, threads that come and go.
const SLACK: f64 = 1.05;

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_needs_no_more_memory_than_there_was() -> Result<()> {
    let scratch = Scratch::new("restart-memory")?;
    let mut sidecar = Sidecar::start(scratch.path(), "ringside", &Setup::default()).await?;
    let sender = Sender::new(&sidecar.write_url(), Some(TENANT));
    let series = generator::series("load", SERIES);
    let start = clock::aligned(SCRAPES * SCRAPE_MS, SCRAPE_MS)?;
    for scrape in 0..SCRAPES {
        send(&sender, &series, start + scrape * SCRAPE_MS).await?;
    }
    let before = Peak::of(&sidecar)?;

    sidecar.process.kill9()?;
    sidecar.restart().await?;
    let after = Peak::of(&sidecar)?;
    println!("before {before:?}, after {after:?}");
    ensure!(
        after.resident as f64 <= before.resident as f64 * SLACK,
        "resident: {} bytes at most, and {} in the restart",
        before.resident,
        after.resident
    );

    sidecar.process.kill9()?;
    sidecar.process.limit_address_space((before.address_space as f64 * SLACK) as u64);
    sidecar.restart().await?;
    let last = start + SCRAPES * SCRAPE_MS;
    send(&sender, &series, last).await?;
    sidecar.process.kill9()?;
    let (mut seen, mut newest) = (0, 0);
    let copy = scratch.path().join("copy");
    oracle::copy_tsdb(&sidecar.tenant_dir(TENANT), &copy)?;
    oracle::dump_each(&copy, i64::MIN, |_, timestamp, _| {
        seen += 1;
        newest += usize::from(timestamp == last);
        Ok(())
    })?;
    ensure!(
        (seen, newest) == (SERIES * (SCRAPES as usize + 1), SERIES),
        "{seen} samples, {newest} of the last"
    );
    scratch.passed();
    Ok(())
}

/// Hours of a log that nobody cut.
const HOURS: i64 = 8;
const HOURS_SERIES: usize = 20_000;
const HOURS_SEGMENT_BYTES: u64 = 4 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_many_hours_needs_no_more_memory_than_the_hours() -> Result<()> {
    let scratch = Scratch::new("restart-memory-hours")?;
    let series = generator::series("load", HOURS_SERIES);
    let start = clock::aligned(HOURS * HOUR, BLOCK_RANGE)?;
    let times: Vec<i64> = (0..HOURS * HOUR / MINUTE).map(|scrape| start + scrape * MINUTE).collect();
    let setup = Setup { flags: vec!["--tsdb.retention=0d".to_owned()], ..Setup::default() };

    let mut attended = Sidecar::start(scratch.path(), "attended", &setup).await?;
    let sender = Sender::new(&attended.write_url(), Some(TENANT));
    for &time in &times {
        send(&sender, &series, time).await?;
    }
    let before = Peak::of(&attended)?;
    attended.process.kill9()?;

    write_unattended(&scratch.folder("unattended/data")?.join(TENANT), &series, &times)?;
    let unattended = Sidecar::start(scratch.path(), "unattended", &setup).await?;
    let after = Peak::of(&unattended)?;
    println!("before {before:?}, after {after:?}");
    let blocks = block::read_all(&RealFs, &unattended.tenant_dir(TENANT))?.0;
    ensure!(blocks.len() >= 2, "{} blocks of {HOURS} hours were cut before the start was done", blocks.len());
    ensure!(
        after.resident as f64 <= before.resident as f64 * SLACK,
        "resident: {} bytes at most, and {} for the log",
        before.resident,
        after.resident
    );
    let copy = scratch.path().join("copy");
    oracle::copy_tsdb(&unattended.tenant_dir(TENANT), &copy)?;
    let mut seen = 0;
    oracle::dump_each(&copy, i64::MIN, |_, _, _| {
        seen += 1;
        Ok(())
    })?;
    ensure!(seen == HOURS_SERIES * times.len(), "{seen} samples");
    scratch.passed();
    Ok(())
}

/// A storage that took writes, and of which nothing was cut or written to head chunk files.
fn write_unattended(dir: &Path, series: &[Labels], times: &[i64]) -> Result<()> {
    let options =
        Options { wal_segment_bytes: HOURS_SEGMENT_BYTES, wal_sync: WalSync::None, ..Options::default() };
    let tsdb = Tsdb::open(dir, options)?;
    let fields = |labels: &Labels| {
        let mut fields = Vec::new();
        labels.iter().for_each(|(name, value)| wire::label(&mut fields, name.as_bytes(), value.as_bytes()));
        fields
    };
    let fields: Vec<_> = series.iter().map(fields).collect();
    for &time in times {
        let mut appender = tsdb.appender()?;
        for (index, fields) in fields.iter().enumerate() {
            let series = appender.series(fields)?;
            appender.float(series, time, generator::value(index, time))?;
        }
        appender.commit().wait()?;
    }
    Ok(tsdb.close()?)
}

/// One scrape of all series.
async fn send(sender: &Sender, series: &[Labels], timestamp: i64) -> Result<()> {
    futures::stream::iter(series.chunks(SERIES_PER_REQUEST).enumerate().map(Ok))
        .try_for_each_concurrent(SENDERS, async |(number, some)| {
            let mut request = Vec::new();
            for (index, labels) in (number * SERIES_PER_REQUEST..).zip(some) {
                wire::series(&mut request, labels, &[(timestamp, generator::value(index, timestamp))]);
            }
            let answer = sender.post(wire::snappy(&request)).await;
            ensure!(matches!(answer, Answer::Status { code: 200..=299, .. }), "{answer:?}");
            Ok(())
        })
        .await
}

/// The most that a process has used so far, in bytes.
#[derive(Debug)]
struct Peak {
    resident: u64,
    address_space: u64,
}

impl Peak {
    fn of(sidecar: &Sidecar) -> Result<Self> {
        let process = &sidecar.process;
        Ok(Self { resident: process.peak_rss_bytes()?, address_space: process.peak_address_space_bytes()? })
    }
}
