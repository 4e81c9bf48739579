//! When blocks are cut, finished chunks moved to files, logs truncated, old blocks deleted, the WAL synced, and a
//! storage that failed opened anew.
//!
//! One loop for all tenants, one cut at a time: a cut costs CPU and disk, and writes go on beside it. A cut that
//! fails is tried again with growing pauses, for that tenant alone. How a block is cut is the storage's business.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBackoff;
use futures::{StreamExt, stream};
use ringside_tsdb::{Expiry, Tsdb, WalSync};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::background;
use crate::backoff;
use crate::metrics::{Metrics, TenantLabels};
use crate::shipper::uploaded_blocks;
use crate::tenant_id::TenantId;
use crate::tenants::Tenants;

/// How often tenants are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often a tenant's retention is applied, besides after each cut.
const RETENTION_EVERY: Duration = Duration::from_secs(60);
/// How often finished chunks are moved from memory to files, and logs truncated that were left too long.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Between two attempts to mend a storage whose log could not be written, by opening it anew: a disk stays full for
/// a while.
const REOPEN_EVERY: Duration = Duration::from_secs(10);
/// Tenants whose WAL is synced at once.
const SYNCS_MAX: usize = 32;
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Cuts blocks and deletes old ones.
pub(crate) struct Flush {
    tenants: Arc<Tenants>,
    retention: Retention,
    /// Woken when there is a new block.
    shipper: Arc<Notify>,
    metrics: Arc<Metrics>,
    schedule: HashMap<TenantId, Schedule>,
}

/// Which local blocks may be deleted once they are old enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retention {
    /// Blocks are kept for ever.
    Off,
    /// Only blocks that the bucket has.
    Uploaded,
    /// All: there is no bucket.
    All,
}

/// When a tenant is next looked at.
struct Schedule {
    cut_at: Instant,
    pauses: ExponentialBackoff,
    retention_at: Instant,
    tidy_at: Instant,
    reopen_at: Instant,
}

impl Flush {
    pub(crate) fn new(
        tenants: Arc<Tenants>,
        retention: Retention,
        shipper: Arc<Notify>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { tenants, retention, shipper, metrics, schedule: HashMap::new() }
    }

    /// Runs until `stop`. A cut under way is finished first.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => return,
            }
            for (tenant, tsdb) in self.tenants.open() {
                if stop.is_cancelled() {
                    return;
                }
                self.visit(&tenant, &tsdb, &stop).await;
            }
        }
    }

    async fn visit(&mut self, tenant: &TenantId, tsdb: &Arc<Tsdb>, stop: &CancellationToken) {
        let now = Instant::now();
        let schedule = self.schedule.entry(tenant.clone()).or_insert_with(|| Schedule {
            cut_at: now,
            pauses: pauses(),
            retention_at: now,
            tidy_at: now + TIDY_EVERY,
            reopen_at: now,
        });
        if tsdb.is_broken() {
            if schedule.reopen_at <= now {
                schedule.reopen_at = now + REOPEN_EVERY;
                tracing::error!(%tenant, "the storage failed and is opened anew");
                self.tenants.reopen(tenant);
            }
            return;
        }
        let mut retention_due = schedule.retention_at <= now;
        if schedule.cut_at <= now {
            match cut_all(tenant, tsdb, &self.metrics, stop).await {
                Ok(0) => schedule.pauses = pauses(),
                Ok(_) => {
                    schedule.pauses = pauses();
                    self.shipper.notify_one();
                    retention_due = true;
                }
                Err(CutFailed { reason, is_corrupt }) => {
                    let pause = schedule.pauses.next().unwrap_or(RETRY_MAX);
                    schedule.cut_at = Instant::now() + pause;
                    self.metrics
                        .compactions_failed
                        .get_or_create(&TenantLabels { tenant: tenant.clone() })
                        .inc();
                    tracing::error!(%tenant, %reason, retry_in = ?pause, "a block could not be cut");
                    if is_corrupt {
                        // The write-ahead log has what a damaged file had.
                        tracing::error!(%tenant, "the storage is opened anew without what is damaged");
                        return self.tenants.reopen(tenant);
                    }
                }
            }
        }
        if schedule.tidy_at <= now {
            schedule.tidy_at = Instant::now() + TIDY_EVERY;
            tidy(tenant, tsdb).await;
        }
        if retention_due {
            schedule.retention_at = Instant::now() + RETENTION_EVERY;
            apply_retention(tenant, tsdb, self.retention, &self.metrics).await;
        }
    }
}

/// Why no block was cut.
#[derive(Debug)]
struct CutFailed {
    reason: String,
    /// A file is damaged.
    is_corrupt: bool,
}

/// Cuts every block that is due; returns how many were cut.
async fn cut_all(
    tenant: &TenantId,
    tsdb: &Arc<Tsdb>,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Result<usize, CutFailed> {
    let mut count = 0;
    while !stop.is_cancelled() {
        let work = Arc::clone(tsdb);
        let start = Instant::now();
        let cut =
            background::run(move || if work.due() { work.cut_block().map(Some) } else { Ok(None) }).await;
        let labels = TenantLabels { tenant: tenant.clone() };
        if !matches!(cut, Ok(Ok(None))) {
            metrics.compactions_triggered.get_or_create(&labels).inc();
        }
        let meta = match cut {
            Ok(Ok(None)) => return Ok(count),
            // The head moved on over a range without samples.
            Ok(Ok(Some(None))) => continue,
            Ok(Ok(Some(Some(meta)))) => meta,
            Ok(Err(error)) => {
                let is_corrupt = matches!(error, ringside_tsdb::Error::Corrupt { .. });
                return Err(CutFailed { reason: error.to_string(), is_corrupt });
            }
            Err(error) => return Err(CutFailed { reason: error.to_string(), is_corrupt: false }),
        };
        count += 1;
        metrics.compactions.get_or_create(&labels).inc();
        metrics.compaction_duration.get_or_create(&labels).observe(start.elapsed().as_secs_f64());
        tracing::info!(
            %tenant,
            block = %meta.ulid,
            mint = meta.min_time,
            maxt = meta.max_time,
            series = meta.stats.num_series,
            samples = meta.stats.num_samples,
            took = ?start.elapsed(),
            "block cut"
        );
    }
    Ok(count)
}

/// Moves finished chunks to files, and truncates logs if that failed before. Both are tried again in their turn.
async fn tidy(tenant: &TenantId, tsdb: &Arc<Tsdb>) {
    let work = Arc::clone(tsdb);
    let done = background::run(move || {
        work.map_chunks()?;
        if work.log_truncation_due() { work.truncate_logs() } else { Ok(()) }
    });
    let reason = match done.await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::error!(%tenant, %reason, "chunks could not leave memory, or logs not be truncated");
}

async fn apply_retention(tenant: &TenantId, tsdb: &Arc<Tsdb>, retention: Retention, metrics: &Metrics) {
    if retention == Retention::Off {
        return;
    }
    let work = Arc::clone(tsdb);
    let applied = background::run(move || match retention {
        Retention::Off => Ok(Vec::new()),
        Retention::All => work.apply_retention(&|_| true),
        Retention::Uploaded => {
            let uploaded = uploaded_blocks(work.dir());
            work.apply_retention(&|block| uploaded.contains(block))
        }
    });
    let labels = TenantLabels { tenant: tenant.clone() };
    let reason = match applied.await {
        Ok(Ok(deleted)) => {
            for removed in deleted {
                let (family, reason) = match removed.expiry {
                    Expiry::Size => (&metrics.size_retentions, "the tenant has too many bytes"),
                    _ => (&metrics.time_retentions, "older than the retention"),
                };
                family.get_or_create(&labels).inc();
                tracing::info!(%tenant, block = %removed.ulid, reason, "block deleted");
            }
            return;
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    metrics.retention_failures.get_or_create(&labels).inc();
    tracing::error!(%tenant, %reason, "old blocks could not be deleted");
}

/// Under `--wal.sync=interval`: syncs every tenant's WAL again and again. Otherwise there is nothing to do.
pub(crate) async fn sync_wal(tenants: Arc<Tenants>, mode: WalSync, stop: CancellationToken) {
    let WalSync::Interval(every) = mode else { return };
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        stream::iter(tenants.open())
            .for_each_concurrent(SYNCS_MAX, |(tenant, tsdb)| async move {
                match spawn_blocking(move || tsdb.sync()).await {
                    // A closed or failed WAL is not news: its writes say so.
                    Ok(Ok(()) | Err(ringside_tsdb::Error::Closed | ringside_tsdb::Error::Poisoned(_))) => {}
                    Ok(Err(error)) => tracing::error!(%tenant, %error, "the WAL could not be synced"),
                    Err(error) => tracing::error!(%tenant, %error, "syncing the WAL broke off"),
                }
            })
            .await;
    }
}

fn pauses() -> ExponentialBackoff {
    backoff::forever(RETRY_MIN, RETRY_MAX)
}

#[cfg(test)]
#[path = "flush_tests.rs"]
mod tests;
