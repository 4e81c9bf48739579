//! Judges the walkers on any bytes, for the fuzz targets (`fuzz/`) and for `walkers.rs` and `walkers_v2.rs`, which
//! include this directory: the walkers may refuse the bytes, but never panic; and what prost accepts they must read
//! alike.

use prost::Message;
use ringside_proto::prometheus::WriteRequest;
use ringside_proto::remote_write::{TimeSeries, time_series};
use ringside_proto::{WireError, WireFault};

/// Panics where the walkers and prost disagree on `body`.
pub(crate) fn judge(body: &[u8]) {
    let walked = time_series(body).map(|series| series.and_then(parts)).collect::<Result<Vec<_>, _>>();
    match (walked, WriteRequest::decode(body)) {
        (Ok(walked), Ok(request)) => {
            let sent = request.timeseries.iter().map(|series| (series.labels.len(), series.samples.len()));
            assert_eq!(walked, sent.collect::<Vec<_>>());
        }
        // Groups are the one thing that prost passes over and remote write never has.
        (Err(error), Ok(_)) => assert_eq!(error.what, WireFault::UnknownWireType, "{error}"),
        (Err(error), Err(_)) => assert!(error.offset <= body.len()),
        // The walkers do not look into metadata, exemplars and histograms, nor for valid UTF-8.
        (Ok(_), Err(_)) => {}
    }
}

/// Walks every part of a series, and counts its labels and samples.
fn parts(series: TimeSeries<'_>) -> Result<(usize, usize), WireError> {
    let labels = series.labels().try_fold(0, |count, label| label.map(|_| count + 1))?;
    let samples = series.samples().try_fold(0, |count, sample| sample.map(|_| count + 1))?;
    series.histograms().try_for_each(|histogram| histogram.map(drop))?;
    series.exemplars().try_for_each(|exemplar| exemplar.map(drop))?;
    if let Some(run) = series.label_bytes()? {
        assert_eq!(ringside_proto::labels::label_fields(run).count(), labels);
    }
    let parts = series.checked_parts()?;
    assert_eq!((parts.label_bytes, parts.samples), (series.label_bytes()?, samples));
    assert_eq!(parts.samples().count(), samples);
    Ok((labels, samples))
}
