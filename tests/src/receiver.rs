//! A stand-in for what the filter sends to: it keeps every part that comes, headers and all, and answers as it is
//! told. In this process, so that a test can ask what reached it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{get, post};
use futures::TryStreamExt;
use ringside_proto::HEADER_SERIES;
use ringside_proto::protocol::HEADERS_WRITTEN;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::ports;

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

/// What a receiver says.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The text.
    pub message: String,
    /// How long it takes, or until the receiver is told another answer.
    pub delay: Duration,
    /// The samples that it says it has written, as a receiver of remote write 2.0 does; and no histogram, no exemplar.
    pub written: Option<u64>,
    /// The series that it says it was sent, as a sidecar does.
    pub series: Option<u64>,
}

#[derive(Default)]
struct Inner {
    parts: Vec<Part>,
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
        Self { status, message: message.to_owned(), delay: Duration::ZERO, written: None, series: None }
    }
}

impl Part {
    /// A header as text; empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Receiver {
    /// Starts one that answers 200.
    pub async fn start() -> Result<Self> {
        let address = ports::reserve()?;
        let listener = TcpListener::bind(address).await?;
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
    let mut response =
        Response::builder().status(reply.status).header("content-type", "text/plain; charset=utf-8");
    if let Some(samples) = reply.written {
        for (name, value) in HEADERS_WRITTEN.into_iter().zip([samples, 0, 0]) {
            response = response.header(name, value);
        }
    }
    if let Some(series) = reply.series {
        response = response.header(HEADER_SERIES, series);
    }
    response.body(Body::from(reply.message)).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
