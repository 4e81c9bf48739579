//! One pass over one tenant: finds the blocks that the bucket lacks and uploads them, oldest first.
//!
//! A block counts as uploaded when the tenant's record says so, or when the bucket has its meta.json. The first
//! failure ends the pass, so that the bucket never has a newer block without the older ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ringside_tsdb::block::Meta;

use super::ShipError;
use super::meta::Record;
use super::upload::{local, meta_key, upload_block};
use crate::bucket::Bucket;
use crate::metrics::{BucketName, Metrics, TenantLabels};
use crate::tenant_id::TenantId;

/// Blocks of a higher level were made from blocks that are in the bucket already.
const LEVEL_MAX: u32 = 1;

/// A pass over one tenant.
pub(super) struct TenantSync<'a> {
    pub(super) tenant: &'a TenantId,
    /// The tenant's directory.
    pub(super) dir: &'a Path,
    /// Its blocks, oldest first.
    pub(super) blocks: Vec<Meta>,
    /// The labels that its blocks get.
    pub(super) labels: BTreeMap<String, String>,
    pub(super) bucket: &'a Bucket,
    pub(super) metrics: &'a Metrics,
}

impl TenantSync<'_> {
    /// Uploads what is missing. After an error the pass can be repeated at any time.
    pub(super) async fn run(self) -> Result<(), ShipError> {
        let labels = TenantLabels { tenant: self.tenant.clone() };
        self.metrics.shipper_dir_syncs.get_or_create(&labels).inc();
        let synced = self.sync(&labels).await;
        if synced.is_err() {
            self.metrics.shipper_dir_sync_failures.get_or_create(&labels).inc();
        }
        synced
    }

    async fn sync(&self, labels: &TenantLabels) -> Result<(), ShipError> {
        let mut record = self.read_record();
        let known = record.uploaded.len();
        record.uploaded.retain(|ulid| self.blocks.iter().any(|block| block.ulid == *ulid));
        let mut changed = record.uploaded.len() != known;
        let shippable = |block: &&Meta| block.stats.num_samples > 0 && block.compaction.level <= LEVEL_MAX;
        let missing: Vec<&Meta> = self
            .blocks
            .iter()
            .filter(shippable)
            .filter(|block| !record.uploaded.contains(&block.ulid))
            .collect();
        let waiting = self.metrics.shipper_blocks_waiting.get_or_create_owned(labels);
        waiting.set(missing.len() as i64);
        let mut unreadable = None;
        for block in missing {
            match self.ship(block, labels).await {
                // The others need not wait for it.
                Err(error @ ShipError::Local { .. }) => {
                    unreadable.get_or_insert(error);
                    continue;
                }
                shipped => shipped?,
            }
            record.uploaded.insert(block.ulid);
            self.write_record(&record)?;
            changed = false;
            waiting.dec();
        }
        if changed {
            self.write_record(&record)?;
        }
        unreadable.map_or(Ok(()), Err)
    }

    async fn ship(&self, block: &Meta, labels: &TenantLabels) -> Result<(), ShipError> {
        if self.bucket.exists(&meta_key(block)).await? {
            tracing::info!(tenant = %self.tenant, block = %block.ulid, "block is in the bucket already");
            return Ok(());
        }
        let start = Instant::now();
        let dir = self.dir.join(block.ulid.to_string());
        match upload_block(self.bucket, &dir, block, &self.labels).await {
            Ok(bytes) => {
                self.metrics.shipper_uploads.get_or_create(labels).inc();
                let bucket = BucketName { bucket: self.bucket.name().to_owned() };
                self.metrics.bucket_last_upload.get_or_create(&bucket).set(unix_seconds());
                let took = start.elapsed();
                tracing::info!(tenant = %self.tenant, block = %block.ulid, bytes, ?took, "block uploaded");
                Ok(())
            }
            Err(error) => {
                self.metrics.shipper_upload_failures.get_or_create(labels).inc();
                Err(error)
            }
        }
    }

    /// A record that cannot be read is made anew: the bucket itself tells what it has.
    fn read_record(&self) -> Record {
        match Record::read(self.dir) {
            Ok(record) => record.unwrap_or_else(Record::empty),
            Err(error) => {
                tracing::warn!(tenant = %self.tenant, %error, "the record of uploads cannot be read, it is made anew");
                Record::empty()
            }
        }
    }

    fn write_record(&self, record: &Record) -> Result<(), ShipError> {
        record.write(self.dir).map_err(local("write", &Record::path(self.dir)))
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
