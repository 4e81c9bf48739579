//! When to kill.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use ringside_e2e::sidecar::Sidecar;

/// What the sidecar is to be killed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Starting or replaying.
    Start,
    /// Whatever it does.
    Any,
    /// Writing a block.
    Cut,
    /// Writing a checkpoint.
    Checkpoint,
}

impl Moment {
    pub(super) fn choose(rng: &mut Rng) -> Self {
        match rng.u8(0..20) {
            0..5 => Self::Start,
            5..11 => Self::Any,
            11..15 => Self::Cut,
            _ => Self::Checkpoint,
        }
    }

    /// Returns at such a moment of the sidecar's present life, or at any if it does not come; says which it was.
    pub(super) async fn reach(self, rng: &mut Rng, sidecar: &mut Sidecar, tenant: &str) -> Result<Self> {
        if self == Self::Start {
            tokio::time::sleep(Duration::from_millis(rng.u64(0..60))).await;
            return Ok(self);
        }
        sidecar.wait_ready().await?;
        let dir = sidecar.tenant_dir(tenant);
        let reached = match self {
            Self::Cut => appears(dir, "", ".tmp-for-creation").await?,
            Self::Checkpoint => appears(dir.join("wal"), "checkpoint.", ".tmp").await?,
            Self::Start | Self::Any => false,
        };
        // A block takes some milliseconds, a checkpoint fewer.
        let more = match self {
            Self::Cut if reached => rng.u64(0..30_000),
            Self::Checkpoint if reached => rng.u64(0..3_000),
            _ => rng.u64(0..500_000),
        };
        tokio::time::sleep(Duration::from_micros(more)).await;
        Ok(if reached { self } else { Self::Any })
    }
}

/// Waits for such an entry in a folder, but not for long. It may be there for a few milliseconds only.
async fn appears(folder: PathBuf, prefix: &'static str, suffix: &'static str) -> Result<bool> {
    let watch = move || {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(1500) {
            let found = std::fs::read_dir(&folder).into_iter().flatten().flatten().any(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.starts_with(prefix) && name.ends_with(suffix)
            });
            if found {
                return true;
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        false
    };
    Ok(tokio::task::spawn_blocking(watch).await?)
}

/// How often each moment was met.
#[derive(Default)]
pub(super) struct Tally {
    start: usize,
    any: usize,
    cut: usize,
    checkpoint: usize,
}

impl Tally {
    pub(super) fn count(&mut self, moment: Moment) {
        *match moment {
            Moment::Start => &mut self.start,
            Moment::Any => &mut self.any,
            Moment::Cut => &mut self.cut,
            Moment::Checkpoint => &mut self.checkpoint,
        } += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, any, cut, checkpoint } = self;
        write!(f, "{start} starting, {cut} in a cut, {checkpoint} in a checkpoint, {any} at any moment")
    }
}
