//! Generated load: series and values that are a function of (index, time) only, sent in time order per
//! series by several concurrent senders, with every answer written into a ledger.
//!
//! Time here is data time. A run may cover hours of it in seconds, so all senders finish a step before
//! the next one starts: no series can fall behind the head's window because another one ran ahead.

mod ledger;
mod sender;
mod series;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use tokio::task::JoinHandle;

pub use ledger::Ledger;
pub use sender::{Answer, Sender};
pub use series::{series, value};

use crate::contents::Labels;
use crate::{wait, wire};

/// What to send, and how hard to try.
#[derive(Clone, Debug)]
pub struct Load {
    /// The tenant header; none leaves the choice to the filter's default.
    pub tenant: Option<String>,
    /// The series; a series' place in here decides the shape of its values.
    pub series: Vec<Labels>,
    /// Series in one request.
    pub series_per_request: usize,
    /// Requests under way at a time.
    pub senders: usize,
    /// What follows an answer that asks for a retry.
    pub retry: Retry,
}

impl Load {
    /// `count` series named after `name`, for a tenant.
    pub fn new(tenant: &str, name: &str, count: usize) -> Self {
        Self {
            tenant: Some(tenant.to_owned()),
            series: series(name, count),
            series_per_request: 100,
            senders: 4,
            retry: Retry::UntilAnswered,
        }
    }
}

/// What a sender does with 5xx, 429 or a broken connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing: the samples count as unknown.
    Never,
    /// As Prometheus does: the same request again after a growing pause.
    UntilAnswered,
}

/// A load with its way to the receiver and its ledger. Cheap to share.
#[derive(Clone)]
pub struct Generator {
    sender: Sender,
    load: Arc<Load>,
    ledger: Arc<Mutex<Ledger>>,
}

impl Generator {
    /// Nothing is sent yet. `url` is the full write URL.
    pub fn new(url: &str, load: Load) -> Self {
        let sender = Sender::new(url, load.tenant.as_deref());
        Self { sender, load: Arc::new(load), ledger: Arc::default() }
    }

    /// What was sent and answered so far.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends every series with a sample at each of the given times, in one request per
    /// `series_per_request` series, and returns when each request has its final answer.
    pub async fn send(&self, timestamps: &[i64]) -> Result<()> {
        let chunks = self.load.series.chunks(self.load.series_per_request).enumerate();
        futures::stream::iter(chunks.map(Ok))
            .try_for_each_concurrent(self.load.senders, |(number, chunk)| {
                self.send_request(number * self.load.series_per_request, chunk, timestamps)
            })
            .await
    }

    /// The same for `from..to` in steps, with `per_request` samples per series in a request.
    pub async fn send_range(&self, from: i64, to: i64, step_ms: i64, per_request: usize) -> Result<()> {
        let step = usize::try_from(step_ms).context("a negative step")?;
        let timestamps: Vec<i64> = (from..to).step_by(step).collect();
        for some in timestamps.chunks(per_request) {
            self.send(some).await?;
        }
        Ok(())
    }

    async fn send_request(&self, first: usize, chunk: &[Labels], timestamps: &[i64]) -> Result<()> {
        let mut request = Vec::new();
        for (index, labels) in (first..).zip(chunk) {
            let samples: Vec<_> = timestamps.iter().map(|t| (*t, value(index, *t))).collect();
            wire::series(&mut request, labels, &samples);
        }
        let body = wire::snappy(&request);
        // In the ledger before it is on the way: what is stored can then never be ahead of it.
        self.ledger().sent(first, chunk, timestamps)?;
        let start = std::time::Instant::now();
        let mut pause = Duration::from_millis(30);
        loop {
            let answer = self.sender.post(body.clone()).await;
            let retry = self.load.retry == Retry::UntilAnswered && answer.asks_for_retry();
            self.ledger().answered(&answer);
            match answer {
                Answer::Status { code: 200..=299, .. } => {
                    return self.ledger().acknowledged(first, chunk, timestamps);
                }
                answer if retry => {
                    if start.elapsed() > wait::PATIENCE {
                        bail!("no final answer in spite of retries; the last one: {answer:?}");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                _ => return Ok(()),
            }
        }
    }

    /// Goes on sending in the background from `first` on, one step of data time after each `pause`.
    pub fn start(&self, first: i64, step_ms: i64, pause: Duration) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let (generator, stopped) = (self.clone(), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut timestamp = first;
            while !stopped.load(Ordering::Relaxed) {
                generator.send(&[timestamp]).await?;
                timestamp += step_ms;
                tokio::time::sleep(pause).await;
            }
            Ok(timestamp)
        });
        Running { stop, task }
    }
}

/// A load that goes on until it is told to stop.
pub struct Running {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<i64>>,
}

impl Running {
    /// Stops after the step under way, and returns the timestamp that would have come next.
    pub async fn stop(self) -> Result<i64> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.context("the sending task")?
    }
}
