//! Sidecars behind one Envoy, with or without a bucket: the topology of most tests in one call.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use ringside_hashring::Hashrings;

use crate::contents::Labels;
use crate::envoy::Envoy;
use crate::generator::Generator;
use crate::s3::S3;
use crate::sidecar::{Setup, Sidecar};
use crate::wait;

/// What to start.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The number of sidecars, all in one ring for all tenants.
    pub sidecars: usize,
    /// Replicas of each series.
    pub replication_factor: usize,
    /// With an S3 server that the sidecars ship to.
    pub bucket: bool,
    /// How long the filter waits for a sidecar.
    pub write_timeout: Duration,
}

impl Default for Layout {
    fn default() -> Self {
        Self { sidecars: 3, replication_factor: 3, bucket: false, write_timeout: Duration::from_secs(5) }
    }
}

/// The running topology.
pub struct Cluster {
    /// In ring order.
    pub sidecars: Vec<Sidecar>,
    /// The way in.
    pub envoy: Envoy,
    /// The bucket's server, if the layout has one.
    pub s3: Option<S3>,
    rings: Hashrings,
    folder: PathBuf,
}

impl Cluster {
    /// Starts everything below `folder` and returns when a write can succeed.
    pub async fn start(folder: &Path, layout: &Layout) -> Result<Self> {
        let s3 = if layout.bucket { Some(S3::start(&folder.join("s3")).await?) } else { None };
        let setup = Setup { objstore: s3.as_ref().map(S3::objstore_config), ..Setup::default() };
        let starts = (0..layout.sidecars).map(|index| {
            let (name, setup) = (format!("ringside-{index}"), &setup);
            async move { Sidecar::start(folder, &name, setup).await }
        });
        let sidecars = futures::future::try_join_all(starts).await?;

        let endpoints: Vec<String> = sidecars.iter().map(|one| one.ring_address().to_string()).collect();
        let hashrings = serde_json::json!([{"hashring": "default", "endpoints": endpoints}]).to_string();
        let rings = Hashrings::parse(hashrings.as_bytes(), layout.replication_factor)?;
        let flags = [
            format!("--replication-factor={}", layout.replication_factor),
            format!("--write-timeout={}ms", layout.write_timeout.as_millis()),
        ];
        let envoy = Envoy::start(&folder.join("envoy"), &hashrings, &flags).await?;
        let cluster = Self { sidecars, envoy, s3, rings, folder: folder.to_owned() };
        cluster.wait_all_healthy().await?;
        Ok(cluster)
    }

    /// Sends a range as [`Generator::send_range`] does, each request only after all replicas have the one
    /// before, as with any scrape interval. Without that a replica may get two samples of a series in
    /// the wrong order and refuse one; the other replicas make the quorum.
    pub async fn write_settled(
        &self,
        generator: &Generator,
        from: i64,
        to: i64,
        step_ms: i64,
        per_request: i64,
    ) -> Result<()> {
        for first in (from..to).step_by(usize::try_from(step_ms * per_request)?) {
            let end = to.min(first + step_ms * per_request);
            generator.send_range(first, end, step_ms, usize::try_from(per_request)?).await?;
            self.envoy.wait_idle().await?;
        }
        Ok(())
    }

    /// Waits until Envoy would send to every sidecar.
    pub async fn wait_all_healthy(&self) -> Result<()> {
        wait::eventually("Envoy to find every sidecar healthy", async || {
            self.envoy.expect_all_healthy().await
        })
        .await
    }

    /// The folder that everything is below.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The bucket's server, where the layout has one.
    pub fn s3(&mut self) -> Result<&mut S3> {
        self.s3.as_mut().context("this layout has no bucket")
    }

    /// The sidecars that the ring names for a series, in replica order, as places in `sidecars`.
    pub fn owners(&self, tenant: &str, labels: &Labels) -> Result<Vec<usize>> {
        let ring = self.rings.for_tenant(tenant).context("no ring for the tenant")?;
        let pairs = labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let hash = ringside_hashring::series_hash(tenant, pairs);
        ring.replicas(hash)
            .iter()
            .map(|replica| {
                let address = &ring.endpoints()[replica.get()].address;
                let found = self.sidecars.iter().position(|s| s.ring_address().to_string() == *address);
                found.with_context(|| format!("no sidecar is {address}"))
            })
            .collect()
    }
}
