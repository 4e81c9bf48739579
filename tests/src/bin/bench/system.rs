//! One of the systems that are compared, as a process on a core of its own: how it is started and where it keeps
//! what.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use ringside_e2e::http::{self, Metrics};
use ringside_e2e::process::{Process, Spec};
use ringside_e2e::{ports, tools};

use crate::cores;
use crate::sender::Endpoint;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// One sidecar.
    Ringside,
    /// As a remote-write receiver.
    Prometheus,
    /// Single-node.
    #[value(name = "victoriametrics")]
    VictoriaMetrics,
}

impl Kind {
    /// In the order in which they run and are shown.
    pub(crate) const ALL: [Self; 3] = [Self::Ringside, Self::Prometheus, Self::VictoriaMetrics];

    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ringside => "Ringside",
            Self::Prometheus => "Prometheus",
            Self::VictoriaMetrics => "VictoriaMetrics",
        }
    }
}

/// How long a system may take to open its data.
const START_MAX: Duration = Duration::from_secs(600);
/// Between two looks at whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a system may take until its background work is done.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// A system is settled when it used less than a fiftieth of its core for so many seconds.
const SETTLED_SECONDS: usize = 4;

/// A running system.
pub(crate) struct System {
    pub(crate) kind: Kind,
    pub(crate) process: Process,
    address: SocketAddr,
    write: SocketAddr,
    data: PathBuf,
}

/// A start on data that is there.
pub(crate) struct Restart {
    /// From the start of the process until it takes writes.
    pub(crate) took: Duration,
    /// The most resident memory in that time, bytes.
    pub(crate) peak: u64,
}

impl System {
    /// Where a system in `folder` keeps its data.
    pub(crate) fn data_in(folder: &Path) -> PathBuf {
        folder.join("data")
    }

    /// Starts it in `folder`, on the data that is there, if any.
    pub(crate) async fn start(kind: Kind, folder: &Path) -> Result<(Self, Restart)> {
        let data = Self::data_in(folder);
        std::fs::create_dir_all(&data)?;
        let (address, grpc, write) = (ports::reserve()?, ports::reserve()?, ports::reserve()?);
        let shown = data.display();
        let (program, args) = match kind {
            Kind::Ringside => (
                tools::ringside()?,
                vec![
                    "sidecar".to_owned(),
                    format!("--tsdb.path={shown}"),
                    "--wal.sync=group".to_owned(),
                    "--label=replica=\"bench\"".to_owned(),
                    format!("--http-address={address}"),
                    format!("--grpc-address={grpc}"),
                    format!("--remote-write.address={write}"),
                ],
            ),
            Kind::Prometheus => {
                std::fs::write(folder.join("prometheus.yml"), "global: {}\n")?;
                let args = vec![
                    "--config.file=prometheus.yml".to_owned(),
                    format!("--storage.tsdb.path={shown}"),
                    "--web.enable-remote-write-receiver".to_owned(),
                    format!("--web.listen-address={address}"),
                ];
                (tools::prometheus()?, args)
            }
            Kind::VictoriaMetrics => {
                let args = vec![format!("-storageDataPath={shown}"), format!("-httpListenAddr={address}")];
                (tools::victoria_metrics()?, args)
            }
        };
        let mut pinned =
            vec!["--cpu-list".to_owned(), cores::SYSTEM.to_string(), program.display().to_string()];
        pinned.extend(args);
        let write = if kind == Kind::Ringside { write } else { address };
        let begin = Instant::now();
        let process = Process::start(Spec {
            name: kind.name().to_lowercase(),
            program: "taskset".into(),
            args: pinned,
            folder: folder.to_owned(),
        })?;
        let mut system = Self { kind, process, address, write, data };
        let restart = system.wait_ready(begin).await?;
        Ok((system, restart))
    }

    /// SIGKILL, then the same again on the same data.
    pub(crate) async fn restart(&mut self) -> Result<Restart> {
        self.process.kill9()?;
        let begin = Instant::now();
        self.process.restart()?;
        self.wait_ready(begin).await
    }

    async fn wait_ready(&mut self, begin: Instant) -> Result<Restart> {
        let path = if self.kind == Kind::VictoriaMetrics { "health" } else { "-/ready" };
        let url = format!("http://{}/{path}", self.address);
        while let Err(error) = http::get_ok(&url).await {
            self.process.expect_running()?;
            if begin.elapsed() > START_MAX {
                return Err(error).with_context(|| self.process.log_tail());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(Restart { took: begin.elapsed(), peak: self.process.peak_rss_bytes()? })
    }

    /// Waits until it has done what it does after the last answer.
    pub(crate) fn settle(&self) -> Result<()> {
        let (begin, mut quiet) = (Instant::now(), 0);
        while quiet < SETTLED_SECONDS {
            if begin.elapsed() > SETTLE_MAX {
                println!("    {} is still busy after {SETTLE_MAX:?}", self.kind.name());
                break;
            }
            let before = self.process.cpu_time()?;
            std::thread::sleep(Duration::from_secs(1));
            let used = self.process.cpu_time()?.saturating_sub(before);
            quiet = if used <= Duration::from_millis(20) { quiet + 1 } else { 0 };
        }
        Ok(())
    }

    /// Where it takes writes.
    pub(crate) fn endpoint(&self) -> Endpoint {
        let path = if self.kind == Kind::Ringside { "/api/v1/receive" } else { "/api/v1/write" };
        Endpoint { address: self.write, path }
    }

    /// Its metrics.
    pub(crate) async fn metrics(&self) -> Result<Metrics> {
        Metrics::scrape(&format!("http://{}/metrics", self.address)).await
    }

    /// The directory in Prometheus' layout, or VictoriaMetrics' own.
    pub(crate) fn data(&self) -> PathBuf {
        match self.kind {
            Kind::Ringside => self.data.join("default-tenant"),
            Kind::Prometheus | Kind::VictoriaMetrics => self.data.clone(),
        }
    }

    /// Seconds spent on cutting blocks, from the first byte of the block to the truncated log.
    pub(crate) async fn cut_seconds(&self) -> Result<f64> {
        let metrics = self.metrics().await?;
        let sum = |name: &str| metrics.sum(&format!("prometheus_tsdb_{name}_seconds_sum"), &[]);
        match self.kind {
            Kind::Ringside => Ok(sum("compaction_duration")),
            Kind::Prometheus => {
                Ok(sum("compaction_duration") + sum("head_gc_duration") + sum("wal_truncate_duration"))
            }
            Kind::VictoriaMetrics => bail!("it cuts no blocks"),
        }
    }
}

/// Bytes of all files below a folder; 0 where there is none.
pub(crate) fn size_of(folder: &Path) -> Result<u64> {
    if !folder.exists() {
        return Ok(0);
    }
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() { size_of(&entry.path())? } else { meta.len() };
    }
    Ok(bytes)
}
