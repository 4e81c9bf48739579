//! From a decompressed write request to the storage: checks the whole body, appends it, and collects refusals.
//!
//! A body is checked to its last byte before anything is stored, so that a malformed request stores nothing.
//! Everything here is CPU work, or waits for the disk where it says so.
//! Owns no HTTP: what a refusal means for the answer is [`crate::error`]'s to say.

mod outcome;
mod series;
mod v1;
mod v2;

use ringside_proto::Protocol;
use ringside_proto::limits::ContentLimits;
use ringside_proto::remote_write_v2::Contents;
use ringside_tsdb::{Pending, Position, Tsdb};

pub(crate) use self::outcome::Outcome;
use crate::error::WriteError;

/// What a well-formed body holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) series: u32,
    pub(crate) contents: Contents,
    /// Bytes that belong to no series: metadata of 1.0, and unknown fields.
    pub(crate) other_bytes: u64,
}

/// Walks the whole body. An error means that nothing of it may be stored.
pub(crate) fn check(body: &[u8], protocol: Protocol) -> Result<Totals, WriteError> {
    match protocol {
        Protocol::V1 => Ok(v1::check(body)?),
        Protocol::V2 => v2::check(body),
    }
}

/// Checks a body, has it judged, appends it, and returns once what was accepted is as durable as configured. `judge`
/// refuses all of a well-formed body, or gives the limits that refuse single series. An error means that nothing may be
/// acknowledged. Blocks.
pub(crate) fn append(
    body: &[u8],
    protocol: Protocol,
    tsdb: &Tsdb,
    judge: impl FnOnce(Totals) -> Result<ContentLimits, WriteError>,
) -> Result<(Totals, Outcome), WriteError> {
    match protocol {
        Protocol::V1 => {
            let (totals, outcome, pending) = v1::append(body, tsdb.appender()?, judge)?;
            pending.wait()?;
            Ok((totals, outcome))
        }
        Protocol::V2 => {
            let totals = v2::check(body)?;
            let (outcome, pending) = v2::append(body, judge(totals)?, tsdb)?;
            pending.map_or(Ok(()), Pending::wait)?;
            Ok((totals, outcome))
        }
    }
}

/// The same for an async runtime: does not wait until what was accepted is durable, but tells what to wait for. `None`,
/// and nothing is stored, for a body that is better appended where blocking is allowed.
pub(crate) fn append_now(
    body: &[u8],
    protocol: Protocol,
    tsdb: &Tsdb,
    judge: impl FnOnce(Totals) -> Result<ContentLimits, WriteError>,
) -> Result<Option<(Totals, Outcome, Position)>, WriteError> {
    if protocol == Protocol::V2 {
        return Ok(None);
    }
    let Some(appender) = tsdb.try_appender()? else { return Ok(None) };
    let (totals, outcome, pending) = v1::append(body, appender, judge)?;
    Ok(Some((totals, outcome, pending.position())))
}

/// Appends a body of 1.0 without limits.
#[cfg(test)]
pub(crate) fn store(body: &[u8], tsdb: &Tsdb) -> Result<Outcome, WriteError> {
    append(body, Protocol::V1, tsdb, |_| Ok(ContentLimits::default())).map(|(_, outcome)| outcome)
}

#[cfg(test)]
mod tests;
