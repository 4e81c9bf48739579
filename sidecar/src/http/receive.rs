//! `POST /api/v1/receive`: judges a write request, has it stored, and answers.
//!
//! The headers are judged before the body is read, the body's declared size before it is decompressed, its whole
//! structure before anything is stored. What [`job`] does with a body it does to its end, and [`commit`] has it made
//! durable, even when the client has gone.

mod commit;
mod job;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use prost::Message;
use ringside_proto::limits::{ContentLimits, HEADER_LIMITS};
use ringside_proto::protocol::HEADERS_WRITTEN;
use ringside_proto::remote_write_v2::Contents;
use ringside_proto::ringside::{Reason, WriteRefused};
use ringside_proto::snappy::declared_bytes;
use ringside_proto::{
    CONTENT_TYPE_REFUSED, DECODED_BYTES_MAX, HEADER_REFUSALS, HEADER_SERIES, Protocol, WRITE_PATHS,
};
use ringside_tsdb::Tsdb;
use tokio_util::task::TaskTracker;

use self::job::Job;
use super::admin::{Readiness, ready};
use super::headers;
use crate::append::{Outcome, Totals};
use crate::cardinality::Cardinalities;
use crate::error::{WriteError, status_of};
use crate::limits::{BODY_BYTES_MAX, InFlight, Limits, RequestLimit};
use crate::logging::Throttle;
use crate::metrics::{HttpLabels, Metrics, TenantLabels, WriteLabels};
use crate::pressure::Pressure;
use crate::snappy::BufferPool;
use crate::tenant_id::TenantId;
use crate::tenants::{Lookup, Tenants};

/// Larger bodies are decompressed and appended on the blocking pool, so that no other request waits for them.
const DECODED_HERE_BYTES_MAX: usize = 1 << 20;

/// The write endpoint.
#[derive(Debug)]
pub(crate) struct Receive {
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) tenant_header: HeaderName,
    pub(crate) default_tenant: TenantId,
    pub(crate) in_flight: InFlight,
    pub(crate) limits: Arc<Limits>,
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) cardinalities: Arc<Cardinalities>,
    pub(crate) buffers: BufferPool,
    /// Appends under way, also those whose client has gone.
    pub(crate) appends: TaskTracker,
    pub(crate) metrics: Arc<Metrics>,
    /// Thins out the log of storage faults.
    pub(crate) faults: Throttle,
}

/// After so long a write that waits for the disk says that it hangs: about as long as a client waits.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// The write port: remote write, and health for whoever balances over it.
pub(crate) fn router(receive: Arc<Receive>, readiness: Readiness) -> Router {
    let ready = Router::new().route("/-/ready", get(ready)).with_state(readiness);
    WRITE_PATHS
        .iter()
        .fold(Router::new(), |router, path| router.route(path, any(handle)))
        .route("/-/healthy", get(healthy))
        .with_state(receive)
        .merge(ready)
}

/// 200 as long as writes get on. Whoever sends them learns by 503 that the disk hangs, and sends them elsewhere until it
/// does not; the process itself is well, so the admin port says nothing of it.
async fn healthy(State(receive): State<Arc<Receive>>) -> Response {
    match receive.in_flight.oldest_work() {
        Some(oldest) if oldest >= STALLED_AFTER => {
            let message = format!("NOT OK: a write has been waiting for the disk for {} s", oldest.as_secs());
            text(StatusCode::SERVICE_UNAVAILABLE, message)
        }
        _ => "OK\n".into_response(),
    }
}

async fn handle(State(receive): State<Arc<Receive>>, request: Request) -> Response {
    let start = Instant::now();
    let method = method_label(request.method());
    let list_wanted = request.headers().contains_key(HEADER_REFUSALS);
    let protocol = headers::protocol(request.headers());
    let (mut response, series, written) = match receive.write(request).await {
        Ok((totals, outcome)) => {
            let (series, written) = (totals.series, totals.contents.saturating_sub(outcome.missing));
            let protocol = protocol.as_ref().copied().unwrap_or(Protocol::V1);
            (answer(protocol, totals, outcome, list_wanted), Some(series), written)
        }
        Err(error) => {
            receive.log(&error);
            (refuse(&error), None, Contents::default())
        }
    };
    if let (true, Some(series)) = (list_wanted, series) {
        response.headers_mut().insert(HEADER_SERIES, HeaderValue::from(series));
    }
    if list_wanted || matches!(protocol, Ok(Protocol::V2)) {
        let counts = [written.samples, written.histograms, written.exemplars];
        for (name, count) in HEADERS_WRITTEN.into_iter().zip(counts) {
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(count));
        }
    }
    let labels = HttpLabels { code: response.status().as_u16(), handler: "receive", method };
    receive.metrics.http_requests.get_or_create(&labels).inc();
    receive.metrics.http_duration.get_or_create(&labels).observe(start.elapsed().as_secs_f64());
    response
}

impl Receive {
    /// Stores the request, or says why all of it is refused.
    async fn write(&self, request: Request) -> Result<(Totals, Outcome), WriteError> {
        let (parts, body) = request.into_parts();
        let protocol = headers::judge(&parts.method, &parts.headers)?;
        let tenant = headers::tenant(&parts.headers, &self.tenant_header, &self.default_tenant)?;
        // Where there is no room, or the tenant cannot take the write, that is said before the body is read.
        self.pressure.admit()?;
        let lookup = self.tenants.lookup(&tenant)?;
        let _turn = self.limits.turn().await;
        let mut reservation = self.in_flight.reserve();
        let tenant_limits = self.limits.of(&tenant);
        let body_bytes_max = tenant_limits.body_bytes_max;
        let within_limit = |bytes| self.limits.check(&tenant, RequestLimit::BodyBytes, bytes, body_bytes_max);
        let read_max = match usize::try_from(body_bytes_max) {
            Ok(max @ 1..BODY_BYTES_MAX) => max,
            _ => BODY_BYTES_MAX,
        };
        let declared = headers::content_length(&parts.headers);
        let body = super::body::read(body, declared, read_max, &mut reservation).await;
        if let Err(WriteError::BodyTooLarge { bytes, .. }) = &body {
            within_limit(*bytes)?;
        }
        let body = body?;
        let decoded_bytes = declared_bytes(&body, DECODED_BYTES_MAX)?;
        within_limit(decoded_bytes as u64)?;
        if !reservation.grow(decoded_bytes) {
            return Err(WriteError::Overloaded);
        }
        reservation.begin_work(Instant::now());
        let job = Job {
            protocol,
            tenant: tenant.clone(),
            limits: Arc::clone(&self.limits),
            tenant_limits,
            handed: self.handed_limits(&parts.headers),
            cardinalities: Arc::clone(&self.cardinalities),
            buffers: self.buffers.clone(),
            reservation: Some(reservation),
        };
        let (totals, outcome) = match lookup {
            Lookup::Open(tsdb) => self.decode_and_append(body, decoded_bytes, tsdb, job).await?,
            Lookup::Absent => self.decode_create_append(body, job).await?,
        };
        self.count(&tenant, &totals, &outcome);
        Ok((totals, outcome))
    }

    /// The limits that the filter hands on. What cannot be read is no reason to lose data: it limits nothing.
    fn handed_limits(&self, headers: &HeaderMap) -> ContentLimits {
        headers::handed_limits(headers).unwrap_or_else(|reason| {
            if self.faults.ready() {
                tracing::warn!(header = HEADER_LIMITS, reason, "limits of the filter cannot be read");
            }
            ContentLimits::default()
        })
    }

    /// The usual way: a body of usual size right here, as a millisecond's work is cheaper done than handed over; a
    /// large one, and one that would have to wait for another, in one visit to the blocking pool.
    async fn decode_and_append(
        &self,
        body: Bytes,
        decoded_bytes: usize,
        tsdb: Arc<Tsdb>,
        mut job: Job,
    ) -> Result<(Totals, Outcome), WriteError> {
        if decoded_bytes <= DECODED_HERE_BYTES_MAX {
            let decoded = job.decompress(&body)?;
            if let Some((totals, outcome, position)) = job.append_now(&decoded, &tsdb)? {
                drop((decoded, body));
                commit::durable(&tsdb, position, job.reservation.take(), &self.appends).await?;
                if outcome.worst != Some(Reason::Limit) {
                    return Ok((totals, outcome));
                }
                return self.on_blocking_pool(move || Ok((totals, job.explained(outcome, &tsdb)))).await;
            }
            return self.on_blocking_pool(move || job.append(&decoded, &tsdb)).await;
        }
        self.on_blocking_pool(move || {
            let decoded = job.decompress(&body)?;
            drop(body);
            job.append(&decoded, &tsdb)
        })
        .await
    }

    /// A tenant's first write: only a well-formed body with something to store creates a tenant.
    async fn decode_create_append(&self, body: Bytes, job: Job) -> Result<(Totals, Outcome), WriteError> {
        let decode = move || {
            let decoded = job.decompress(&body)?;
            let totals = job.check(&decoded)?;
            Ok((decoded, totals, job))
        };
        let (decoded, totals, job) = self.on_blocking_pool(decode).await?;
        if totals.series == 0 {
            return Ok((totals, Outcome::default()));
        }
        let tsdb = self.tenants.create(&job.tenant).await?;
        self.on_blocking_pool(move || job.append(&decoded, &tsdb)).await
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

    fn count(&self, tenant: &TenantId, totals: &Totals, outcome: &Outcome) {
        let m = &self.metrics;
        let code = outcome.worst.map_or(StatusCode::OK, status_of).as_u16();
        let labels = WriteLabels { code, tenant: tenant.clone() };
        m.write_timeseries.get_or_create(&labels).observe(f64::from(totals.series));
        m.write_samples
            .get_or_create(&labels)
            .observe((totals.contents.samples + totals.contents.histograms) as f64);
        let labels = TenantLabels { tenant: tenant.clone() };
        if outcome.worst == Some(Reason::Limit) {
            m.head_series_limited.get_or_create(&labels).inc();
        }
        for (family, amount) in
            [(&m.series_refused, outcome.refused_count), (&m.metadata_bytes_dropped, totals.other_bytes)]
        {
            if amount > 0 {
                family.get_or_create(&labels).inc_by(amount);
            }
        }
    }
}

/// Success, or the status of the worst refusal with the list of refused series where it was asked for.
fn answer(protocol: Protocol, totals: Totals, outcome: Outcome, list_wanted: bool) -> Response {
    let Some(worst) = outcome.worst else {
        return StatusCode::from_u16(protocol.success()).unwrap_or(StatusCode::OK).into_response();
    };
    let message = format!(
        "{} of {} series refused, the others are stored; first refusal: {}",
        outcome.refused_count,
        totals.series,
        outcome.first.as_deref().unwrap_or("unknown")
    );
    let status = match status_of(worst) {
        // Remote write 2.0 knows no other refusal of data. The filter wants to know.
        StatusCode::CONFLICT if protocol == Protocol::V2 && !list_wanted => StatusCode::BAD_REQUEST,
        status => status,
    };
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
