//! The admin port: `/metrics`, `/-/ready`, `/-/healthy`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;

use crate::metrics::Metrics;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether writes are taken: true from the end of the replay to the start of the shutdown.
#[derive(Debug, Clone)]
pub(crate) struct Readiness {
    ready: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

impl Readiness {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { ready: Arc::default(), metrics }
    }

    pub(crate) fn set(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
        self.metrics.ready.set(i64::from(ready));
    }

    pub(crate) fn get(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

/// The admin port's paths.
pub(crate) fn router(registry: Arc<Registry>, readiness: Readiness) -> Router {
    let health =
        Router::new().route("/-/ready", get(ready)).route("/-/healthy", get(healthy)).with_state(readiness);
    Router::new().route("/metrics", get(metrics)).with_state(registry).merge(health)
}

/// 200 once every tenant found at start has replayed; 503 before that and while shutting down.
pub(super) async fn ready(State(readiness): State<Readiness>) -> (StatusCode, &'static str) {
    if readiness.get() { (StatusCode::OK, "OK\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "NOT OK\n") }
}

/// 200 as long as the process answers at all.
async fn healthy() -> &'static str {
    "OK\n"
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    // Reading a tenant's figures may wait for its appender.
    let encoded = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).map(|()| text)
    });
    match encoded.await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
