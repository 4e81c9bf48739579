//! A real Envoy that carries the filter, with the bootstrap that `ringside hashring render` writes: what
//! a user runs is what is tested.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::http::{self, Metrics};
use crate::process::{Process, Spec};
use crate::{ports, tools, wait};

/// Envoy with the filter.
pub struct Envoy {
    /// The process.
    pub process: Process,
    listener: SocketAddr,
    admin: SocketAddr,
}

impl Envoy {
    /// Renders the bootstrap from `hashrings.json` in `folder` with further flags for `render`, and
    /// starts it.
    pub async fn start(folder: &Path, hashrings: &str, flags: &[String]) -> Result<Self> {
        Self::start_edited(folder, hashrings, flags, |_| Ok(())).await
    }

    /// The same with a change of the rendered bootstrap, as a user makes who adds what `render` has no flag for.
    pub async fn start_edited(
        folder: &Path,
        hashrings: &str,
        flags: &[String],
        edit: impl FnOnce(&mut String) -> Result<()>,
    ) -> Result<Self> {
        Self::start_workers(2, folder, hashrings, flags, edit).await
    }

    /// The same with so many workers.
    pub async fn start_workers(
        workers: usize,
        folder: &Path,
        hashrings: &str,
        flags: &[String],
        edit: impl FnOnce(&mut String) -> Result<()>,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("hashrings.json"), hashrings)?;
        let (listener, admin) = (ports::reserve()?, ports::reserve()?);
        let rendered = Command::new(tools::ringside()?)
            .args(["hashring", "render", "--hashrings", "hashrings.json", "--output", "envoy.yaml"])
            .arg("--wasm")
            .arg(tools::wasm_module()?)
            .args(["--listen", &listener.to_string(), "--admin", &admin.to_string()])
            .args(flags)
            .current_dir(folder)
            .output()?;
        if !rendered.status.success() {
            bail!("ringside hashring render: {}", String::from_utf8_lossy(&rendered.stderr));
        }
        let bootstrap = folder.join("envoy.yaml");
        let mut text = std::fs::read_to_string(&bootstrap)?;
        edit(&mut text)?;
        std::fs::write(&bootstrap, text)?;
        let mut process = Process::start(Spec {
            name: "envoy".to_owned(),
            program: tools::envoy()?,
            args: ["-c", "envoy.yaml", "--disable-hot-restart", "--concurrency", &workers.to_string()]
                .map(str::to_owned)
                .into(),
            folder: folder.to_owned(),
        })?;
        process.wait_ready(&format!("http://{admin}/ready")).await?;
        Ok(Self { process, listener, admin })
    }

    /// The URL that clients write to.
    pub fn write_url(&self) -> String {
        format!("http://{}/api/v1/receive", self.listener)
    }

    /// The admin interface.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Envoy's own statistics, the filter's among them.
    pub async fn metrics(&self) -> Result<Metrics> {
        Metrics::scrape(&format!("http://{}/stats/prometheus", self.admin)).await
    }

    /// Memory that Envoy has in use, in bytes: what was given back is not counted, even where the process keeps it. The
    /// modules' own is not in it.
    pub async fn allocated_bytes(&self) -> Result<u64> {
        let page = http::get_ok(&format!("http://{}/memory", self.admin)).await?;
        let memory: serde_json::Value = serde_json::from_str(&page)?;
        Ok(memory["allocated"].as_str().context("no allocated bytes")?.parse()?)
    }

    /// Waits until no request to a sidecar is under way: the slowest replica has answered too.
    pub async fn wait_idle(&self) -> Result<()> {
        let url = format!("http://{}/stats?filter=upstream_rq_active", self.admin);
        wait::eventually("the answers of the slowest replicas", async || {
            let page = http::get_ok(&url).await?;
            let busy: Vec<&str> = page.lines().filter(|line| !line.ends_with(": 0")).collect();
            if !busy.is_empty() {
                bail!("under way: {busy:?}");
            }
            Ok(())
        })
        .await
    }

    /// An error unless Envoy sends requests to every sidecar: none is ejected or failed its check.
    pub async fn expect_all_healthy(&self) -> Result<()> {
        let page = http::get_ok(&format!("http://{}/clusters?format=json", self.admin)).await?;
        let clusters: serde_json::Value = serde_json::from_str(&page)?;
        for cluster in clusters["cluster_statuses"].as_array().context("no clusters")? {
            for host in cluster["host_statuses"].as_array().into_iter().flatten() {
                let health = &host["health_status"];
                let bad = ["failed_active_health_check", "failed_outlier_check", "pending_active_hc"];
                if bad.iter().any(|flag| health[flag] == true) {
                    bail!("{}: {health}", cluster["name"]);
                }
            }
        }
        Ok(())
    }
}
