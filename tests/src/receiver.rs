//! A stand-in for what the filter sends to: it keeps every part that comes, headers and all, and answers as it is
//! told, in the form of a sidecar or of a stock Thanos Receive. In this process, so that a test can ask what reached it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{get, post};
use futures::TryStreamExt;
use ringside_proto::labels::Label;
use ringside_proto::protocol::HEADERS_WRITTEN;
use ringside_proto::remote_write_v2::{Contents, SymbolTable};
use ringside_proto::ringside::RefusedSeries;
use ringside_proto::{
    CONTENT_TYPE_REFUSED, HEADER_REFUSALS, HEADER_SERIES, Protocol, remote_write, remote_write_v2,
};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::contents::Labels;
use crate::{ports, wait, wire};

/// Larger than any part.
const BODY_BYTES_MAX: usize = 128 << 20;

/// A receiver on a port of its own, over HTTP/1.1 and HTTP/2, until it is dropped.
pub struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<Inner>>,
    server: JoinHandle<()>,
}

/// One request that reached a receiver.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its headers, names in lower case.
    pub headers: HeaderMap,
    /// Its body, still compressed.
    pub body: Bytes,
}

/// One series of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// How much it holds.
    pub contents: Contents,
}

/// What a receiver says.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The text.
    pub message: String,
    /// How long it takes, or until the receiver is told another answer.
    pub delay: Duration,
    /// The samples, histograms and exemplars that it says it has written, as a receiver of remote write 2.0 does.
    pub written: Option<[u64; 3]>,
    /// The series that it says it was sent, as a sidecar does.
    pub series: Option<u64>,
    /// The series that it lists as refused, by their places in the part; it has stored all others. As from a sidecar, the
    /// list comes only where it is asked for by header.
    pub refused: Vec<RefusedSeries>,
}

#[derive(Default)]
struct Inner {
    parts: Vec<Part>,
    answered: usize,
    reply: Reply,
    forgets: bool,
    /// Whoever waits with an answer is told that there is another.
    change: Arc<Notify>,
}

impl Default for Reply {
    fn default() -> Self {
        Self::new(200, "")
    }
}

impl Reply {
    /// An answer at once.
    pub fn new(status: u16, message: &str) -> Self {
        Self {
            status,
            message: message.to_owned(),
            delay: Duration::ZERO,
            written: None,
            series: None,
            refused: Vec::new(),
        }
    }

    /// A `WriteRefused`, encoded here by hand for the reason that `wire` has.
    fn list(&self) -> Vec<u8> {
        let mut list = Vec::new();
        wire::bytes_field(&mut list, 1, self.message.as_bytes());
        for series in &self.refused {
            let missing = [series.samples_missing, series.histograms_missing, series.exemplars_missing];
            let numbers = [series.index, series.reason.cast_unsigned()].into_iter().chain(missing);
            let mut entry = Vec::new();
            // As protobuf has it, a number that is 0 is left out.
            for (field, number) in (1..).zip(numbers).filter(|(_, number)| *number != 0) {
                wire::varint_field(&mut entry, field, number.into());
            }
            wire::bytes_field(&mut list, 2, &entry);
        }
        list
    }
}

impl Part {
    /// A header as text; empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Its series in their order, read as the version of remote write that its content type names.
    pub fn series(&self) -> Result<Vec<Series>> {
        let raw = snap::raw::Decoder::new().decompress_vec(&self.body)?;
        let mut all = Vec::new();
        match Protocol::of_content_type(self.header("content-type").as_bytes())? {
            Protocol::V1 => {
                for series in remote_write::time_series(&raw) {
                    let series = series?;
                    let parts = series.parts()?;
                    let contents = Contents {
                        samples: parts.samples as u64,
                        histograms: parts.histograms as u64,
                        exemplars: parts.exemplars as u64,
                    };
                    let labels = series.labels().collect::<Result<Vec<_>, _>>()?;
                    all.push(Series { labels: owned(&labels)?, contents });
                }
            }
            Protocol::V2 => {
                let mut table = SymbolTable::default();
                let symbols = table.read(&raw)?;
                for series in remote_write_v2::time_series(&raw) {
                    let series = series?;
                    let labels = series.labels(symbols).collect::<Result<Vec<_>, _>>()?;
                    all.push(Series { labels: owned(&labels)?, contents: series.contents()? });
                }
            }
        }
        Ok(all)
    }
}

fn owned(labels: &[Label<'_>]) -> Result<Labels> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).context("a label that is no text");
    labels.iter().map(|label| Ok((text(label.name)?, text(label.value)?))).collect()
}

impl Receiver {
    /// Starts one that answers 200.
    pub async fn start() -> Result<Self> {
        let address = ports::reserve()?;
        // A child of another test has the socket that proved the port free, until it runs its own program.
        let bind = wait::eventually("a free port", async || Ok(TcpListener::bind(address).await?));
        let listener = bind.await?;
        let state = Arc::<Mutex<Inner>>::default();
        let router = Router::new()
            .route("/api/v1/receive", post(receive))
            .route("/-/healthy", get(|| async {}))
            .with_state(Arc::clone(&state));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("receiver {address}: {error}");
            }
        });
        Ok(Self { address, state, server })
    }

    /// Starts some.
    pub async fn start_many(number: usize) -> Result<Vec<Self>> {
        let mut receivers = Vec::new();
        for _ in 0..number {
            receivers.push(Self::start().await?);
        }
        Ok(receivers)
    }

    /// A hashrings.json of one ring, of these.
    pub fn hashrings(receivers: &[Self]) -> String {
        let addresses: Vec<String> = receivers.iter().map(|one| one.address.to_string()).collect();
        serde_json::json!([{ "endpoints": addresses }]).to_string()
    }

    /// Its name in the ring.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers so from now on. Those that wait for an answer of before get it.
    pub fn answer(&self, reply: Reply) {
        let mut inner = lock(&self.state);
        inner.reply = reply;
        inner.change.notify_waiters();
    }

    /// Keeps no part from now on: there will be too many.
    pub fn forget(&self) {
        lock(&self.state).forgets = true;
    }

    /// What has come since this was last asked.
    pub fn take_parts(&self) -> Vec<Part> {
        std::mem::take(&mut lock(&self.state).parts)
    }

    /// How many parts wait to be taken.
    pub fn parts(&self) -> usize {
        lock(&self.state).parts.len()
    }

    /// How many answers it has given. One whose sender went away while it took its time is not among them.
    pub fn answered(&self) -> usize {
        lock(&self.state).answered
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(state: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn receive(
    State(state): State<Arc<Mutex<Inner>>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, StatusCode> {
    let (reply, forgets, change) = {
        let inner = lock(&state);
        (inner.reply.clone(), inner.forgets, Arc::clone(&inner.change).notified_owned())
    };
    let lists = !reply.refused.is_empty() && headers.contains_key(HEADER_REFUSALS);
    if forgets {
        let mut pieces = body.into_data_stream();
        while pieces.try_next().await.map_err(|_| StatusCode::BAD_REQUEST)?.is_some() {}
    } else {
        let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| StatusCode::BAD_REQUEST)?;
        lock(&state).parts.push(Part { headers, body });
    }
    if !reply.delay.is_zero() {
        let _ = tokio::time::timeout(reply.delay, change).await;
    }
    lock(&state).answered += 1;
    let content_type = if lists { CONTENT_TYPE_REFUSED } else { "text/plain; charset=utf-8" };
    let mut response = Response::builder().status(reply.status).header("content-type", content_type);
    if let Some(written) = reply.written {
        for (name, value) in HEADERS_WRITTEN.into_iter().zip(written) {
            response = response.header(name, value);
        }
    }
    if let Some(series) = reply.series {
        response = response.header(HEADER_SERIES, series);
    }
    if lists && reply.status == 429 {
        response = response.header("retry-after", 1);
    }
    let body = if lists { reply.list() } else { reply.message.into_bytes() };
    response.body(Body::from(body)).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
