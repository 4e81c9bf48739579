//! Walks a remote-write 1.0 `WriteRequest` in place: each series comes as a
//! slice of the body, and its labels, samples, histograms and exemplars as
//! iterators over that slice. Nothing is copied or allocated.
//!
//! A walker judges the framing of what it passes and nothing else: neither
//! label names nor the order of samples. Fields that it does not know are
//! skipped, known ones with a wrong wire type are refused. Offsets of errors
//! count from the start of the body. Each iterator ends after its first error.

use std::iter::FusedIterator;

use crate::labels::{LABELS, LabelIter};
use crate::wire::{Cursor, WireError, fixed64_tag, len_tag, varint_tag};

const TIME_SERIES: u32 = len_tag(1);
/// `timeseries` and `metadata`; field 2 is reserved.
const REQUEST_KNOWN: u32 = 1 << 1 | 1 << 3;

pub(crate) const SAMPLES: u32 = len_tag(2);
pub(crate) const EXEMPLARS: u32 = len_tag(3);
pub(crate) const HISTOGRAMS: u32 = len_tag(4);
pub(crate) const SERIES_KNOWN: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4;

const SAMPLE_VALUE: u32 = fixed64_tag(1);
const SAMPLE_TIMESTAMP: u32 = varint_tag(2);
const SAMPLE_KNOWN: u32 = 1 << 1 | 1 << 2;

/// The time series of a decompressed request body, in order. Metadata and unknown fields are skipped.
#[inline]
pub fn time_series(body: &[u8]) -> TimeSeriesIter<'_> {
    TimeSeriesIter { cursor: Cursor::new(body, 0) }
}

/// Iterates over the time series of a request.
#[derive(Debug, Clone)]
pub struct TimeSeriesIter<'a> {
    cursor: Cursor<'a>,
}

impl<'a> TimeSeriesIter<'a> {
    #[inline]
    fn advance(&mut self) -> Result<Option<TimeSeries<'a>>, WireError> {
        while !self.cursor.is_empty() {
            let at = self.cursor;
            match self.cursor.tag()? {
                TIME_SERIES => {
                    let body = self.cursor.bytes()?;
                    let field = at.until(&self.cursor);
                    return Ok(Some(TimeSeries { field, body, end: self.cursor.offset() }));
                }
                tag => self.cursor.skip_among_len(&at, tag, REQUEST_KNOWN)?,
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for TimeSeriesIter<'a> {
    type Item = Result<TimeSeries<'a>, WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let item = self.advance();
        if item.is_err() {
            self.cursor.stop();
        }
        item.transpose()
    }
}

impl FusedIterator for TimeSeriesIter<'_> {}

/// One time series of a request, as it stands in the body.
#[derive(Debug, Clone, Copy)]
pub struct TimeSeries<'a> {
    field: &'a [u8],
    body: &'a [u8],
    /// Where the series ends in the request body.
    end: usize,
}

impl<'a> TimeSeries<'a> {
    /// The whole field, tag and length included: copied unchanged into another
    /// `WriteRequest`, it is this series there.
    #[inline]
    pub fn field(&self) -> &'a [u8] {
        self.field
    }

    /// The encoded `TimeSeries` message.
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Where [`body`](Self::body) begins in the request body, in bytes.
    #[inline]
    pub fn offset(&self) -> usize {
        self.end - self.body.len()
    }

    #[inline]
    pub(crate) fn cursor(&self) -> Cursor<'a> {
        Cursor::new(self.body, self.offset())
    }

    /// The labels, in the order of the body.
    #[inline]
    pub fn labels(&self) -> LabelIter<'a> {
        LabelIter::new(self.cursor(), SERIES_KNOWN)
    }

    /// The contiguous run of label fields, tags included; empty where the
    /// series has no label, `None` where other fields stand between labels.
    /// Walks the framing of the whole series, not the labels themselves.
    #[inline]
    pub fn label_bytes(&self) -> Result<Option<&'a [u8]>, WireError> {
        let mut cursor = self.cursor();
        let mut run: Option<(Cursor<'a>, Cursor<'a>)> = None;
        let mut contiguous = true;
        while !cursor.is_empty() {
            let at = cursor;
            match cursor.tag()? {
                LABELS => {
                    cursor.bytes()?;
                    run = match run {
                        None => Some((at, cursor)),
                        Some((start, end)) => {
                            contiguous &= end.offset() == at.offset();
                            Some((start, cursor))
                        }
                    };
                }
                tag => cursor.skip_among_len(&at, tag, SERIES_KNOWN)?,
            }
        }
        let bytes = run.map_or(&[][..], |(start, end)| start.until(&end));
        Ok(contiguous.then_some(bytes))
    }

    /// The float samples, in the order of the body.
    #[inline]
    pub fn samples(&self) -> SampleIter<'a> {
        SampleIter::new(self.cursor())
    }

    /// The encoded `Histogram` messages, without tag and length.
    #[inline]
    pub fn histograms(&self) -> FieldIter<'a> {
        self.fields(HISTOGRAMS)
    }

    /// The encoded `Exemplar` messages, without tag and length.
    #[inline]
    pub fn exemplars(&self) -> FieldIter<'a> {
        self.fields(EXEMPLARS)
    }

    #[inline]
    fn fields(&self, wanted: u32) -> FieldIter<'a> {
        FieldIter::new(self.cursor(), wanted, SERIES_KNOWN)
    }
}

/// Iterates over the bodies of one repeated field of a time series.
#[derive(Debug, Clone)]
pub struct FieldIter<'a> {
    cursor: Cursor<'a>,
    wanted: u32,
    /// Field numbers with a fixed wire type in the message around the fields.
    known: u32,
}

impl<'a> FieldIter<'a> {
    #[inline]
    pub(crate) fn new(cursor: Cursor<'a>, wanted: u32, known: u32) -> Self {
        Self { cursor, wanted, known }
    }

    /// The next body, as a place in the request.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<Option<Cursor<'a>>, WireError> {
        while !self.cursor.is_empty() {
            let at = self.cursor;
            match self.cursor.tag()? {
                tag if tag == self.wanted => return self.cursor.nested().map(Some),
                tag => self.cursor.skip_among_len(&at, tag, self.known)?,
            }
        }
        Ok(None)
    }

    #[inline]
    pub(crate) fn stop(&mut self) {
        self.cursor.stop();
    }
}

impl<'a> Iterator for FieldIter<'a> {
    type Item = Result<&'a [u8], WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let item = self.advance().map(|cursor| cursor.map(|cursor| cursor.rest()));
        if item.is_err() {
            self.stop();
        }
        item.transpose()
    }
}

impl FusedIterator for FieldIter<'_> {}

/// One float sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The value, with its very bits: stale markers are NaNs that must not change.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
}

impl Sample {
    #[inline]
    pub(crate) fn parse(mut cursor: Cursor<'_>) -> Result<Self, WireError> {
        if let Some((value, timestamp)) = cursor.usual_sample() {
            return Ok(Self { value: f64::from_bits(value), timestamp });
        }
        let mut sample = Sample { value: 0.0, timestamp: 0 };
        while !cursor.is_empty() {
            let at = cursor;
            match cursor.tag()? {
                SAMPLE_VALUE => sample.value = f64::from_bits(cursor.fixed64()?),
                SAMPLE_TIMESTAMP => sample.timestamp = cursor.varint()?.cast_signed(),
                tag => cursor.skip(&at, tag, SAMPLE_KNOWN)?,
            }
        }
        Ok(sample)
    }
}

/// Iterates over the float samples of a time series.
#[derive(Debug, Clone)]
pub struct SampleIter<'a> {
    fields: FieldIter<'a>,
}

impl<'a> SampleIter<'a> {
    #[inline]
    pub(crate) fn new(cursor: Cursor<'a>) -> Self {
        Self { fields: FieldIter::new(cursor, SAMPLES, SERIES_KNOWN) }
    }
}

impl Iterator for SampleIter<'_> {
    type Item = Result<Sample, WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let item = self.fields.advance().and_then(|cursor| cursor.map(Sample::parse).transpose());
        if item.is_err() {
            self.fields.stop();
        }
        item.transpose()
    }
}

impl FusedIterator for SampleIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::label_fields;
    use crate::prometheus;
    use crate::wire::WireFault;
    use prost::Message;

    fn request() -> prometheus::WriteRequest {
        let label = |name: &str, value: &str| prometheus::Label { name: name.into(), value: value.into() };
        let series = |job: &str, samples: Vec<prometheus::Sample>| prometheus::TimeSeries {
            labels: vec![label("__name__", "up"), label("job", job)],
            samples,
            exemplars: vec![prometheus::Exemplar { value: 1.5, ..Default::default() }],
            histograms: vec![prometheus::Histogram { sum: 2.5, ..Default::default() }],
        };
        prometheus::WriteRequest {
            timeseries: vec![
                series("a", vec![prometheus::Sample { value: 1.0, timestamp: 1_700_000_000_000 }]),
                series("b", vec![prometheus::Sample { value: 0.0, timestamp: -5 }]),
            ],
            metadata: vec![prometheus::MetricMetadata { help: "h".into(), ..Default::default() }],
        }
    }

    #[test]
    fn hands_out_every_part() {
        let request = request();
        let body = request.encode_to_vec();
        let walked: Vec<_> = time_series(&body).collect::<Result<_, _>>().unwrap();
        assert_eq!(walked.len(), 2);
        for (series, sent) in walked.iter().zip(&request.timeseries) {
            assert_eq!(series.body(), sent.encode_to_vec());
            assert_eq!(&body[series.offset()..][..series.body().len()], series.body());
            let labels: Vec<_> = series.labels().map(Result::unwrap).collect();
            assert_eq!(labels[1].value, sent.labels[1].value.as_bytes());
            let run = series.label_bytes().unwrap().unwrap();
            assert_eq!(label_fields(run).map(Result::unwrap).collect::<Vec<_>>(), labels);
            let sample = series.samples().next().unwrap().unwrap();
            assert_eq!((sample.value, sample.timestamp), (sent.samples[0].value, sent.samples[0].timestamp));
            let histogram = series.histograms().next().unwrap().unwrap();
            assert_eq!(prometheus::Histogram::decode(histogram).unwrap(), sent.histograms[0]);
            let exemplar = series.exemplars().next().unwrap().unwrap();
            assert_eq!(prometheus::Exemplar::decode(exemplar).unwrap(), sent.exemplars[0]);
        }
        let fields: Vec<u8> = walked.iter().flat_map(|series| series.field().to_vec()).collect();
        let copied = prometheus::WriteRequest::decode(&fields[..]).unwrap();
        assert_eq!(copied.timeseries, request.timeseries);
    }

    #[test]
    fn an_empty_body_has_no_series() {
        assert!(time_series(&[]).next().is_none());
    }

    #[test]
    fn a_series_without_labels_has_an_empty_run() {
        let series = prometheus::TimeSeries { samples: vec![Default::default()], ..Default::default() };
        let body = prometheus::WriteRequest { timeseries: vec![series], metadata: vec![] }.encode_to_vec();
        let series = time_series(&body).next().unwrap().unwrap();
        assert_eq!(series.label_bytes(), Ok(Some(&[][..])));
        assert_eq!(series.samples().map(Result::unwrap).count(), 1);
    }

    #[test]
    fn labels_between_samples_have_no_run() {
        // label, sample, label.
        let body = [0x0a, 8, 0x0a, 1 + 1, 0x0a, 0, 0x12, 0, 0x0a, 0];
        let series = time_series(&body).next().unwrap().unwrap();
        assert_eq!(series.label_bytes(), Ok(None));
        assert_eq!(series.labels().map(Result::unwrap).count(), 2);
        // Sample, label, label: the run does not begin the series.
        let body = [0x0a, 6, 0x12, 0, 0x0a, 0, 0x0a, 0];
        let series = time_series(&body).next().unwrap().unwrap();
        assert_eq!(series.label_bytes(), Ok(Some(&[0x0a, 0, 0x0a, 0][..])));
    }

    #[test]
    fn errors_say_where() {
        let fault = |body: &[u8]| {
            let first = |series: TimeSeries<'_>| {
                series.labels().try_for_each(|label| label.map(drop))?;
                series.samples().try_for_each(|sample| sample.map(drop))
            };
            let error = time_series(body).try_for_each(|series| series.and_then(first)).unwrap_err();
            (error.offset, error.what)
        };
        assert_eq!(fault(&[0x0a, 5, 0]), (1, WireFault::Truncated), "series beyond the end");
        assert_eq!(fault(&[0x08, 0]), (0, WireFault::WireType), "time series as a varint");
        assert_eq!(fault(&[0x12, 0, 0x1d, 0, 0, 0, 0]), (2, WireFault::WireType), "metadata as fixed32");
        assert_eq!(fault(&[0x0a, 2, 0x10, 0]), (2, WireFault::WireType), "samples as a varint");
        assert_eq!(fault(&[0x0a, 4, 0x0a, 2, 0x08, 0]), (4, WireFault::WireType), "name as a varint");
        assert_eq!(fault(&[0x0a, 4, 0x12, 2, 0x0a, 0]), (4, WireFault::WireType), "value as bytes");
        assert_eq!(fault(&[0x0a, 5, 0x12, 3, 0x09, 0, 0]), (5, WireFault::Truncated), "half a value");
        assert_eq!(fault(&[0x23]), (0, WireFault::UnknownWireType), "a group");
        assert_eq!(fault(&[0x0a, 0, 0x00]), (2, WireFault::Tag), "field number 0");
    }

    #[test]
    fn an_iterator_ends_after_an_error() {
        let body = [0x0a, 0, 0x08, 0, 0x0a, 0];
        let mut walk = time_series(&body);
        assert!(walk.next().unwrap().is_ok());
        assert!(walk.next().unwrap().is_err());
        assert!(walk.next().is_none());
    }
}
