//! From a decompressed write request to the storage: checks the whole body, appends it, and collects refusals.
//!
//! A body is checked to its last byte before anything is stored, so that a malformed request stores nothing. What
//! the check found is kept for the appending, within bounds. Everything here is CPU work, or waits for the disk, and
//! runs on the blocking pool.
//! Owns no HTTP: what a refusal means for the answer is [`crate::error`]'s to say.

use ringside_proto::Parts;
use ringside_proto::WireError;
use ringside_proto::labels::label_fields;
use ringside_proto::limits::ContentLimits;
use ringside_proto::remote_write::{TimeSeries, TimeSeriesIter, time_series};
use ringside_proto::ringside::{Reason, RefusedSeries};
use ringside_tsdb::{Appender, LabelLimit, Refusal, Scan, Tsdb, display_series};

use crate::error::{WriteError, severity};

/// So many series of a body are kept apart between checking and appending, about a hundred bytes each; the rest of a
/// larger body is taken apart twice.
const APART_MAX: usize = 8192;
/// Longest message that one refusal puts into the answer, in bytes: labels can be as large as a body.
const MESSAGE_BYTES_MAX: usize = 1024;

/// What a well-formed body holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) series: u32,
    pub(crate) samples: u64,
    pub(crate) exemplars: u64,
    /// Bytes that belong to no series: metadata and unknown fields.
    pub(crate) other_bytes: u64,
}

/// The longest list of refused series. A body can hold one for every two bytes; what refuses more of them answers
/// without a list, which counts for all.
pub(crate) const REFUSED_LISTED_MAX: usize = 100_000;

/// What became of a request whose accepted part is durable.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Refused series with the worst reason of each, in the order of the body; the first
    /// [`REFUSED_LISTED_MAX`] of them.
    pub(crate) refused: Vec<RefusedSeries>,
    /// How many series were refused.
    pub(crate) refused_count: u64,
    /// The worst reason among them.
    pub(crate) worst: Option<Reason>,
    /// The first refusal, for people.
    pub(crate) first: Option<String>,
    last: Option<u32>,
}

impl Outcome {
    fn refuse(&mut self, index: u32, reason: Reason, message: impl FnOnce() -> String) {
        if self.first.is_none() {
            let mut message = format!("series {index}: {}", message());
            truncate(&mut message, MESSAGE_BYTES_MAX);
            self.first = Some(message);
        }
        if self.worst.is_none_or(|worst| severity(reason) > severity(worst)) {
            self.worst = Some(reason);
        }
        let again = self.last.replace(index) == Some(index);
        self.refused_count += u64::from(!again);
        if !again {
            if self.refused.len() < REFUSED_LISTED_MAX {
                self.refused.push(RefusedSeries { index, reason: reason.into(), ..RefusedSeries::default() });
            }
        } else if let Some(known) = self.refused.last_mut().filter(|known| known.index == index)
            && severity(reason) > severity(known.reason())
        {
            known.set_reason(reason);
        }
    }
}

/// A body that was checked to its last byte.
#[derive(Debug)]
pub(crate) struct Checked<'b> {
    pub(crate) contents: Contents,
    /// Series beyond these are refused. None unless the caller sets them.
    pub(crate) limits: ContentLimits,
    /// The first series, taken apart.
    apart: Vec<(TimeSeries<'b>, Parts<'b>)>,
    /// The series after those.
    rest: TimeSeriesIter<'b>,
}

/// Walks the whole body. An error means that nothing of it may be stored.
pub(crate) fn check(body: &[u8]) -> Result<Checked<'_>, WireError> {
    let mut contents = Contents { other_bytes: body.len() as u64, ..Contents::default() };
    let mut walk = time_series(body);
    let mut checked =
        Checked { contents, limits: ContentLimits::default(), apart: Vec::new(), rest: walk.clone() };
    while let Some(series) = walk.next() {
        let series = series?;
        contents.series += 1;
        contents.other_bytes -= series.field().len() as u64;
        let parts = series.checked_parts()?;
        contents.samples += parts.samples as u64;
        contents.exemplars += parts.exemplars as u64;
        if checked.apart.len() < APART_MAX {
            checked.apart.push((series, parts));
            checked.rest = walk.clone();
        }
    }
    Ok(Checked { contents, ..checked })
}

/// Appends a checked body, and returns once what was accepted is as durable as configured. An error means that nothing
/// of it may be acknowledged.
pub(crate) fn append(body: Checked<'_>, tsdb: &Tsdb) -> Result<Outcome, WriteError> {
    let mut outcome = Outcome::default();
    let mut scratch = Vec::new();
    let mut scan = Scan::default();
    let mut appender = tsdb.appender()?;
    let mut index = 0;
    for (series, parts) in &body.apart {
        if is_within(&body.limits, index, series, &mut outcome) {
            append_series(&mut appender, &mut scan, index, series, parts, &mut scratch, &mut outcome)?;
        }
        index += 1;
    }
    for series in body.rest {
        let series = series?;
        let parts = series.checked_parts()?;
        if is_within(&body.limits, index, &series, &mut outcome) {
            append_series(&mut appender, &mut scan, index, &series, &parts, &mut scratch, &mut outcome)?;
        }
        index += 1;
    }
    appender.commit().wait()?;
    Ok(outcome)
}

/// False, and the series refused, where its labels are beyond the limits.
#[inline]
fn is_within(limits: &ContentLimits, index: u32, series: &TimeSeries<'_>, outcome: &mut Outcome) -> bool {
    if !limits.judges_labels() {
        return true;
    }
    let labels = || series.labels().map_while(Result::ok);
    let Some(fault) = limits.fault(labels()) else { return true };
    outcome.refuse(index, Reason::Invalid, || {
        let run = series.parts().ok().and_then(|parts| parts.label_bytes).unwrap_or_default();
        format!("{fault} in {}", display_series(run))
    });
    false
}

fn append_series<'b>(
    appender: &mut Appender<'_>,
    scan: &mut Scan<'b>,
    index: u32,
    series: &TimeSeries<'b>,
    parts: &Parts<'b>,
    scratch: &mut Vec<u8>,
    outcome: &mut Outcome,
) -> Result<(), WireError> {
    if let (Some(labels), Some(sample)) = (parts.label_bytes, parts.only_sample()) {
        let stored = appender
            .series_in(scan, labels)
            .and_then(|series| appender.float(series, sample.timestamp, sample.value));
        if let Err(refusal) = stored {
            outcome.refuse(index, reason_of(&refusal), || explain(&refusal, labels));
        }
        return Ok(());
    }
    if parts.histograms > 0 {
        outcome.refuse(index, Reason::Invalid, || "native histograms are not supported yet".to_owned());
        return Ok(());
    }
    if parts.samples == 0 && series.labels().next().is_some() {
        // Exemplars alone: nothing that is kept.
        return Ok(());
    }
    let (found, labels) = match parts.label_bytes {
        Some(labels) => (appender.series_in(scan, labels), labels),
        None => {
            gather_labels(series, scratch)?;
            (appender.series(scratch), &scratch[..])
        }
    };
    let series = match found {
        Ok(series) => series,
        Err(refusal) => {
            outcome.refuse(index, reason_of(&refusal), || explain(&refusal, labels));
            return Ok(());
        }
    };
    for sample in parts.samples() {
        let sample = sample?;
        if let Err(refusal) = appender.float(series, sample.timestamp, sample.value) {
            outcome.refuse(index, reason_of(&refusal), || explain(&refusal, labels));
        }
    }
    Ok(())
}

fn explain(refusal: &Refusal, labels: &[u8]) -> String {
    let Refusal::LabelLimit { limit, .. } = refusal else {
        return format!("{refusal} in {}", display_series(labels));
    };
    let fields = label_fields(labels).map_while(Result::ok);
    let offender = match limit {
        LabelLimit::NameBytes => fields.max_by_key(|label| label.name.len()),
        LabelLimit::ValueBytes => fields.max_by_key(|label| label.value.len()),
        _ => None,
    };
    let offender = offender.map(|label| format!(": {}", String::from_utf8_lossy(label.name)));
    format!("{refusal}{} in {}", offender.unwrap_or_default(), display_series(labels))
}

/// Writes labels that stand between other fields as one run of label fields.
fn gather_labels(series: &TimeSeries<'_>, run: &mut Vec<u8>) -> Result<(), WireError> {
    use prost::Message;
    run.clear();
    for label in series.labels() {
        let label = label?;
        let field =
            LabelField { labels: vec![LabelBytes { name: label.name.into(), value: label.value.into() }] };
        run.extend_from_slice(&field.encode_to_vec());
    }
    Ok(())
}

/// A label as bytes: the storage, not the wire, judges whether they are UTF-8.
#[derive(Clone, PartialEq, prost::Message)]
struct LabelBytes {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// The label field of a time series, alone.
#[derive(Clone, PartialEq, prost::Message)]
struct LabelField {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelBytes>,
}

fn reason_of(refusal: &Refusal) -> Reason {
    match refusal {
        Refusal::OutOfOrder { .. } => Reason::OutOfOrder,
        Refusal::DuplicateTimestamp { .. } => Reason::DuplicateTimestamp,
        Refusal::OutOfBounds { .. } | Refusal::TooFarInFuture { .. } => Reason::OutOfBounds,
        Refusal::SeriesLimit { .. } => Reason::Limit,
        // InvalidLabels, and whatever the storage may come to refuse.
        _ => Reason::Invalid,
    }
}

fn truncate(message: &mut String, bytes_max: usize) {
    if message.len() > bytes_max {
        message.truncate(message.floor_char_boundary(bytes_max));
        message.push('…');
    }
}

#[cfg(test)]
#[path = "append_tests.rs"]
mod tests;
