//! What a tenant, and the process as a whole, may ask of the write path.
//!
//! [`LimitsConfig`] is what the limits file says, [`Limits`] holds it in force and hands each storage its part,
//! [`reload`] follows the file, [`InFlight`] bounds the bytes of bodies in memory. Which status a refusal becomes is
//! [`crate::error`]'s to say.

mod config;
mod gate;
mod in_flight;
pub(crate) mod reload;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ringside_tsdb::{SeriesBudget, Tsdb};

pub(crate) use config::{LimitsConfig, LimitsConfigError, TenantLimits};
use gate::Gate;
pub(crate) use in_flight::{BODY_BYTES_MAX, IN_FLIGHT_BYTES_MAX, InFlight, Reservation};

use crate::error::WriteError;
use crate::metrics::{LimitLabels, Metrics, TenantLabels};
use crate::tenant_id::TenantId;

/// A limit of one request, by the name that metrics have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestLimit {
    BodyBytes,
    Series,
    Samples,
}

impl RequestLimit {
    fn name(self) -> &'static str {
        match self {
            Self::BodyBytes => "body_size",
            Self::Series => "series",
            Self::Samples => "samples",
        }
    }
}

impl std::fmt::Display for RequestLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BodyBytes => "bytes",
            Self::Series => "series",
            Self::Samples => "samples",
        })
    }
}

/// The limits in force.
#[derive(Debug)]
pub(crate) struct Limits {
    current: RwLock<Arc<LimitsConfig>>,
    /// Held while a storage is told its limits or other limits come into force, so that no storage is left with
    /// limits of the past.
    applying: Mutex<()>,
    gate: Gate,
    budget: Arc<SeriesBudget>,
    metrics: Arc<Metrics>,
}

impl Limits {
    /// Puts `config` in force; `budget` is the one that all storages share.
    pub(crate) fn new(config: LimitsConfig, budget: Arc<SeriesBudget>, metrics: Arc<Metrics>) -> Self {
        let limits = Self {
            current: RwLock::default(),
            applying: Mutex::default(),
            gate: Gate::new(Arc::clone(&metrics)),
            budget,
            metrics,
        };
        limits.replace(config);
        limits
    }

    /// No limits.
    #[cfg(test)]
    pub(crate) fn none(metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self::new(LimitsConfig::default(), Arc::default(), Arc::clone(metrics)))
    }

    /// The limits of one tenant.
    pub(crate) fn of(&self, tenant: &TenantId) -> TenantLimits {
        self.current.read().unwrap_or_else(PoisonError::into_inner).of(tenant)
    }

    /// Waits for one's turn where the number of writes at once is limited. Hold the result while at work.
    pub(crate) async fn turn(&self) -> gate::Turn<'_> {
        self.gate.enter().await
    }

    /// Puts other limits in force. Storages that are open are told by [`apply`](Self::apply).
    pub(crate) fn replace(&self, config: LimitsConfig) {
        let _applying = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        self.budget.set_max(config.series_max);
        self.gate.set_max(config.concurrency_max);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Tells a storage its limits. May wait for an append.
    pub(crate) fn apply(&self, tenant: &TenantId, tsdb: &Tsdb) {
        let _applying = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = self.of(tenant);
        if let Err(error) = tsdb.set_limits(limits.storage) {
            tracing::error!(%tenant, %error, "the storage cannot be told its limits");
        }
        let label = |limit: RequestLimit| LimitLabels { tenant: tenant.clone(), limit: limit.name() };
        for (limit, max) in [
            (RequestLimit::BodyBytes, limits.body_bytes_max),
            (RequestLimit::Series, limits.series_max),
            (RequestLimit::Samples, limits.samples_max),
        ] {
            self.metrics.write_limits.get_or_create(&label(limit)).set(max as i64);
        }
        let labels = TenantLabels { tenant: tenant.clone() };
        self.metrics.head_series_limit.get_or_create(&labels).set(limits.storage.series_max as i64);
    }

    /// Refuses a request of `tenant` that has `got` of what `limit` bounds to `max`.
    pub(crate) fn check(
        &self,
        tenant: &TenantId,
        limit: RequestLimit,
        got: u64,
        max: u64,
    ) -> Result<(), WriteError> {
        if max == 0 || got <= max {
            return Ok(());
        }
        let labels = LimitLabels { tenant: tenant.clone(), limit: limit.name() };
        self.metrics.write_limits_hit.get_or_create(&labels).observe((got - max) as f64);
        Err(WriteError::RequestLimit { tenant: tenant.clone(), limit, got, max })
    }
}
