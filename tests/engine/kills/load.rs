//! The load, and the truth about it in a few bytes per kill.
//!
//! Each sender owns its series and counts steps. A step is one request with one sample of each series, all of which
//! follow from (sender, series, step). An unanswered step is sent again until it is acknowledged, or given up, now
//! and then; what became of those is unknown, and they are all that has to be remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use ringside_e2e::contents::Labels;
use ringside_e2e::generator::{Answer, Sender};
use ringside_e2e::wire::{self, Counts, Histogram};
use tokio::task::JoinHandle;

use crate::kinds::{HISTOGRAMS, OUT_OF_ORDER_WINDOW_MS};

pub(super) const SENDERS: usize = 4;
/// Series of one sender.
pub(super) const SERIES: usize = 10;
/// Data time of a step, milliseconds.
const STEP_MS: i64 = 60_000;
/// Data time of step 0, not at the edge of a block.
const BASE: i64 = 1_600_000_123_000;
/// No sender runs ahead of another by more, so that none falls out of the out-of-order window.
const LEAD: u64 = 6;
/// Between two steps of a sender: a block's range every second or two is enough.
const PAUSE: Duration = Duration::from_millis(6);
/// Steps after which a short-lived series gives way to another.
const LIFE: u64 = 500;

/// What each sender did so far.
pub(super) type Truth = Vec<Progress>;

/// What one sender did so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The step under way: all before it are acknowledged, or unknown.
    pub(super) step: u64,
    /// Steps given up without an answer.
    pub(super) unknown: BTreeSet<u64>,
}

/// Senders at work.
pub(super) struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Result<()>>>,
}

struct Shared {
    progress: Mutex<Truth>,
    stop: AtomicBool,
}

impl Load {
    pub(super) fn start(url: &str, tenant: &str) -> Self {
        let progress = Mutex::new(vec![Progress::default(); SENDERS]);
        let shared = Arc::new(Shared { progress, stop: AtomicBool::new(false) });
        let tasks = (0..SENDERS).map(|sender| {
            let (shared, way) = (Arc::clone(&shared), Sender::new(url, Some(tenant)));
            tokio::spawn(async move { shared.send(sender, &way).await })
        });
        Self { tasks: tasks.collect(), shared }
    }

    /// What is known now; an error if a sender gave up.
    pub(super) fn truth(&self) -> Result<Truth> {
        ensure!(!self.tasks.iter().any(JoinHandle::is_finished), "a sender has ended");
        Ok(self.shared.truth())
    }

    /// Ends the load after the steps under way, and returns what is known.
    pub(super) async fn stop(self) -> Result<Truth> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.context("a sending task")??;
        }
        Ok(self.shared.truth())
    }
}

impl Shared {
    fn truth(&self) -> Truth {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn with<T>(&self, with: impl FnOnce(&mut Truth) -> T) -> T {
        with(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn send(&self, sender: usize, way: &Sender) -> Result<()> {
        let mut rng = Rng::with_seed(sender as u64);
        let mut step = 0;
        while !self.stop.load(Ordering::Relaxed) {
            if self.with(|truth| truth.iter().any(|other| step > other.step + LEAD)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            match way.post(request(sender, step)).await {
                Answer::Status { code: 200..=299, .. } => {}
                Answer::Status { code: 429 | 503, .. } | Answer::Broken(_) => {
                    if rng.u8(0..50) > 0 {
                        tokio::time::sleep(Duration::from_millis(4)).await;
                        continue;
                    }
                    self.with(|truth| truth[sender].unknown.insert(step));
                }
                answer => bail!("step {step} of sender {sender}: {answer:?}"),
            }
            step += 1;
            self.with(|truth| truth[sender].step = step);
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

fn request(sender: usize, step: u64) -> Vec<u8> {
    let mut request = Vec::new();
    for index in 0..SERIES {
        let stored = stored_step(index, step);
        let (labels, value) = (labels(sender, index, stored), value(sender, index, stored));
        if is_histogram(index) {
            let mut series = Vec::new();
            for (name, value) in &labels {
                wire::label(&mut series, name.as_bytes(), value.as_bytes());
            }
            wire::histogram(&mut series, &histogram(time(stored), value));
            wire::bytes_field(&mut request, 1, &series);
        } else {
            wire::series(&mut request, &labels, &[(time(stored), value)]);
        }
    }
    wire::snappy(&request)
}

/// True for series of native histograms.
pub(super) fn is_histogram(index: usize) -> bool {
    HISTOGRAMS && index % 5 == 2
}

/// One bucket that says it all.
fn histogram(timestamp: i64, sum: f64) -> Histogram {
    let count = timestamp.cast_unsigned() / 1000;
    let counts = Counts::Int { count, zero: 0, negative: Vec::new(), positive: vec![count.cast_signed()] };
    Histogram { timestamp, counts, sum, positive_spans: vec![(1, 1)], ..Histogram::default() }
}

/// Which step a series' sample belongs to that is sent with this one: where late samples are taken, some series send
/// every second sample before the first.
pub(super) fn stored_step(index: usize, step: u64) -> u64 {
    if OUT_OF_ORDER_WINDOW_MS > 0 && index % 5 == 1 { step ^ 1 } else { step }
}

pub(super) fn time(step: u64) -> i64 {
    BASE + step.cast_signed() * STEP_MS
}

/// The first step at or after a time.
pub(super) fn first_step(time: i64) -> u64 {
    (time.max(BASE) - BASE).cast_unsigned().div_ceil(STEP_MS.cast_unsigned())
}

/// Sender, series and step of a stored sample as a dump prints it; an error if it was never sent.
pub(super) fn origin(labels: &Labels, timestamp: i64, printed: &str) -> Result<(usize, usize, u64)> {
    let number = |name: &str| labels.get(name).and_then(|text| text.parse::<usize>().ok());
    let (Some(sender), Some(index)) = (number("sender"), number("series")) else {
        bail!("no series of ours")
    };
    ensure!(timestamp >= BASE && (timestamp - BASE) % STEP_MS == 0, "no time of ours");
    let step = first_step(timestamp);
    ensure!(labels == &self::labels(sender, index, step), "the sample belongs to another series");
    let found: f64 = if is_histogram(index) {
        let count = timestamp / 1000;
        let sum = printed.strip_prefix(&format!("{{count:{count}, sum:"));
        let sum = sum.and_then(|rest| rest.strip_suffix(&format!(", (1,2]:{count}}}")));
        sum.context("no histogram of ours")?.parse()?
    } else {
        printed.parse()?
    };
    let sent = value(sender, index, step);
    ensure!(found.to_bits() == sent.to_bits() || found.is_nan() && sent.is_nan(), "{sent} was sent");
    Ok((sender, index, step))
}

fn labels(sender: usize, index: usize, step: u64) -> Labels {
    let life = if index.is_multiple_of(3) { step / LIFE } else { 0 };
    BTreeMap::from([
        ("__name__".to_owned(), "kills".to_owned()),
        ("sender".to_owned(), sender.to_string()),
        ("series".to_owned(), index.to_string()),
        ("life".to_owned(), life.to_string()),
    ])
}

/// Counters, gauges and noise.
fn value(sender: usize, index: usize, step: u64) -> f64 {
    match (sender + index) % 4 {
        0 => (step * 7) as f64,
        1 => (step % 97) as f64 / 10.0,
        2 if step.is_multiple_of(50) => f64::NAN,
        2 => 1.0,
        _ => f64::from_bits(step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2),
    }
}
