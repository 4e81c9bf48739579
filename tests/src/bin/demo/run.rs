//! What the demo does: start everything, write, kill and restart a sidecar under load, wait for the
//! blocks. What it found is then for `verify` to judge.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringside_e2e::bucket::Bucket;
use ringside_e2e::clock::{self, BLOCK_RANGE, HOUR, MINUTE};
use ringside_e2e::cluster::{Cluster, Layout};
use ringside_e2e::generator::{Generator, Load};
use ringside_e2e::prometheus::{Agent, AgentSetup};
use ringside_e2e::sidecar::Sidecar;
use ringside_e2e::wait;

use crate::display::{Display, Row};
use crate::verify;

/// The generator's tenant; the agent names none and gets the default.
pub(crate) const TENANT: &str = "demo";
const SERIES: usize = 240;
const STEP_MS: i64 = 15_000;
const SAMPLES_PER_REQUEST: usize = 4;
/// Data time. A block is cut when the head spans three hours: this makes two for each sidecar.
const SPAN: i64 = 5 * HOUR + 10 * MINUTE;
const BLOCKS_PER_SIDECAR: usize = 2;
/// Between two requests of one series.
const PAUSE: Duration = Duration::from_millis(70);
const VICTIM: usize = 1;

/// Everything that runs, and what was written.
pub(crate) struct Demo {
    pub(crate) cluster: Cluster,
    pub(crate) agent: Agent,
    pub(crate) generator: Generator,
    pub(crate) bucket: Bucket,
    /// Where the generator's data begins.
    pub(crate) start: i64,
    display: Display,
}

/// The whole demo, in `folder`, which is emptied first.
pub(crate) async fn run(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).context("empty .demo")?;
    }
    std::fs::create_dir_all(folder)?;
    println!("Prometheus agent + generator -> Envoy with the filter -> 3 sidecars (RF=3) -> S3\n");
    let mut demo = Demo::start(folder).await?;
    demo.write_and_kill().await?;
    demo.wait_for_blocks().await?;
    verify::verify(&mut demo).await?;
    drop(demo);
    verify::look_further();
    Ok(())
}

impl Demo {
    async fn start(folder: &Path) -> Result<Self> {
        let display = Display::new();
        display.event("starting the S3 server, three sidecars and Envoy");
        let mut cluster = Cluster::start(folder, &Layout { bucket: true, ..Layout::default() }).await?;
        display.event("starting a Prometheus agent that scrapes the sidecars and writes through Envoy");
        let setup = AgentSetup {
            write_url: &cluster.envoy.write_url(),
            tenant: None,
            targets: cluster.sidecars.iter().map(Sidecar::http_address).collect(),
        };
        let agent = Agent::start(&folder.join("agent"), setup).await?;
        let bucket = cluster.s3()?.bucket()?;
        let generator = Generator::new(&cluster.envoy.write_url(), Load::new(TENANT, "demo", SERIES));
        let start = clock::aligned(SPAN, BLOCK_RANGE)?;
        println!("\nwhile it runs:");
        println!("  writes      {}", cluster.envoy.write_url());
        println!("  Envoy       http://{}/stats/prometheus", cluster.envoy.admin());
        for sidecar in &cluster.sidecars {
            println!("  {}  http://{}/metrics", sidecar.name(), sidecar.http_address());
        }
        println!("  S3          {}", cluster.s3()?.endpoint());
        Ok(Self { cluster, agent, generator, bucket, start, display })
    }

    /// Five hours of data in half a minute, back-dated and in time order, with a kill in the middle.
    async fn write_and_kill(&mut self) -> Result<()> {
        println!(
            "\n{SERIES} series of tenant {TENANT}, back-dated over 5 hours, a sample each 15 s of them:"
        );
        let names: Vec<&str> = self.cluster.sidecars.iter().map(Sidecar::name).collect();
        self.display.header(&names);
        // Both inside the second block: the victim has a part of it from before, and so cuts it in time.
        let (kill_at, restart_at) = (self.start + 130 * MINUTE, self.start + 180 * MINUTE);
        let (mut killed, mut restarted, mut shown) = (false, false, std::time::Instant::now());
        let step = STEP_MS * SAMPLES_PER_REQUEST as i64;
        for from in (self.start..self.start + SPAN).step_by(usize::try_from(step)?) {
            if from >= kill_at && !killed {
                killed = true;
                self.cluster.sidecars[VICTIM].process.kill9()?;
                self.display.event(&format!("kill -9 {}", self.cluster.sidecars[VICTIM].name()));
            }
            if from >= restart_at && !restarted {
                restarted = true;
                let victim = &mut self.cluster.sidecars[VICTIM];
                victim.process.restart()?;
                self.display.event(&format!("{} starts again and replays its WAL", victim.name()));
            }
            self.generator.send_range(from, from + step, STEP_MS, SAMPLES_PER_REQUEST).await?;
            if shown.elapsed() >= Duration::from_secs(2) {
                shown = std::time::Instant::now();
                self.display.row(&self.look().await?);
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.cluster.sidecars[VICTIM].wait_ready().await?;
        self.display.row(&self.look().await?);
        Ok(())
    }

    async fn wait_for_blocks(&mut self) -> Result<()> {
        let expected = BLOCKS_PER_SIDECAR * self.cluster.sidecars.len();
        let mut last = self.bucket.blocks().await?.len();
        let what = format!("{expected} blocks in the bucket");
        wait::eventually(&what, async || {
            let blocks = self.bucket.blocks().await?.len();
            if blocks != last {
                last = blocks;
                self.display.row(&self.look().await?);
            }
            ensure!(blocks >= expected, "{blocks} blocks in the bucket");
            Ok(())
        })
        .await?;
        self.display.event("all blocks that were due are in the bucket");
        Ok(())
    }

    async fn look(&self) -> Result<Row> {
        let agent = self.agent.metrics().await?;
        let mut sidecars = Vec::new();
        for sidecar in &self.cluster.sidecars {
            let tenant = [&*format!("tenant=\"{TENANT}\"")];
            // It cannot be scraped while it is down, and that is what is shown.
            sidecars.push(sidecar.metrics().await.ok().map(|metrics| {
                let samples = metrics.sum("prometheus_tsdb_head_samples_appended_total", &tenant);
                (metrics.sum("prometheus_tsdb_head_series", &tenant), samples)
            }));
        }
        let blocks = self.bucket.blocks().await?.len();
        let ledger = self.generator.ledger();
        Ok(Row {
            requests: (ledger.successes(), ledger.failures()),
            samples: ledger.everything_acknowledged().sample_count(),
            agent: (
                agent.sum("prometheus_remote_storage_samples_total", &[]),
                agent.sum("prometheus_remote_storage_samples_failed_total", &[]),
            ),
            sidecars,
            blocks,
        })
    }
}
