//! `ringside hashring render --watch`: follows the hashrings and the limits, and keeps the files up to date that Envoy
//! discovers its clusters and the filter from.
//!
//! The files are read again and again and compared as a whole, so that it does not matter how they are replaced: by a
//! rename, or by the change of a symlink as a ConfigMap's. What reads the same twice is whole.
//!
//! Invariants: a sidecar has its cluster before the filter has a ring with it, and keeps it until no write to it can be
//! under way. What cannot serve never reaches Envoy; that it was refused does, for its statistics.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use ringside_proto::settings::late_write_timeout_ms;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::bootstrap::{Bootstrap, CLUSTERS_NAME, FILTER_NAME, REQUEST_TIMEOUT, Refusal, Upstream};
use super::kept;
use super::render::{self, Inputs, RenderFlags, bootstrap, write};
use crate::config::{LogConfig, LogFormat, LogLevel};
use crate::logging;

/// How much longer than the last write to it may take a sidecar that left the ring keeps its cluster.
const RETIRE_SLACK: Duration = Duration::from_secs(5);

/// What is known between two looks.
struct Watch<'a> {
    flags: &'a RenderFlags,
    directory: &'a Path,
    /// What was found at the last look, good or bad; why, where it could not be read.
    found: Result<Inputs, String>,
    /// What was found and acted upon.
    seen: Option<Result<Inputs, String>>,
    good: Inputs,
    /// What has a cluster.
    upstreams: Vec<Upstream>,
    /// When those that are in no ring lose it.
    retire_at: Option<Instant>,
}

/// Writes all files, and goes on until told to stop.
pub(super) fn run(flags: &RenderFlags) -> anyhow::Result<()> {
    logging::init(LogConfig { level: LogLevel::Info, format: LogFormat::Logfmt });
    let directory = flags.discovery.as_deref().context("--watch needs --discovery")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut watch = Watch::start(flags, directory)?;
        let mut tick = interval(flags.watch_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    if let Err(error) = watch.look(Instant::now()) {
                        tracing::error!(error = format!("{error:#}"), "Envoy's files are not up to date");
                    }
                }
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
            }
        }
    })
}

impl<'a> Watch<'a> {
    /// Writes all files from what is there now, or, where that is refused, from what was good last.
    fn start(flags: &'a RenderFlags, directory: &'a Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let kept = kept::read(directory);
        let found = Inputs::read(flags).map_err(|error| format!("{error:#}"));
        let judged = found.as_ref().map_err(Clone::clone).and_then(|inputs| judge(flags, inputs));
        let (good, refusal) = match (judged, &found, &kept) {
            (Ok(_), Ok(inputs), _) => (inputs.clone(), None),
            (Err(reason), _, Some(kept)) => (kept.clone(), Some(reason)),
            (Err(reason), ..) => anyhow::bail!(reason),
            (Ok(_), Err(reason), _) => anyhow::bail!(reason.clone()),
        };
        let mut watch = Self {
            flags,
            directory,
            found: found.clone(),
            seen: Some(found),
            good: good.clone(),
            upstreams: in_use(flags, directory),
            retire_at: None,
        };
        let rendering = bootstrap(flags, &good)?;
        watch.apply(rendering, good, Instant::now())?;
        if let Some(reason) = refusal {
            watch.refuse(reason)?;
        }
        render::write_bootstrap(flags, &bootstrap(flags, &watch.good)?)?;
        Ok(watch)
    }

    /// Looks at the files once, and does what follows.
    fn look(&mut self, now: Instant) -> anyhow::Result<()> {
        if let Err(error) = self.retire(now) {
            tracing::error!(error = format!("{error:#}"), "clusters of sidecars that left stay for now");
        }
        let found = Inputs::read(self.flags).map_err(|error| format!("{error:#}"));
        let is_settled = found == self.found;
        self.found = found.clone();
        if !is_settled || self.seen.as_ref() == Some(&found) {
            return Ok(());
        }
        match found.as_ref().map_err(Clone::clone).and_then(|inputs| judge(self.flags, inputs)) {
            Ok(rendering) => self.apply(rendering, found.clone().map_err(anyhow::Error::msg)?, now)?,
            Err(reason) => self.refuse(reason)?,
        }
        self.seen = Some(found);
        Ok(())
    }

    /// Brings new inputs to Envoy: first the clusters, then the filter that calls them.
    fn apply(&mut self, mut rendering: Bootstrap, inputs: Inputs, now: Instant) -> anyhow::Result<()> {
        let own = rendering.upstreams.len();
        rendering.keep(&self.upstreams);
        write(&self.directory.join(CLUSTERS_NAME), &rendering.render_clusters())?;
        write(&self.directory.join(FILTER_NAME), &rendering.render_filter())?;
        kept::write(self.directory, &inputs)?;
        let leaving = rendering.upstreams.len() - own;
        tracing::info!(sidecars = own, leaving, "Envoy's files are written");
        let late_write = Duration::from_millis(late_write_timeout_ms(rendering.plugin.write_timeout_ms));
        // A request that has begun stays with the filter that it began with, however long its body takes to arrive.
        self.retire_at = (leaving > 0).then(|| now + REQUEST_TIMEOUT + late_write + RETIRE_SLACK);
        self.upstreams = rendering.upstreams;
        self.good = inputs;
        Ok(())
    }

    /// Lets Envoy know that there is something that it does not get.
    fn refuse(&self, reason: String) -> anyhow::Result<()> {
        tracing::error!(reason, "a change is refused, the last good one stays");
        let mut rendering = bootstrap(self.flags, &self.good)?;
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        rendering.plugin.refusal = Some(Refusal { reason, at_ms: at.as_millis() as u64 });
        write(&self.directory.join(FILTER_NAME), &rendering.render_filter())?;
        Ok(())
    }

    /// Takes the clusters away of sidecars that are in no ring any more.
    fn retire(&mut self, now: Instant) -> anyhow::Result<()> {
        if self.retire_at.is_none_or(|at| now < at) {
            return Ok(());
        }
        let rendering = bootstrap(self.flags, &self.good)?;
        write(&self.directory.join(CLUSTERS_NAME), &rendering.render_clusters())?;
        self.retire_at = None;
        self.upstreams = rendering.upstreams;
        tracing::info!(sidecars = self.upstreams.len(), "clusters of sidecars that left are gone");
        Ok(())
    }
}

fn judge(flags: &RenderFlags, inputs: &Inputs) -> Result<Bootstrap, String> {
    bootstrap(flags, inputs).map_err(|error| format!("{error:#}"))
}

/// What has a cluster already: that of the ring when somebody watched last, and what had left it a moment before. None of
/// it is lost by a file that is not ours.
fn in_use(flags: &RenderFlags, directory: &Path) -> Vec<Upstream> {
    let text = std::fs::read_to_string(directory.join(CLUSTERS_NAME)).unwrap_or_default();
    let file: serde_json::Value = serde_saphyr::from_str(&text).unwrap_or_default();
    let clusters = file["resources"].as_array().into_iter().flatten();
    let names = clusters.filter_map(|cluster| cluster["name"].as_str());
    names.filter_map(|name| render::upstream(name, flags.upstream_port).ok()).collect()
}

#[cfg(test)]
mod tests;
