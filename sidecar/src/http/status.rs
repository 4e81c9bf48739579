//! `GET /api/v1/status/tsdb`: what a head's series are made of.
//!
//! On the write port as Thanos Receive answers it, a list with one entry per tenant; on the admin port as Prometheus
//! answers it, for one tenant. Only this sidecar's own series are counted.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ringside_tsdb::{Cardinality, Count, Stats, Tsdb};
use serde::Serialize;

use super::headers;
use crate::cardinality::Cardinalities;
use crate::tenant_id::TenantId;
use crate::tenants::Tenants;

const PATH: &str = "/api/v1/status/tsdb";
const LIMIT_DEFAULT: usize = 10;
/// Prometheus' own bound.
const LIMIT_MAX: usize = 10_000;

/// The status endpoint.
#[derive(Debug)]
pub(crate) struct TsdbStatus {
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) cardinalities: Arc<Cardinalities>,
    pub(crate) tenant_header: HeaderName,
    pub(crate) default_tenant: TenantId,
}

/// For the write port.
pub(crate) fn receive_router(status: Arc<TsdbStatus>) -> Router {
    Router::new().route(PATH, get(as_receive)).with_state(status)
}

/// For the admin port.
pub(crate) fn prometheus_router(status: Arc<TsdbStatus>) -> Router {
    Router::new().route(PATH, get(as_prometheus)).with_state(status)
}

/// A list: the header's tenant, or every tenant with `all_tenants=true`. A tenant that is not open is left out.
async fn as_receive(
    State(status): State<Arc<TsdbStatus>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked = match status.asked(query.as_deref(), &headers) {
        Ok(asked) => asked,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, "bad_data", reason),
    };
    let mut open = status.tenants.open();
    if let Some(tenant) = &asked.tenant {
        open.retain(|(open, _)| open == tenant);
    }
    status.answer(open, asked.limit, |list| list.into_iter().collect::<Vec<_>>()).await
}

/// One tenant's, the header's or the default one.
async fn as_prometheus(
    State(status): State<Arc<TsdbStatus>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked = match status.asked(query.as_deref(), &headers) {
        Ok(asked) => asked,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, "bad_data", reason),
    };
    let tenant = asked.tenant.as_ref().unwrap_or(&status.default_tenant);
    let found = status.tenants.open().into_iter().find(|(open, _)| open == tenant);
    let Some((_, tsdb)) = found else {
        let reason = format!("tenant {tenant} has no open storage here");
        return refuse(StatusCode::NOT_FOUND, "not_found", reason);
    };
    let tenant = tenant.clone();
    status.answer(vec![(tenant, tsdb)], asked.limit, |list| list.into_iter().next().map(|t| t.status)).await
}

/// What a request asks for.
struct Asked {
    /// `None` for all tenants.
    tenant: Option<TenantId>,
    limit: usize,
}

impl TsdbStatus {
    fn asked(&self, query: Option<&str>, headers: &HeaderMap) -> Result<Asked, String> {
        let (mut limit, mut all) = (LIMIT_DEFAULT, false);
        for parameter in query.unwrap_or_default().split('&') {
            match parameter.split_once('=').unwrap_or((parameter, "")) {
                ("limit", given) => {
                    limit = given
                        .parse()
                        .ok()
                        .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                        .ok_or_else(|| format!("limit must be a number from 1 to {LIMIT_MAX}"))?;
                }
                ("all_tenants", given) => all = given == "true",
                _ => {}
            }
        }
        let named = headers::named_tenant(headers, &self.tenant_header).map_err(|e| e.to_string())?;
        let tenant = match (all, named) {
            (true, Some(_)) => return Err("a tenant header and all_tenants exclude each other".to_owned()),
            (true, None) => None,
            (false, named) => Some(named.unwrap_or_else(|| self.default_tenant.clone())),
        };
        Ok(Asked { tenant, limit })
    }

    async fn answer<T: Serialize + Send + 'static>(
        &self,
        open: Vec<(TenantId, Arc<Tsdb>)>,
        limit: usize,
        form: impl FnOnce(Vec<OfTenant>) -> T + Send + 'static,
    ) -> Response {
        let cardinalities = Arc::clone(&self.cardinalities);
        let counted = tokio::task::spawn_blocking(move || {
            let of = |(tenant, tsdb): (TenantId, Arc<Tsdb>)| {
                let counts = cardinalities.of(&tenant, &tsdb, limit)?;
                Ok(OfTenant {
                    tenant: tenant.to_string(),
                    status: Status::new(&counts, &tsdb.stats(), limit),
                })
            };
            let list: Result<Vec<_>, ringside_tsdb::Error> = open.into_iter().map(of).collect();
            list.map(|list| serde_json::to_vec(&Success { status: "success", data: form(list) }))
        });
        let reason = match counted.await {
            Ok(Ok(Ok(json))) => return ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", reason)
    }
}

#[derive(Serialize)]
struct Success<T> {
    status: &'static str,
    data: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    status: &'static str,
    error_type: &'static str,
    error: String,
}

/// One entry of the list.
#[derive(Serialize)]
struct OfTenant {
    tenant: String,
    #[serde(flatten)]
    status: Status,
}

/// Prometheus' form.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    head_stats: HeadStats,
    series_count_by_metric_name: Vec<NameValue>,
    label_value_count_by_label_name: Vec<NameValue>,
    memory_in_bytes_by_label_name: Vec<NameValue>,
    series_count_by_label_value_pair: Vec<NameValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeadStats {
    num_series: u64,
    num_label_pairs: u64,
    chunk_count: u64,
    min_time: i64,
    max_time: i64,
}

#[derive(Serialize)]
struct NameValue {
    name: String,
    value: u64,
}

impl Status {
    fn new(counts: &Cardinality, stats: &Stats, limit: usize) -> Self {
        let list = |counts: &[Count]| {
            counts.iter().take(limit).map(|c| NameValue { name: c.name.clone(), value: c.value }).collect()
        };
        // An empty head has Prometheus' own bounds of no time at all.
        let (min_time, max_time) = stats.head_time_range.unwrap_or((i64::MAX, i64::MIN));
        Self {
            head_stats: HeadStats {
                num_series: stats.series,
                num_label_pairs: counts.label_pairs,
                chunk_count: stats.chunks,
                min_time,
                max_time,
            },
            series_count_by_metric_name: list(&counts.series_by_metric),
            label_value_count_by_label_name: list(&counts.values_by_label),
            memory_in_bytes_by_label_name: list(&counts.bytes_by_label),
            series_count_by_label_value_pair: list(&counts.series_by_pair),
        }
    }
}

fn refuse(status: StatusCode, error_type: &'static str, error: String) -> Response {
    let failure = Failure { status: "error", error_type, error };
    match serde_json::to_vec(&failure) {
        Ok(json) => (status, [(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(_) => status.into_response(),
    }
}

#[cfg(test)]
mod tests;
