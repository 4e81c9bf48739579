//! Topology: senders at half of full speed → Envoy with the filter → four sidecars, RF=3, one of which is restarted every
//! 20 seconds, by turns killed and asked to end.
//!
//! No request fails, and Envoy's memory stays where it is. A minute by default; `make soak` has ten.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::cluster::{Cluster, Layout};
use ringside_e2e::contents::Labels;
use ringside_e2e::generator::{Answer, Sender, series, value};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::wire;

const SENDERS: usize = 4;
const SERIES_PER_REQUEST: usize = 500;
const STEP_MS: i64 = 10;
const RESTART_EVERY: Duration = Duration::from_secs(20);
/// What Envoy may still grow by once it has seen everything.
const GROWTH_MAX: u64 = 32 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn restarts_fail_no_request_and_envoy_does_not_grow() -> Result<()> {
    let seconds = std::env::var("RINGSIDE_SOAK_SECONDS").unwrap_or_else(|_| "60".to_owned());
    let duration = Duration::from_secs(seconds.parse().context("RINGSIDE_SOAK_SECONDS")?);
    let scratch = Scratch::new("soak")?;
    let mut cluster = Cluster::start(scratch.path(), &Layout { sidecars: 4, ..Layout::default() }).await?;
    let load = Load { start: Instant::now(), stop: AtomicBool::new(false), written: AtomicUsize::new(0) };
    let url = cluster.envoy.write_url();
    let senders = futures::future::try_join_all((0..SENDERS).map(|number| load.run(&url, number)));
    let changes = async {
        let result = restarts(&mut cluster, duration).await;
        load.stop.store(true, Ordering::Relaxed);
        result
    };
    let (sent, rss) = tokio::join!(senders, changes);
    sent?;
    let (settled, end) = rss?;
    eprintln!(
        "{} requests of {SERIES_PER_REQUEST} series in {} s; Envoy had {} MiB, then {} MiB",
        load.written.load(Ordering::Relaxed),
        duration.as_secs(),
        settled >> 20,
        end >> 20
    );
    ensure!(end < settled + GROWTH_MAX, "Envoy grew from {} MiB to {} MiB", settled >> 20, end >> 20);
    scratch.passed();
    Ok(())
}

/// Restarts one sidecar after the other. Returns Envoy's memory when a third of the time, but not more than a minute, is
/// over, and in the end.
async fn restarts(cluster: &mut Cluster, duration: Duration) -> Result<(u64, u64)> {
    let (start, settle) = (Instant::now(), (duration / 3).min(Duration::from_secs(60)));
    let mut settled = None;
    for number in 0.. {
        let due = start + RESTART_EVERY * number;
        tokio::time::sleep(due.saturating_duration_since(Instant::now())).await;
        if settled.is_none() && start.elapsed() >= settle {
            settled = Some(cluster.envoy.process.rss_bytes()?);
        }
        if start.elapsed() >= duration {
            break;
        }
        let count = cluster.sidecars.len();
        let sidecar = &mut cluster.sidecars[number as usize % count];
        if number % 2 == 0 {
            sidecar.process.kill9()?;
        } else {
            sidecar.process.terminate().await?;
        }
        sidecar.restart().await?;
        cluster.wait_all_healthy().await?;
    }
    Ok((settled.context("the run is too short")?, cluster.envoy.process.rss_bytes()?))
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
