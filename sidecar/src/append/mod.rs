//! From a decompressed write request to the storage: checks the whole body, appends it, and collects refusals.
//!
//! A body is checked to its last byte before anything is stored, so that a malformed request stores nothing. What
//! the check found is kept for the appending, within bounds. Everything here is CPU work, or waits for the disk, and
//! runs on the blocking pool.
//! Owns no HTTP: what a refusal means for the answer is [`crate::error`]'s to say.

mod outcome;
mod series;
mod v2;

use ringside_proto::limits::ContentLimits;
use ringside_proto::remote_write::{TimeSeries, TimeSeriesIter, time_series};
use ringside_proto::remote_write_v2::Contents;
use ringside_proto::{Parts, Protocol, WireError};
use ringside_tsdb::{Appender, Pending, Position, Scan, Tsdb};

pub(crate) use self::outcome::Outcome;
use self::series::{Series, V1, Writer};
use crate::error::WriteError;

/// So many series of a body are kept apart between checking and appending, about a hundred bytes each; the rest of a
/// larger body is taken apart twice.
const APART_MAX: usize = 8192;

/// What a well-formed body holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) series: u32,
    pub(crate) contents: Contents,
    /// Bytes that belong to no series: metadata of 1.0, and unknown fields.
    pub(crate) other_bytes: u64,
}

/// A body that was checked to its last byte.
#[derive(Debug)]
pub(crate) struct Checked<'b> {
    pub(crate) totals: Totals,
    /// Series beyond these are refused. None unless the caller sets them.
    pub(crate) limits: ContentLimits,
    body: Body<'b>,
}

#[derive(Debug)]
enum Body<'b> {
    V1 {
        /// The first series, taken apart.
        apart: Vec<(TimeSeries<'b>, Parts<'b>)>,
        /// The series after those.
        rest: TimeSeriesIter<'b>,
    },
    V2(&'b [u8]),
}

/// Walks the whole body. An error means that nothing of it may be stored.
pub(crate) fn check(body: &[u8], protocol: Protocol) -> Result<Checked<'_>, WriteError> {
    let (totals, body) = match protocol {
        Protocol::V1 => check_v1(body)?,
        Protocol::V2 => (v2::check(body)?, Body::V2(body)),
    };
    Ok(Checked { totals, limits: ContentLimits::default(), body })
}

fn check_v1(body: &[u8]) -> Result<(Totals, Body<'_>), WireError> {
    let mut totals = Totals { other_bytes: body.len() as u64, ..Totals::default() };
    let mut walk = time_series(body);
    let (mut apart, mut rest) = (Vec::new(), walk.clone());
    while let Some(series) = walk.next() {
        let series = series?;
        totals.series += 1;
        totals.other_bytes -= series.field().len() as u64;
        let parts = series.checked_parts()?;
        totals.contents += V1(&series, &parts).contents();
        if apart.len() < APART_MAX {
            apart.push((series, parts));
            rest = walk.clone();
        }
    }
    Ok((totals, Body::V1 { apart, rest }))
}

/// Appends a checked body, and returns once what was accepted is as durable as configured. An error means that nothing
/// of it may be acknowledged.
pub(crate) fn append(checked: Checked<'_>, tsdb: &Tsdb) -> Result<Outcome, WriteError> {
    let (outcome, pending) = match checked.body {
        Body::V1 { apart, rest } => {
            let (outcome, pending) = append_v1(checked.limits, &apart, rest, tsdb.appender()?)?;
            (outcome, Some(pending))
        }
        Body::V2(body) => v2::append(body, checked.limits, tsdb)?,
    };
    pending.map_or(Ok(()), Pending::wait)?;
    Ok(outcome)
}

/// The same for an async runtime: does not wait until what was accepted is durable, but tells what to wait for. `None`,
/// and nothing is stored, for a body that is better appended where blocking is allowed.
pub(crate) fn append_now(
    checked: Checked<'_>,
    tsdb: &Tsdb,
) -> Result<Option<(Outcome, Position)>, WriteError> {
    let Body::V1 { apart, rest } = checked.body else { return Ok(None) };
    let Some(appender) = tsdb.try_appender()? else { return Ok(None) };
    let (outcome, pending) = append_v1(checked.limits, &apart, rest, appender)?;
    Ok(Some((outcome, pending.position())))
}

fn append_v1<'b, 't>(
    limits: ContentLimits,
    apart: &[(TimeSeries<'b>, Parts<'b>)],
    rest: TimeSeriesIter<'b>,
    appender: Appender<'t>,
) -> Result<(Outcome, Pending<'t>), WriteError> {
    let mut outcome = Outcome::default();
    let mut scratch = Vec::new();
    let mut writer = Writer { appender, scan: Scan::default(), limits, outcome: &mut outcome };
    let mut index = 0;
    for (series, parts) in apart {
        append_series(&mut writer, index, series, parts, &mut scratch)?;
        index += 1;
    }
    for series in rest {
        let series = series?;
        append_series(&mut writer, index, &series, &series.checked_parts()?, &mut scratch)?;
        index += 1;
    }
    let pending = writer.appender.commit();
    Ok((outcome, pending))
}

fn append_series<'b>(
    writer: &mut Writer<'_, '_, 'b>,
    index: u32,
    series: &TimeSeries<'b>,
    parts: &Parts<'b>,
    scratch: &mut Vec<u8>,
) -> Result<(), WireError> {
    let source = V1(series, parts);
    if let (Some(labels), Some(sample)) = (parts.label_bytes, parts.only_sample()) {
        if let Some(series) = writer.find(index, labels, source.contents()) {
            writer.float(index, labels, series, sample.timestamp, sample.value);
        }
        return Ok(());
    }
    if let Some(labels) = parts.label_bytes {
        if let Some(series) = writer.find(index, labels, source.contents()) {
            writer.write(index, labels, series, &source)?;
        }
        return Ok(());
    }
    // Labels between other fields.
    scratch.clear();
    series.labels().try_for_each(|label| label.map(|label| label.append_to(scratch)))?;
    match writer.find_once(index, scratch, source.contents()) {
        Some(series) => writer.write(index, scratch, series, &source),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
