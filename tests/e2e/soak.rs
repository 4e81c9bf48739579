//! Topology: senders at half of full speed → Envoy with the filter, which follows a file → five sidecars, RF=3. One of
//! them is restarted every 20 seconds, by turns killed and asked to end; every minute the ring grows or shrinks.
//!
//! No request fails, and Envoy's memory stays where it is. A minute by default; `make soak` has ten.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::contents::Labels;
use ringside_e2e::envoy::Envoy;
use ringside_e2e::generator::{Answer, Sender, series, value};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::sidecar::{Setup, Sidecar};
use ringside_e2e::{wait, wire};
use serde_json::json;

const SENDERS: usize = 4;
const SERIES_PER_REQUEST: usize = 500;
const STEP_MS: i64 = 10;
const RESTART_EVERY: Duration = Duration::from_secs(20);
const MINUTES: Duration = Duration::from_secs(60);
/// How many sidecars the ring has by turns.
const RINGS: [usize; 2] = [4, 5];
/// What Envoy may still grow by once it has seen everything.
const GROWTH_MAX: u64 = 32 << 20;

/// What came of a run.
struct Changed {
    /// Envoy's memory in bytes, when a third of the time, but not more than a minute, was over, and in the end.
    settled: u64,
    end: u64,
    restarts: u32,
}

struct Stage {
    sidecars: Vec<Sidecar>,
    envoy: Envoy,
    hashrings: PathBuf,
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_and_rings_fail_no_request_and_envoy_does_not_grow() -> Result<()> {
    let seconds = std::env::var("RINGSIDE_SOAK_SECONDS").unwrap_or_else(|_| "60".to_owned());
    let duration = Duration::from_secs(seconds.parse().context("RINGSIDE_SOAK_SECONDS")?);
    let scratch = Scratch::new("soak")?;
    let mut stage = Stage::start(scratch.path()).await?;
    let load = Load { start: Instant::now(), stop: AtomicBool::new(false), written: AtomicUsize::new(0) };
    let url = stage.envoy.write_url();
    let senders = futures::future::try_join_all((0..SENDERS).map(|number| load.run(&url, number)));
    let changes = async {
        let result = stage.change(duration, &load.stop).await;
        load.stop.store(true, Ordering::Relaxed);
        result
    };
    let (sent, changed) = tokio::join!(senders, changes);
    sent?;
    let Changed { settled, end, restarts } = changed?;
    eprintln!(
        "{} requests of {SERIES_PER_REQUEST} series in {} s; Envoy had {} MiB, then {} MiB",
        load.written.load(Ordering::Relaxed),
        duration.as_secs(),
        settled >> 20,
        end >> 20
    );
    ensure!(end < settled + GROWTH_MAX, "Envoy grew from {} MiB to {} MiB", settled >> 20, end >> 20);
    let metrics = stage.envoy.metrics().await?;
    // The first is the one that it began with.
    let rings = metrics.sum("thanos_receive_hashrings_file_changes_total", &[]) - 1.0;
    ensure!(rings >= duration.div_duration_f64(MINUTES).floor(), "{rings} changes of the ring");
    // None is due at the very end.
    let due = duration.div_duration_f64(RESTART_EVERY).floor() - 1.0;
    ensure!(f64::from(restarts) >= due, "{restarts} restarts");
    scratch.passed();
    Ok(())
}

impl Stage {
    async fn start(folder: &Path) -> Result<Self> {
        let setup = Setup::default();
        let names: Vec<String> = (0..RINGS[1]).map(|number| format!("ringside-{number}")).collect();
        let starts = names.iter().map(|name| Sidecar::start(folder, name, &setup));
        let sidecars = futures::future::try_join_all(starts).await?;
        let hashrings = folder.join("hashrings.json");
        write_ring(&hashrings, &sidecars[..RINGS[0]])?;
        let flags = [format!("--hashrings={}", hashrings.display())];
        let envoy = Envoy::start_following(&folder.join("envoy"), &flags).await?;
        let stage = Self { sidecars, envoy, hashrings };
        stage.wait_all_healthy().await?;
        Ok(stage)
    }

    async fn wait_all_healthy(&self) -> Result<()> {
        let envoy = &self.envoy;
        wait::eventually("Envoy to find all healthy", async || envoy.expect_all_healthy().await).await
    }

    /// Restarts sidecars and changes the ring until the time is over, or somebody has stopped.
    async fn change(&mut self, duration: Duration, stop: &AtomicBool) -> Result<Changed> {
        let (start, settle) = (Instant::now(), (duration / 3).min(MINUTES));
        let (mut settled, mut restarts) = (None, 0);
        // Two for each restart. A ring changes between two restarts.
        for half in 1_u32.. {
            let due = start + RESTART_EVERY / 2 * half;
            while Instant::now() < due && !stop.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            if start.elapsed() >= settle && settled.is_none() {
                settled = Some(self.envoy.process.rss_bytes()?);
            }
            if start.elapsed() >= duration || stop.load(Ordering::Relaxed) {
                break;
            }
            match half % 6 {
                0 | 2 | 4 => {
                    self.restart(half as usize / 2).await?;
                    restarts += 1;
                }
                3 => write_ring(&self.hashrings, &self.sidecars[..RINGS[(half as usize / 6 + 1) % 2]])?,
                _ => {}
            }
        }
        let settled = settled.context("the run is too short")?;
        Ok(Changed { settled, end: self.envoy.process.rss_bytes()?, restarts })
    }

    async fn restart(&mut self, number: usize) -> Result<()> {
        let count = self.sidecars.len();
        let sidecar = &mut self.sidecars[number % count];
        if number.is_multiple_of(2) {
            sidecar.process.kill9()?;
        } else {
            sidecar.process.terminate().await?;
        }
        sidecar.restart().await?;
        self.wait_all_healthy().await
    }
}

/// Replaces the file at once, as whoever changes a ring under load has to.
fn write_ring(file: &Path, sidecars: &[Sidecar]) -> Result<()> {
    let addresses: Vec<String> = sidecars.iter().map(|one| one.ring_address().to_string()).collect();
    let next = file.with_extension("next");
    std::fs::write(&next, json!([{"hashring": "default", "endpoints": addresses}]).to_string())?;
    #[expect(clippy::disallowed_methods, reason = "no crash is to be outlived here")]
    Ok(std::fs::rename(next, file)?)
}

struct Load {
    start: Instant,
    stop: AtomicBool,
    written: AtomicUsize,
}

impl Load {
    /// Writes on, each request followed by a pause as long as it took, until told to stop. An answer but 200 is an error.
    async fn run(&self, url: &str, number: usize) -> Result<()> {
        let result = self.write(&Sender::new(url, Some("team-a")), number).await;
        if result.is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
        result
    }

    async fn write(&self, sender: &Sender, number: usize) -> Result<()> {
        let all: Vec<Labels> = series(&format!("soak_{number}"), SERIES_PER_REQUEST);
        let first = clock::aligned(HOUR, MINUTE)?;
        for step in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let (mut request, timestamp) = (Vec::new(), first + step * STEP_MS);
            for (index, labels) in all.iter().enumerate() {
                wire::series(&mut request, labels, &[(timestamp, value(index, timestamp))]);
            }
            let (body, begin) = (wire::snappy(&request), Instant::now());
            match sender.post(body).await {
                Answer::Status { code: 200, .. } => self.written.fetch_add(1, Ordering::Relaxed),
                answer => bail!("{:?} after the start: {answer:?}", self.start.elapsed()),
            };
            tokio::time::sleep(begin.elapsed()).await;
        }
        Ok(())
    }
}
