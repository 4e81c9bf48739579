//! The shipper: every block of every tenant to the bucket, once.
//!
//! A loop over tenants that goes on until the bucket has everything: woken by a cut block, and with growing pauses
//! while the bucket is away. An outage costs disk, never a write. Order within a block is [`upload`]'s, which
//! blocks are missing is [`sync`]'s; deleting local blocks is [`crate::flush`]'s.

mod meta;
mod sync;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBackoff;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) use meta::uploaded_blocks;
use sync::TenantSync;

use crate::backoff;
use crate::bucket::{Bucket, BucketError};
use crate::external_labels::ExternalLabels;
use crate::metrics::Metrics;
use crate::tenant_id::TenantId;
use crate::tenants::Tenants;

/// Between passes while nothing wakes the shipper.
const PASS_EVERY: Duration = Duration::from_secs(30);
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ShipError {
    /// The bucket's fault, and so likely every tenant's.
    #[error("bucket: {0}")]
    Bucket(#[from] BucketError),
    /// A block or the record of uploads cannot be read or written.
    #[error("{action} {path}: {source}")]
    Local { action: &'static str, path: String, source: std::io::Error },
}

/// Ships blocks until told to stop.
pub(crate) struct Shipper {
    tenants: Arc<Tenants>,
    bucket: Bucket,
    external_labels: ExternalLabels,
    tenant_label_name: String,
    wake: Arc<Notify>,
    metrics: Arc<Metrics>,
    /// The tenant that the last pass failed at: the next one begins behind it, so that one block that the bucket
    /// will not take holds up no other tenant.
    failed_at: Option<TenantId>,
}

impl Shipper {
    pub(crate) fn new(
        tenants: Arc<Tenants>,
        bucket: Bucket,
        external_labels: ExternalLabels,
        tenant_label_name: String,
        wake: Arc<Notify>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { tenants, bucket, external_labels, tenant_label_name, wake, metrics, failed_at: None }
    }

    /// Runs until `stop`, then makes one last pass; `last_pass_max` after `stop` everything is broken off.
    pub(crate) async fn run(mut self, stop: CancellationToken, last_pass_max: Duration) {
        let deadline = async {
            stop.cancelled().await;
            tokio::time::sleep(last_pass_max).await;
        };
        tokio::select! {
            () = self.ship(&stop) => {}
            () = deadline => {
                let seconds = last_pass_max.as_secs();
                tracing::warn!(seconds, "the last upload was broken off; the next start goes on with it");
            }
        }
    }

    /// Pass after pass. The last one begins after `stop`, when no more blocks are cut.
    async fn ship(&mut self, stop: &CancellationToken) {
        let mut pauses = pauses();
        loop {
            let last = stop.is_cancelled();
            let passed = self.pass().await;
            if last {
                return;
            }
            if passed {
                pauses = self::pauses();
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep(PASS_EVERY) => {}
                    () = stop.cancelled() => {}
                }
            } else {
                let pause = pauses.next().unwrap_or(RETRY_MAX);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// Visits every open tenant once. True if the bucket now has everything that could be read.
    async fn pass(&mut self) -> bool {
        let mut tenants = self.tenants.open();
        if let Some(failed) = self.failed_at.take() {
            let behind = tenants.partition_point(|(tenant, _)| *tenant <= failed);
            tenants.rotate_left(behind);
        }
        let mut all = true;
        for (tenant, tsdb) in tenants {
            let sync = TenantSync {
                tenant: &tenant,
                dir: tsdb.dir(),
                blocks: tsdb.blocks(),
                labels: self.external_labels.with_tenant(&self.tenant_label_name, tenant.as_str()),
                bucket: &self.bucket,
                metrics: &self.metrics,
            };
            match sync.run().await {
                Ok(()) => {}
                Err(error @ ShipError::Bucket(_)) => {
                    tracing::warn!(%tenant, %error, bucket = self.bucket.name(), "upload failed, will be retried");
                    self.failed_at = Some(tenant);
                    return false;
                }
                Err(error @ ShipError::Local { .. }) => {
                    tracing::error!(%tenant, %error, "blocks cannot be shipped, will be retried");
                    all = false;
                }
            }
        }
        all
    }
}

fn pauses() -> ExponentialBackoff {
    backoff::forever(RETRY_MIN, RETRY_MAX)
}

#[cfg(test)]
mod tests;
