//! Data time for tests: recent, and aligned so that where blocks begin and end is known beforehand.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// A minute in milliseconds.
pub const MINUTE: i64 = 60_000;

/// An hour in milliseconds.
pub const HOUR: i64 = 60 * MINUTE;

/// The range of one block.
pub const BLOCK_RANGE: i64 = 2 * HOUR;

/// Now, in milliseconds.
pub fn now() -> Result<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(i64::try_from(since.as_millis())?)
}

/// The latest multiple of `align` that lies at least `ago` before now.
pub fn aligned(ago: i64, align: i64) -> Result<i64> {
    let then = now()? - ago;
    Ok(then - then.rem_euclid(align))
}
