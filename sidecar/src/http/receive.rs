//! `POST /api/v1/receive`: judges a write request, has it stored, and answers.
//!
//! The headers are judged before the body is read, the body's declared size before it is decompressed, its whole
//! structure before anything is stored. Decoding and appending happen in [`crate::append`], on the blocking pool,
//! and go on to their end even when the client has gone.

mod headers;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use prost::Message;
use ringside_proto::ringside::WriteRefused;
use ringside_proto::{CONTENT_TYPE_REFUSED, HEADER_REFUSALS, WRITE_PATHS};
use ringside_tsdb::Tsdb;
use tokio_util::task::TaskTracker;

use super::admin::{Readiness, healthy, ready};
use crate::append::{self, Checked, Contents, Outcome};
use crate::error::{WriteError, status_of};
use crate::limits::{InFlight, Reservation};
use crate::logging::Throttle;
use crate::metrics::{HttpLabels, Metrics, TenantLabels, WriteLabels};
use crate::snappy::{BufferPool, declared_bytes};
use crate::tenant_id::TenantId;
use crate::tenants::{Lookup, Tenants};

/// The write endpoint.
#[derive(Debug)]
pub(crate) struct Receive {
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) tenant_header: HeaderName,
    pub(crate) default_tenant: TenantId,
    pub(crate) in_flight: InFlight,
    pub(crate) buffers: BufferPool,
    /// Appends under way, also those whose client has gone.
    pub(crate) appends: TaskTracker,
    pub(crate) metrics: Arc<Metrics>,
    /// Thins out the log of storage faults.
    pub(crate) faults: Throttle,
}

/// The write port: remote write, and health for whoever balances over it.
pub(crate) fn router(receive: Arc<Receive>, readiness: Readiness) -> Router {
    let health =
        Router::new().route("/-/ready", get(ready)).route("/-/healthy", get(healthy)).with_state(readiness);
    WRITE_PATHS
        .iter()
        .fold(Router::new(), |router, path| router.route(path, any(handle)))
        .with_state(receive)
        .merge(health)
}

async fn handle(State(receive): State<Arc<Receive>>, request: Request) -> Response {
    let start = Instant::now();
    let method = method_label(request.method());
    let list_wanted = request.headers().contains_key(HEADER_REFUSALS);
    let response = match receive.write(request).await {
        Ok((contents, outcome)) => answer(contents, outcome, list_wanted),
        Err(error) => {
            receive.log(&error);
            refuse(&error)
        }
    };
    let labels = HttpLabels { code: response.status().as_u16(), handler: "receive", method };
    receive.metrics.http_requests.get_or_create(&labels).inc();
    receive.metrics.http_duration.get_or_create(&labels).observe(start.elapsed().as_secs_f64());
    response
}

impl Receive {
    /// Stores the request, or says why all of it is refused.
    async fn write(&self, request: Request) -> Result<(Contents, Outcome), WriteError> {
        let (parts, body) = request.into_parts();
        headers::judge(&parts.method, &parts.headers)?;
        let tenant = headers::tenant(&parts.headers, &self.tenant_header, &self.default_tenant)?;
        // A tenant that cannot take the write is told so before its body is read.
        let lookup = self.tenants.lookup(&tenant)?;
        let mut reservation = self.in_flight.reserve();
        let body = super::body::read(body, headers::content_length(&parts.headers), &mut reservation).await?;
        if !reservation.grow(declared_bytes(&body)?) {
            return Err(WriteError::Overloaded);
        }
        let (contents, outcome) = match lookup {
            Lookup::Open(tsdb) => self.decode_and_append(body, tsdb, reservation).await?,
            Lookup::Absent => self.decode_create_append(body, &tenant, reservation).await?,
        };
        self.count(&tenant, &contents, &outcome);
        Ok((contents, outcome))
    }

    /// The usual way: all of it in one visit to the blocking pool.
    async fn decode_and_append(
        &self,
        body: Bytes,
        tsdb: Arc<Tsdb>,
        reservation: Reservation,
    ) -> Result<(Contents, Outcome), WriteError> {
        let buffers = self.buffers.clone();
        self.on_blocking_pool(move || {
            let decoded = buffers.decompress(&body)?;
            let stored = append_checked(append::check(&decoded)?, &tsdb)?;
            drop(reservation);
            Ok(stored)
        })
        .await
    }

    /// A tenant's first write: only a well-formed body with something to store creates a tenant.
    async fn decode_create_append(
        &self,
        body: Bytes,
        tenant: &TenantId,
        reservation: Reservation,
    ) -> Result<(Contents, Outcome), WriteError> {
        let buffers = self.buffers.clone();
        let decode = move || {
            let decoded = buffers.decompress(&body)?;
            let contents = append::check(&decoded)?.contents;
            Ok((decoded, contents))
        };
        let (decoded, contents) = self.on_blocking_pool(decode).await?;
        if contents.series == 0 {
            return Ok((contents, Outcome::default()));
        }
        let tsdb = self.tenants.create(tenant).await?;
        self.on_blocking_pool(move || {
            let stored = append_checked(append::check(&decoded)?, &tsdb)?;
            drop(reservation);
            Ok(stored)
        })
        .await
    }

    async fn on_blocking_pool<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, WriteError> + Send + 'static,
    ) -> Result<T, WriteError> {
        match self.appends.spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(%error, "a write broke off");
                Err(WriteError::Internal)
            }
        }
    }

    /// Faults of ours are logged, now and then; those of the sender only where somebody looks for them.
    fn log(&self, error: &WriteError) {
        if matches!(error, WriteError::Storage(_) | WriteError::Internal) {
            if self.faults.ready() {
                tracing::error!(%error, "writes are not acknowledged");
            }
        } else {
            tracing::debug!(%error, status = error.status().as_u16(), "write refused");
        }
    }

    fn count(&self, tenant: &TenantId, contents: &Contents, outcome: &Outcome) {
        let m = &self.metrics;
        let code = outcome.worst.map_or(StatusCode::OK, status_of).as_u16();
        let labels = WriteLabels { code, tenant: tenant.clone() };
        m.write_timeseries.get_or_create(&labels).observe(f64::from(contents.series));
        m.write_samples.get_or_create(&labels).observe(contents.samples as f64);
        let labels = TenantLabels { tenant: tenant.clone() };
        for (family, amount) in [
            (&m.series_refused, outcome.refused_count),
            (&m.exemplars_dropped, contents.exemplars),
            (&m.metadata_bytes_dropped, contents.other_bytes),
        ] {
            if amount > 0 {
                family.get_or_create(&labels).inc_by(amount);
            }
        }
    }
}

fn append_checked(body: Checked<'_>, tsdb: &Tsdb) -> Result<(Contents, Outcome), WriteError> {
    let contents = body.contents;
    let outcome = if contents.series == 0 { Outcome::default() } else { append::append(body, tsdb)? };
    Ok((contents, outcome))
}

/// 200, or the status of the worst refusal with the list of refused series where it was asked for.
fn answer(contents: Contents, outcome: Outcome, list_wanted: bool) -> Response {
    let Some(worst) = outcome.worst else { return StatusCode::OK.into_response() };
    let message = format!(
        "{} of {} series refused, the others are stored; first refusal: {}",
        outcome.refused_count,
        contents.series,
        outcome.first.as_deref().unwrap_or("unknown")
    );
    let status = status_of(worst);
    let is_listed = outcome.refused.len() as u64 == outcome.refused_count;
    let mut response = if list_wanted && is_listed {
        let list = WriteRefused { message, series: outcome.refused };
        let content_type = HeaderValue::from_static(CONTENT_TYPE_REFUSED);
        (status, [(header::CONTENT_TYPE, content_type)], list.encode_to_vec()).into_response()
    } else {
        text(status, message)
    };
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(1));
    }
    response
}

fn refuse(error: &WriteError) -> Response {
    let mut response = text(error.status(), error.to_string());
    if let Some(seconds) = error.retry_after_seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if matches!(error, WriteError::Method) {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

fn text(status: StatusCode, mut message: String) -> Response {
    message.push('\n');
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    (status, [(header::CONTENT_TYPE, plain)], Body::from(message)).into_response()
}

/// The method as a label: whatever clients invent, there are few of them.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::POST => "post",
        Method::GET => "get",
        Method::PUT => "put",
        Method::HEAD => "head",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
