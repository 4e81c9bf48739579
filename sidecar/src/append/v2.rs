//! Bodies of remote write 2.0: checked to the last byte, then appended batch by batch.
//!
//! The storage knows labels as the label fields of 1.0, so the labels of a batch are written in that form, before the
//! storage is locked.

use std::ops::Range;

use ringside_proto::limits::ContentLimits;
use ringside_proto::remote_write_v2::{
    Contents, Expansion, SeriesError, SymbolTable, Symbols, TimeSeries, TimeSeriesIter, time_series,
};
use ringside_proto::ringside::Reason;
use ringside_tsdb::{Pending, Scan, Tsdb};

use super::Totals;
use super::outcome::Outcome;
use super::series::{V2, Writer};
use crate::error::WriteError;

/// A batch ends when its labels have so many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// Walks the whole body. An error means that nothing of it may be stored; series with a fault of their own are
/// refused one by one when they are appended.
pub(super) fn check(body: &[u8]) -> Result<Totals, WriteError> {
    let mut table = SymbolTable::default();
    let symbols = table.read(body)?;
    let (mut totals, mut expansion) = (Totals::default(), Expansion::default());
    for series in time_series(body) {
        let series = series?;
        totals.series += 1;
        expansion.add(series.label_bytes(symbols))?;
        totals.contents += match series.check(symbols) {
            Ok(contents) => contents,
            Err(SeriesError::Wire(error)) => return Err(error.into()),
            Err(_) => series.contents()?,
        };
    }
    Ok(totals)
}

/// Appends a checked body. What was accepted is durable when the returned is.
pub(super) fn append<'t>(
    body: &[u8],
    limits: ContentLimits,
    tsdb: &'t Tsdb,
) -> Result<(Outcome, Option<Pending<'t>>), WriteError> {
    let mut outcome = Outcome::default();
    let mut table = SymbolTable::default();
    let symbols = table.read(body)?;
    let mut batches = Batches { walk: time_series(body), symbols, index: 0, runs: Vec::new() };
    let mut pending: Option<Pending<'t>> = None;
    loop {
        let batch = batches.next(&mut outcome)?;
        if batch.is_empty() {
            break;
        }
        let (appender, scan) = (tsdb.appender()?, Scan::default());
        let mut writer = Writer { appender, scan, limits, outcome: &mut outcome };
        for entry in &batch {
            let labels = batches.runs.get(entry.labels.clone()).unwrap_or_default();
            let Some(series) = writer.find(entry.index, labels, entry.contents) else { continue };
            let source = V2 { series: entry.series, contents: entry.contents, symbols };
            writer.write(entry.index, labels, series, &source)?;
        }
        // What is queued later is durable later.
        pending = Some(writer.appender.commit());
    }
    Ok((outcome, pending))
}

struct Entry<'b> {
    index: u32,
    series: TimeSeries<'b>,
    contents: Contents,
    labels: Range<usize>,
}

/// Goes through the body, some series at a time.
struct Batches<'t, 'b> {
    walk: TimeSeriesIter<'b>,
    symbols: Symbols<'t, 'b>,
    index: u32,
    /// The labels of the batch.
    runs: Vec<u8>,
}

impl<'b> Batches<'_, 'b> {
    /// The next series that have no fault; those that have one are refused. Empty at the end.
    fn next(&mut self, outcome: &mut Outcome) -> Result<Vec<Entry<'b>>, WriteError> {
        let mut batch = Vec::new();
        self.runs.clear();
        while self.runs.len() < BATCH_BYTES
            && let Some(series) = self.walk.next()
        {
            let (series, index) = (series?, self.index);
            self.index += 1;
            let mut refuse = |contents, what: &dyn std::fmt::Display| {
                outcome.refuse(index, Reason::Invalid, contents, || what.to_string());
            };
            let contents = match series.check(self.symbols) {
                Ok(contents) => contents,
                Err(error) => {
                    refuse(series.contents()?, &error);
                    continue;
                }
            };
            let start = self.runs.len();
            let mut is_named = false;
            let written = series.labels(self.symbols).try_for_each(|label| {
                let label = label?;
                is_named |= label.name == b"__name__" && !label.value.is_empty();
                label.append_to(&mut self.runs);
                Ok::<_, SeriesError>(())
            });
            if let Err(error) = written {
                self.runs.truncate(start);
                refuse(contents, &error);
                continue;
            }
            if !is_named {
                self.runs.truncate(start);
                refuse(contents, &"the series has no label __name__, which 2.0 asks for");
                continue;
            }
            batch.push(Entry { index, series, contents, labels: start..self.runs.len() });
        }
        Ok(batch)
    }
}
