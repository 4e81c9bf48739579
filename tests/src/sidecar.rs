//! One real `ringside sidecar` with a data directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::contents::Contents;
use crate::http::Metrics;
use crate::process::{Process, Spec};
use crate::{oracle, ports, tools, wait};

/// A sidecar, running or not.
pub struct Sidecar {
    /// The process, to be killed, stopped and restarted.
    pub process: Process,
    name: String,
    data: PathBuf,
    http: SocketAddr,
    write: SocketAddr,
}

/// What sidecars share.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Thanos' bucket configuration; none: no bucket.
    pub objstore: Option<String>,
    /// Further flags.
    pub flags: Vec<String>,
}

impl Sidecar {
    /// Starts a sidecar in `folder/name`, and returns when it takes writes.
    pub async fn start(folder: &Path, name: &str, setup: &Setup) -> Result<Self> {
        let folder = folder.join(name);
        let data = folder.join("data");
        std::fs::create_dir_all(&data)?;
        let (http, grpc, write) = (ports::reserve()?, ports::reserve()?, ports::reserve()?);
        let mut args = vec![
            "sidecar".to_owned(),
            format!("--tsdb.path={}", data.display()),
            "--label".to_owned(),
            "cluster=\"e2e\"".to_owned(),
            "--label".to_owned(),
            format!("replica=\"{name}\""),
            format!("--http-address={http}"),
            format!("--grpc-address={grpc}"),
            format!("--remote-write.address={write}"),
        ];
        if let Some(objstore) = &setup.objstore {
            std::fs::write(folder.join("objstore.yml"), objstore)?;
            args.push("--objstore.config-file=objstore.yml".to_owned());
        }
        args.extend(setup.flags.iter().cloned());
        let spec = Spec { name: name.to_owned(), program: tools::ringside()?, args, folder };
        let process = Process::start(spec)?;
        let mut sidecar = Self { process, name: name.to_owned(), data, http, write };
        sidecar.wait_ready().await?;
        Ok(sidecar)
    }

    /// Waits until it takes writes.
    pub async fn wait_ready(&mut self) -> Result<()> {
        self.process.wait_ready(&format!("http://{}/-/ready", self.http)).await
    }

    /// Starts it again on the same ports and data, and returns when it takes writes.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.restart()?;
        self.wait_ready().await
    }

    /// Its name, also the value of its `replica` label.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name in the ring, where it takes writes.
    pub fn ring_address(&self) -> SocketAddr {
        self.write
    }

    /// The admin address, with /metrics.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// The URL of its write port, for a sender that goes past Envoy.
    pub fn write_url(&self) -> String {
        format!("http://{}/api/v1/receive", self.write)
    }

    /// Its metrics.
    pub async fn metrics(&self) -> Result<Metrics> {
        Metrics::scrape(&format!("http://{}/metrics", self.http)).await
    }

    /// The data directory of one tenant.
    pub fn tenant_dir(&self, tenant: &str) -> PathBuf {
        self.data.join(tenant)
    }

    /// What it has stored for a tenant right now, live WAL included; nothing, if it has no such tenant.
    pub fn dump(&self, tenant: &str) -> Result<Contents> {
        let dir = self.tenant_dir(tenant);
        if !dir.exists() {
            return Ok(Contents::default());
        }
        oracle::dump_copy(&dir, &self.data.with_file_name(format!("copy-{tenant}")))
    }

    /// Waits until it has exactly the expected samples. Writes of the slowest replica go on after the
    /// client has its answer, so this is a matter of time; what is wrong stays wrong and is reported.
    pub async fn expect_exactly(&self, tenant: &str, expected: &Contents) -> Result<()> {
        wait::eventually(&format!("{} to have exactly what was acknowledged", self.name), async || {
            self.dump(tenant)?.expect_equal(&self.name, expected)
        })
        .await
    }

    /// The tenants that have a directory.
    pub fn tenants(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.data)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        if names.iter().any(String::is_empty) {
            bail!("{} has a tenant without a name", self.name);
        }
        names.sort();
        Ok(names)
    }
}
