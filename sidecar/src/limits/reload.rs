//! Follows the limits file: what changes in it comes into force without a restart, what is wrong in it does not.
//!
//! The file is read again and again and compared as a whole, so that it does not matter how it was replaced.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Limits, LimitsConfig};
use crate::metrics::Metrics;
use crate::tenants::Tenants;

/// The limits as they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LimitsSource {
    /// What is in force at the start.
    pub(crate) config: LimitsConfig,
    /// The file to follow, and its content at the start.
    pub(crate) file: Option<(PathBuf, String)>,
    /// Between two looks at it.
    pub(crate) every: Duration,
}

/// Follows a file until told to stop.
pub(crate) struct Reload {
    path: PathBuf,
    /// What was last seen, good or bad; an unreadable file is the reason why.
    seen: Result<String, String>,
    tenants: Arc<Tenants>,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
}

impl Reload {
    pub(crate) fn new(
        path: PathBuf,
        seen: String,
        tenants: Arc<Tenants>,
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { path, seen: Ok(seen), tenants, limits, metrics }
    }

    pub(crate) async fn run(mut self, every: Duration, stop: CancellationToken) {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => return,
            }
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let found = tokio::fs::read_to_string(&self.path).await.map_err(|e| e.to_string());
        if found == self.seen {
            return;
        }
        self.metrics.limits_reloads.inc();
        let parsed = match &found {
            Ok(yaml) => LimitsConfig::parse(yaml).map_err(|e| e.to_string()),
            Err(reason) => Err(reason.clone()),
        };
        self.seen = found;
        let file = self.path.display();
        let config = match parsed {
            Ok(config) => config,
            Err(reason) => {
                self.metrics.limits_reload_errors.inc();
                return tracing::error!(%file, reason, "limits are not reloaded, the last good ones stay");
            }
        };
        tracing::info!(%file, "limits reloaded");
        self.limits.replace(config);
        let (tenants, limits) = (Arc::clone(&self.tenants), Arc::clone(&self.limits));
        let applied = spawn_blocking(move || {
            tenants.open().iter().for_each(|(tenant, tsdb)| limits.apply(tenant, tsdb));
        });
        if let Err(error) = applied.await {
            tracing::error!(%error, "telling storages their limits broke off");
        }
    }
}

#[cfg(test)]
mod tests {
    use ringside_tsdb::Options;

    use super::*;
    use crate::data_dir::DataDir;
    use crate::tenant_id::TenantId;

    #[tokio::test]
    async fn a_change_comes_into_force_and_a_mistake_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("limits.yaml");
        let (metrics, _) = Metrics::new();
        let tenant = TenantId::parse("acme").unwrap();
        let options = Options::default();
        let budget = Arc::clone(&options.series_budget);
        let limits =
            Arc::new(Limits::new(LimitsConfig::default(), Arc::clone(&budget), Arc::clone(&metrics)));
        let data = DataDir::lock(&dir.path().join("data")).unwrap();
        let tenants =
            Tenants::start(data, options, tenant.clone(), Arc::clone(&limits), Arc::clone(&metrics)).unwrap();
        tenants.replayed().await;
        let mut reload =
            Reload::new(path.clone(), String::new(), tenants, Arc::clone(&limits), Arc::clone(&metrics));
        let mut look = async |yaml: &str| {
            std::fs::write(&path, yaml).unwrap();
            reload.look().await;
            (limits.of(&tenant).series_max, metrics.limits_reloads.get(), metrics.limits_reload_errors.get())
        };
        assert_eq!(look("").await, (0, 0, 0));
        assert_eq!(look("write: {default: {request: {series_limit: 3}}}").await, (3, 1, 0));
        assert_eq!(look("write: {default: {request: {series: 4}}}").await, (3, 2, 1));
        assert_eq!(look("write: {default: {request: {series: 4}}}").await, (3, 2, 1), "it is told once");
        assert_eq!(look("write: {global: {head_series_limit: 7}}").await, (0, 3, 1));
        assert_eq!(budget.max(), 7);
        std::fs::remove_file(&path).unwrap();
        reload.look().await;
        assert_eq!((metrics.limits_reloads.get(), metrics.limits_reload_errors.get()), (4, 2));
        assert_eq!(budget.max(), 7, "the last good limits stay");
    }
}
