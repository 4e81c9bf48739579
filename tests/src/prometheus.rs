//! Real Prometheus 2.42, in its two roles: an agent that scrapes and writes, and a server that is given
//! one of our data directories.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::contents::{Contents, Labels, Samples};
use crate::http::{self, Metrics};
use crate::process::{Process, Spec};
use crate::{oracle, ports, tools, wait};

/// What an agent is to do.
pub struct AgentSetup<'a> {
    /// Where it writes.
    pub write_url: &'a str,
    /// The tenant header, if any.
    pub tenant: Option<&'a str>,
    /// What it scrapes, each once a second.
    pub targets: Vec<SocketAddr>,
}

/// Prometheus in agent mode.
pub struct Agent {
    process: Process,
    address: SocketAddr,
    folder: PathBuf,
}

/// The external label of every agent.
const CLUSTER: (&str, &str) = ("cluster", "e2e");

impl Agent {
    /// Starts it in `folder`.
    pub async fn start(folder: &Path, setup: AgentSetup<'_>) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let headers = setup.tenant.map(|tenant| format!("    headers: {{THANOS-TENANT: {tenant}}}\n"));
        let remote_write = format!(
            "remote_write:\n  - url: {}\n{}    queue_config: {{batch_send_deadline: 200ms, \
             max_samples_per_send: 200, min_backoff: 30ms}}\n    metadata_config: {{send: true, \
             send_interval: 1s}}\n",
            setup.write_url,
            headers.unwrap_or_default()
        );
        write_targets(folder, &setup.targets)?;
        let (name, value) = CLUSTER;
        let config = format!(
            "global:\n  scrape_interval: 1s\n  external_labels: {{{name}: {value}}}\nscrape_configs:\n  - \
             job_name: sidecar\n    file_sd_configs: [{{files: [targets.json], refresh_interval: \
             1s}}]\n{remote_write}"
        );
        std::fs::write(folder.join("agent.yml"), config).context("write agent.yml")?;
        let address = ports::reserve()?;
        let process = Process::start(Spec {
            name: "agent".to_owned(),
            program: tools::prometheus()?,
            args: vec![
                "--enable-feature=agent".to_owned(),
                "--config.file=agent.yml".to_owned(),
                "--storage.agent.path=data".to_owned(),
                format!("--web.listen-address={address}"),
            ],
            folder: folder.to_owned(),
        })?;
        let mut agent = Self { process, address, folder: folder.to_owned() };
        agent.process.wait_ready(&format!("http://{address}/-/ready")).await?;
        Ok(agent)
    }

    /// Its own metrics.
    pub async fn metrics(&self) -> Result<Metrics> {
        Metrics::scrape(&format!("http://{}/metrics", self.address)).await
    }

    /// Waits until it has scraped each target a few times; it takes some seconds to begin.
    pub async fn wait_scraping(&self) -> Result<()> {
        wait::eventually("the agent's first scrapes", async || {
            let scrapes = self.metrics().await?.sum("prometheus_target_interval_length_seconds_count", &[]);
            if scrapes < 6.0 {
                bail!("{scrapes} scrapes so far\n{}", self.process.log_tail());
            }
            Ok(())
        })
        .await
    }

    /// Ends the scraping: its targets go away, for which it writes stale markers some seconds later.
    ///
    /// This is no reload of its configuration. On a reload, 2.42 writes the markers of the replaced
    /// targets at times at which it may have scraped them anew, so two values for one timestamp.
    pub fn stop_scraping(&self) -> Result<()> {
        write_targets(&self.folder, &[])
    }

    /// Everything it has scraped, once it has stopped and written its stale markers, so everything that
    /// it owes the receiver: the contents of its own WAL, with the external label that it adds on the
    /// way. An error as long as it still scrapes.
    pub fn scraped(&self, copy: &Path) -> Result<Contents> {
        let scraped = oracle::dump_copy(&self.folder.join("data"), copy)?;
        let mut delivered = Contents::default();
        for (labels, timestamp, value) in scraped.iter() {
            let mut labels: Labels = labels.clone();
            labels.entry(CLUSTER.0.to_owned()).or_insert_with(|| CLUSTER.1.to_owned());
            delivered.add(&labels, timestamp, value)?;
        }
        let targets: Vec<_> = delivered.series().filter(|(labels, _)| labels["__name__"] == "up").collect();
        ensure!(!targets.is_empty(), "the agent has scraped nothing");
        for (target, samples) in targets {
            ensure!(ends_stale(samples), "no stale marker yet for {target:?}");
        }
        Ok(delivered)
    }

    /// An error if it gave up on any sample.
    pub async fn expect_no_failure(&self) -> Result<()> {
        let metrics = self.metrics().await?;
        for bad in ["samples_failed_total", "samples_dropped_total"] {
            let count = metrics.sum(&format!("prometheus_remote_storage_{bad}"), &[]);
            if count != 0.0 {
                bail!("the agent has {bad} = {count}\n{}", self.process.log_tail());
            }
        }
        Ok(())
    }
}

fn ends_stale(samples: &Samples) -> bool {
    samples.last_key_value().is_some_and(|(_, bits)| f64::from_bits(*bits).is_nan())
}

fn write_targets(folder: &Path, targets: &[SocketAddr]) -> Result<()> {
    let targets: Vec<String> = targets.iter().map(SocketAddr::to_string).collect();
    let groups = serde_json::json!([{"targets": targets}]).to_string();
    std::fs::write(folder.join("targets.json"), groups).context("write targets.json")
}

/// How a server is set up.
#[derive(Clone, Debug, Default)]
pub struct ServerSetup {
    /// Its out-of-order window, milliseconds; 0: none.
    pub out_of_order_window_ms: i64,
    /// Further flags.
    pub flags: Vec<String>,
}

/// Prometheus as a server on a data directory, which also takes remote write and native histograms.
pub struct Server {
    /// The process, to be killed and restarted.
    pub process: Process,
    address: SocketAddr,
}

impl Server {
    /// Starts it on `data`, which it will own, repair and compact. `folder` is for its log.
    pub async fn start(folder: &Path, data: &Path) -> Result<Self> {
        Self::start_with(folder, data, &ServerSetup::default()).await
    }

    /// The same with a setup of its own.
    pub async fn start_with(folder: &Path, data: &Path, setup: &ServerSetup) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let window = setup.out_of_order_window_ms;
        let config = format!("storage: {{tsdb: {{out_of_order_time_window: {window}ms}}}}\n");
        std::fs::write(folder.join("server.yml"), config)?;
        let address = ports::reserve()?;
        let mut args = vec![
            "--config.file=server.yml".to_owned(),
            format!("--storage.tsdb.path={}", data.display()),
            "--storage.tsdb.retention.time=10y".to_owned(),
            "--web.enable-remote-write-receiver".to_owned(),
            "--enable-feature=native-histograms,exemplar-storage".to_owned(),
            format!("--web.listen-address={address}"),
        ];
        args.extend(setup.flags.iter().cloned());
        let process = Process::start(Spec {
            name: "prometheus".to_owned(),
            program: tools::prometheus()?,
            args,
            folder: folder.to_owned(),
        })?;
        let mut server = Self { process, address };
        server.wait_ready().await?;
        Ok(server)
    }

    /// Starts it again, and returns when it has replayed.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.restart()?;
        self.wait_ready().await
    }

    async fn wait_ready(&mut self) -> Result<()> {
        self.process.wait_ready(&format!("http://{}/-/ready", self.address)).await
    }

    /// Where it takes remote write.
    pub fn write_url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    /// Its own metrics.
    pub async fn metrics(&self) -> Result<Metrics> {
        Metrics::scrape(&format!("http://{}/metrics", self.address)).await
    }

    /// An error if it found damage in its directory, or could not work with a block.
    pub async fn expect_no_corruption(&self) -> Result<()> {
        let metrics = self.metrics().await?;
        for bad in [
            "prometheus_tsdb_compactions_failed_total",
            "prometheus_tsdb_reloads_failures_total",
            "prometheus_tsdb_wal_corruptions_total",
            "prometheus_tsdb_mmap_chunk_corruptions_total",
        ] {
            ensure!(metrics.sum(bad, &[]) == 0.0, "{bad}\n{}", self.log()?);
        }
        Ok(())
    }

    /// An instant query; returns `data.result`.
    pub async fn query(&self, promql: &str, at_ms: i64) -> Result<Vec<Value>> {
        let (query, at) = (percent_encode(promql), at_ms as f64 / 1000.0);
        self.get(&format!("query?query={query}&time={at}"), |answer| answer["data"]["result"].take()).await
    }

    /// All exemplars up to a time, by series.
    pub async fn exemplars(&self, promql: &str, to_ms: i64) -> Result<Vec<Value>> {
        let (query, to) = (percent_encode(promql), to_ms as f64 / 1000.0);
        let path = format!("query_exemplars?query={query}&start=0&end={to}");
        self.get(&path, |answer| answer["data"].take()).await
    }

    async fn get(&self, path: &str, list: impl Fn(&mut Value) -> Value) -> Result<Vec<Value>> {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let mut answer: Value = serde_json::from_str(&http::get_ok(&url).await?)?;
        match list(&mut answer) {
            Value::Array(list) => Ok(list),
            _ => bail!("no list from {url}: {answer}"),
        }
    }

    /// Everything it printed so far.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.process.log())?)
    }
}

fn percent_encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
