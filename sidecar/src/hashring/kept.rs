//! The last good inputs, kept beside what Envoy discovers: what to go on with when newer ones are refused, and which
//! sidecars may have writes under way when the ring has left them.

use std::path::Path;

use super::bootstrap::Upstream;
use super::render::{self, Inputs, RenderFlags};

/// Not the names that operators give to theirs.
const HASHRINGS: &str = "last-good-hashrings.json";
const LIMITS: &str = "last-good-limits.yaml";

pub(super) fn read(directory: &Path) -> Option<Inputs> {
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).ok();
    Some(Inputs { hashrings: read(HASHRINGS)?, limits: read(LIMITS)? })
}

pub(super) fn write(directory: &Path, inputs: &Inputs) -> anyhow::Result<()> {
    render::write(&directory.join(HASHRINGS), &inputs.hashrings)?;
    render::write(&directory.join(LIMITS), &inputs.limits)?;
    Ok(())
}

/// The sidecars of the last good rings; none where these cannot be read.
pub(super) fn upstreams(flags: &RenderFlags, directory: &Path) -> Vec<Upstream> {
    read(directory)
        .and_then(|inputs| Some(render::bootstrap(flags, &inputs).ok()?.upstreams))
        .unwrap_or_default()
}
