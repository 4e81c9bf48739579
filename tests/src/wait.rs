//! Waiting for a condition by probing it. Patience only bounds a hang; nothing that waits here passes or fails by how
//! long a thing took.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Long enough for anything that works at all, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(50);

/// Probes until the probe succeeds, and returns what it found; after `PATIENCE`, the probe's last error.
pub async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    eventually_within(PATIENCE, what, probe).await
}

/// The same with a bound of the caller's choice, for what is slow by its nature.
pub async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match probe().await {
            Ok(found) => return Ok(found),
            Err(error) if start.elapsed() > patience => {
                return Err(error).with_context(|| format!("gave up waiting after {patience:?}: {what}"));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
