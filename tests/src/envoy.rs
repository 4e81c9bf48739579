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
    /// What keeps its files up to date, where somebody does.
    pub renderer: Option<Process>,
    addresses: Addresses,
}

#[derive(Clone, Copy)]
struct Addresses {
    listener: SocketAddr,
    admin: SocketAddr,
    statistics: SocketAddr,
}

impl Addresses {
    fn reserve() -> Result<Self> {
        Ok(Self { listener: ports::reserve()?, admin: ports::reserve()?, statistics: ports::reserve()? })
    }

    /// What every rendering has.
    fn flags(self) -> Result<Vec<String>> {
        let Self { listener, admin, statistics } = self;
        Ok(vec![
            "hashring".to_owned(),
            "render".to_owned(),
            "--output=envoy.yaml".to_owned(),
            format!("--wasm={}", tools::wasm_module()?.display()),
            format!("--listen={listener}"),
            format!("--admin={admin}"),
            format!("--statistics={statistics}"),
        ])
    }
}

/// Workers of an Envoy where a test does not ask for another number.
const WORKERS: u32 = 2;

impl Envoy {
    /// Renders the bootstrap from `hashrings.json` in `folder` with further flags for `render`, and
    /// starts it.
    pub async fn start(folder: &Path, hashrings: &str, flags: &[String]) -> Result<Self> {
        Self::start_edited(folder, hashrings, flags, |_| Ok(())).await
    }

    /// The same with another number of workers.
    pub async fn start_with_workers(
        folder: &Path,
        hashrings: &str,
        flags: &[String],
        workers: u32,
    ) -> Result<Self> {
        Self::start_edited_with_workers(folder, hashrings, flags, workers, |_| Ok(())).await
    }

    /// The same with a change of the rendered bootstrap, as a user makes who adds what `render` has no flag for.
    pub async fn start_edited(
        folder: &Path,
        hashrings: &str,
        flags: &[String],
        edit: impl FnOnce(&mut String) -> Result<()>,
    ) -> Result<Self> {
        Self::start_edited_with_workers(folder, hashrings, flags, WORKERS, edit).await
    }

    /// Both.
    pub async fn start_edited_with_workers(
        folder: &Path,
        hashrings: &str,
        flags: &[String],
        workers: u32,
        edit: impl FnOnce(&mut String) -> Result<()>,
    ) -> Result<Self> {
        let addresses = render(folder, hashrings, flags)?;
        let bootstrap = folder.join("envoy.yaml");
        let mut text = std::fs::read_to_string(&bootstrap)?;
        edit(&mut text)?;
        std::fs::write(&bootstrap, text)?;
        Self::launch(folder, addresses, workers).await
    }

    /// Starts `render --watch` with these flags, which name the files to follow, and an Envoy that follows what it
    /// writes.
    pub async fn start_following(folder: &Path, flags: &[String]) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let addresses = Addresses::reserve()?;
        let mut args = addresses.flags()?;
        // Absolute, for both.
        args.push(format!("--discovery={}", folder.join("discovery").display()));
        args.extend(["--watch".to_owned(), "--watch-interval=100ms".to_owned()]);
        args.extend(flags.iter().cloned());
        let spec =
            Spec { name: "render".to_owned(), program: tools::ringside()?, args, folder: folder.to_owned() };
        let mut renderer = Process::start(spec)?;
        wait::eventually("the bootstrap", async || {
            renderer.expect_running()?;
            std::fs::metadata(folder.join("envoy.yaml")).context("no envoy.yaml").map(drop)
        })
        .await?;
        let envoy = Self::launch(folder, addresses, WORKERS).await?;
        Ok(Self { renderer: Some(renderer), ..envoy })
    }

    async fn launch(folder: &Path, addresses: Addresses, workers: u32) -> Result<Self> {
        let workers = workers.to_string();
        let mut process = Process::start(Spec {
            name: "envoy".to_owned(),
            program: tools::envoy()?,
            args: ["-c", "envoy.yaml", "--disable-hot-restart", "--concurrency", &workers]
                .map(str::to_owned)
                .into(),
            folder: folder.to_owned(),
        })?;
        process.wait_ready(&format!("http://{}/ready", addresses.admin)).await?;
        Ok(Self { process, renderer: None, addresses })
    }

    /// The URL that clients write to.
    pub fn write_url(&self) -> String {
        format!("http://{}/api/v1/receive", self.addresses.listener)
    }

    /// The admin interface.
    pub fn admin(&self) -> SocketAddr {
        self.addresses.admin
    }

    /// Envoy's own statistics, the filter's among them.
    pub async fn metrics(&self) -> Result<Metrics> {
        Metrics::scrape(&self.statistics_url()).await
    }

    /// Where they are scraped.
    pub fn statistics_url(&self) -> String {
        format!("http://{}/metrics", self.addresses.statistics)
    }

    /// Memory that Envoy has in use, in bytes: what was given back is not counted, even where the process keeps it. The
    /// modules' own is not in it.
    pub async fn allocated_bytes(&self) -> Result<u64> {
        let page = http::get_ok(&format!("http://{}/memory", self.addresses.admin)).await?;
        let memory: serde_json::Value = serde_json::from_str(&page)?;
        Ok(memory["allocated"].as_str().context("no allocated bytes")?.parse()?)
    }

    /// Waits until no request to a sidecar is under way: the slowest replica has answered too.
    pub async fn wait_idle(&self) -> Result<()> {
        let url = format!("http://{}/stats?filter=upstream_rq_active", self.addresses.admin);
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
        let page = http::get_ok(&format!("http://{}/clusters?format=json", self.addresses.admin)).await?;
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

/// Writes `hashrings.json` and renders the bootstrap from it.
fn render(folder: &Path, hashrings: &str, flags: &[String]) -> Result<Addresses> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("hashrings.json"), hashrings)?;
    let addresses = Addresses::reserve()?;
    let rendered = Command::new(tools::ringside()?)
        .args(addresses.flags()?)
        .arg("--hashrings=hashrings.json")
        .args(flags)
        .current_dir(folder)
        .output()?;
    if !rendered.status.success() {
        bail!("ringside hashring render: {}", String::from_utf8_lossy(&rendered.stderr));
    }
    Ok(addresses)
}
