//! Bodies of remote write 1.0: checked to the last byte while their series are looked up, then appended.
//!
//! What the check found is kept for the appending, within bounds. Series that come in the order of the request before
//! are recognised by their bytes, so that their labels are neither taken apart nor hashed.

use ringside_proto::WireError;
use ringside_proto::limits::ContentLimits;
use ringside_proto::remote_write::{Sample, TimeSeries, TimeSeriesIter, time_series};
use ringside_tsdb::{Appender, Pending, Scan, SeriesRef};

use super::Totals;
use super::outcome::Outcome;
use super::series::{SAMPLE, Series, V1, Writer};
use crate::error::WriteError;

/// What was found of so many series of a body is kept between checking and appending, some fifty bytes each; the rest of
/// a larger body is taken apart twice.
const FOUND_MAX: usize = 8192;
/// About what a series takes in a body.
const SERIES_BYTES: usize = 256;

/// A body that was checked to its last byte, for the appender that was there.
#[derive(Debug)]
struct Checked<'b> {
    totals: Totals,
    /// What was found of the first series.
    found: Vec<Found<'b>>,
    /// The series after those.
    rest: TimeSeriesIter<'b>,
}

#[derive(Debug)]
enum Found<'b> {
    /// What nearly all series of a request are: known by these very bytes, with one sample and nothing else.
    Usual { series: SeriesRef, labels: &'b [u8], sample: Sample },
    /// Anything else, with the series if it is known by its bytes.
    Other(TimeSeries<'b>, Option<SeriesRef>),
}

/// Walks the whole body. An error means that nothing of it may be stored.
pub(super) fn check(body: &[u8]) -> Result<Totals, WireError> {
    Ok(look_up(body, None)?.totals)
}

/// Checks a body, has it judged, and appends it. What was accepted is durable when the returned is.
pub(super) fn append<'t>(
    body: &[u8],
    mut appender: Appender<'t>,
    judge: impl FnOnce(Totals) -> Result<ContentLimits, WriteError>,
) -> Result<(Totals, Outcome, Pending<'t>), WriteError> {
    let checked = look_up(body, Some(&mut appender))?;
    let totals = checked.totals;
    let (outcome, pending) = append_checked(checked, judge(totals)?, appender)?;
    Ok((totals, outcome, pending))
}

/// Walks the whole body, and looks its series up if there is where.
fn look_up<'b>(body: &'b [u8], mut appender: Option<&mut Appender<'_>>) -> Result<Checked<'b>, WireError> {
    let mut totals = Totals { other_bytes: body.len() as u64, ..Totals::default() };
    let mut scan = Scan::default();
    let mut walk = time_series(body);
    let expected = FOUND_MAX.min(body.len() / SERIES_BYTES + 1);
    let mut found = Vec::with_capacity(if appender.is_some() { expected } else { 0 });
    let mut rest = walk.clone();
    while let Some(series) = walk.next() {
        let series = series?;
        totals.series += 1;
        totals.other_bytes -= series.field().len() as u64;
        let Some(appender) = appender.as_deref_mut().filter(|_| found.len() < FOUND_MAX) else {
            totals.contents += V1(&series, &series.checked_parts()?).contents();
            continue;
        };
        let next = appender.next_in(&scan, series.body());
        if let Some((known, len)) = next
            && let Some((labels, sample)) = series.usual_after(len)
        {
            appender.pass(&mut scan, known, labels);
            totals.contents.samples += 1;
            found.push(Found::Usual { series: known, labels, sample });
        } else {
            let parts = series.checked_parts_after(next.map_or(0, |(_, len)| len))?;
            totals.contents += V1(&series, &parts).contents();
            let known = parts.label_bytes.and_then(|labels| appender.known_in(&mut scan, labels));
            found.push(match (known, parts.label_bytes, parts.only_sample()) {
                (Some(series), Some(labels), Some(sample)) => Found::Usual { series, labels, sample },
                _ => Found::Other(series, known),
            });
        }
        rest = walk.clone();
    }
    Ok(Checked { totals, found, rest })
}

/// Appends what [`look_up`] has found for the same appender.
fn append_checked<'t>(
    checked: Checked<'_>,
    limits: ContentLimits,
    appender: Appender<'t>,
) -> Result<(Outcome, Pending<'t>), WireError> {
    let mut outcome = Outcome::default();
    let mut scratch = Vec::new();
    let mut writer = Writer { appender, scan: Scan::default(), limits, outcome: &mut outcome };
    let mut index = 0;
    for found in &checked.found {
        match *found {
            Found::Usual { series, labels, sample } => {
                if let Some(series) = writer.known(index, labels, SAMPLE, Ok(series)) {
                    writer.float(index, labels, series, sample.timestamp, sample.value);
                }
            }
            Found::Other(series, known) => append_series(&mut writer, index, &series, known, &mut scratch)?,
        }
        index += 1;
    }
    for series in checked.rest {
        let series = series?;
        append_series(&mut writer, index, &series, None, &mut scratch)?;
        index += 1;
    }
    let pending = writer.appender.commit();
    Ok((outcome, pending))
}

#[inline]
fn append_series<'b>(
    writer: &mut Writer<'_, '_, 'b>,
    index: u32,
    series: &TimeSeries<'b>,
    known: Option<SeriesRef>,
    scratch: &mut Vec<u8>,
) -> Result<(), WireError> {
    let parts = series.parts()?;
    let source = V1(series, &parts);
    let (labels, found) = match (parts.label_bytes, known) {
        (Some(labels), Some(known)) => (labels, writer.known(index, labels, source.contents(), Ok(known))),
        (Some(labels), None) => (labels, writer.find(index, labels, source.contents())),
        // Labels between other fields.
        (None, _) => {
            scratch.clear();
            series.labels().try_for_each(|label| label.map(|label| label.append_to(scratch)))?;
            (&**scratch, writer.find_once(index, scratch, source.contents()))
        }
    };
    let Some(found) = found else { return Ok(()) };
    writer.write(index, labels, found, &source)
}
