//! Walks a remote-write 2.0 `Request` in place, as [`remote_write`](crate::remote_write) walks a 1.0 one: each series
//! comes as a slice of the body. Its labels are references into the table of [`symbols`](SymbolTable), which is read
//! first and may stand anywhere in the body.
//!
//! The walkers judge framing. What else a request owes its receiver is judged by [`SymbolTable::read`] for the whole
//! of it and by [`TimeSeries::check`] for one series, each with an error that names the fault. Nothing is copied, and
//! nothing allocated but the table, which takes four bytes for each symbol.

mod check;
mod expansion;
mod refs;
mod survey;
mod symbols;

pub use check::SeriesError;
pub use expansion::{EXPANDED_BYTES_MAX, Expansion, LABEL_BYTES_MAX};
pub use refs::{LabelIter, RefIter};
pub use survey::Survey;
pub use symbols::{RequestError, SymbolTable, Symbols};

use std::iter::FusedIterator;

use crate::remote_write::FieldIter;
use crate::wire::{Cursor, WireError, fixed64_tag, len_tag, varint_tag};

/// `Request.symbols`.
const SYMBOLS: u32 = len_tag(4);
const TIME_SERIES: u32 = len_tag(5);
const REQUEST_KNOWN: u32 = 1 << 4 | 1 << 5;

const SAMPLES: u32 = len_tag(2);
const HISTOGRAMS: u32 = len_tag(3);
const EXEMPLARS: u32 = len_tag(4);
const METADATA: u32 = len_tag(5);
/// All but the references, which come in either of two wire types.
const SERIES_KNOWN: u32 = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5;

const SAMPLE_VALUE: u32 = fixed64_tag(1);
const SAMPLE_TIMESTAMP: u32 = varint_tag(2);
const SAMPLE_START_TIMESTAMP: u32 = varint_tag(3);
const SAMPLE_KNOWN: u32 = 1 << 1 | 1 << 2 | 1 << 3;

const EXEMPLAR_VALUE: u32 = fixed64_tag(2);
const EXEMPLAR_TIMESTAMP: u32 = varint_tag(3);
const EXEMPLAR_KNOWN: u32 = 1 << 2 | 1 << 3;

const METADATA_TYPE: u32 = varint_tag(1);
const METADATA_HELP: u32 = varint_tag(3);
const METADATA_UNIT: u32 = varint_tag(4);
const METADATA_KNOWN: u32 = 1 << 1 | 1 << 3 | 1 << 4;

/// The time series of a decompressed request body, in order. Symbols and unknown fields are skipped.
#[inline]
pub fn time_series(body: &[u8]) -> TimeSeriesIter<'_> {
    TimeSeriesIter { cursor: Cursor::new(body, 0) }
}

/// Iterates over the time series of a request. It ends after the first error.
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
    /// The whole field, tag and length included: copied unchanged into another `Request` with the same symbols, it is
    /// this series there.
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
    fn cursor(&self) -> Cursor<'a> {
        Cursor::new(self.body, self.offset())
    }

    /// The references of the labels, in the order of the body.
    #[inline]
    pub fn label_refs(&self) -> RefIter<'a> {
        RefIter::new(self.cursor())
    }

    /// The labels, in the order of the body.
    #[inline]
    pub fn labels<'t>(&self, symbols: Symbols<'t, 'a>) -> LabelIter<'t, 'a> {
        self.label_refs().labels(symbols)
    }

    /// The float samples, in the order of the body.
    #[inline]
    pub fn samples(&self) -> SampleIter<'a> {
        SampleIter { fields: self.fields(SAMPLES) }
    }

    /// The encoded `Histogram` messages, without tag and length.
    #[inline]
    pub fn histograms(&self) -> FieldIter<'a> {
        self.fields(HISTOGRAMS)
    }

    /// The exemplars, in the order of the body.
    #[inline]
    pub fn exemplars(&self) -> ExemplarIter<'a> {
        ExemplarIter { fields: self.fields(EXEMPLARS) }
    }

    #[inline]
    fn fields(&self, wanted: u32) -> FieldIter<'a> {
        FieldIter::new(self.cursor(), wanted, SERIES_KNOWN)
    }

    /// How much the series holds, by its framing; what is inside a sample is not looked at.
    ///
    /// # Errors
    /// The first fault of the framing.
    #[inline]
    pub fn contents(&self) -> Result<Contents, WireError> {
        let mut cursor = self.cursor();
        let mut contents = Contents::default();
        while !cursor.is_empty() {
            let at = cursor;
            let tag = cursor.tag()?;
            contents.count(tag);
            refs::skip_beside_refs(&mut cursor, &at, tag, SERIES_KNOWN)?;
        }
        Ok(contents)
    }

    /// What the metric is about, where the sender says so.
    ///
    /// # Errors
    /// The first fault, within the metadata or of the framing.
    pub fn metadata(&self) -> Result<Option<Metadata>, WireError> {
        let mut fields = self.fields(METADATA);
        let mut metadata = None;
        while let Some(cursor) = fields.advance()? {
            // As protobuf has it, the parts of a field that comes again are merged.
            metadata.get_or_insert_with(Metadata::default).merge(cursor)?;
        }
        Ok(metadata)
    }
}

/// How much something holds: a series, a request, or what was written of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contents {
    /// Float samples.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

impl Contents {
    /// What remains of it without another, kind by kind; nothing where the other has more.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self {
            samples: self.samples.saturating_sub(other.samples),
            histograms: self.histograms.saturating_sub(other.histograms),
            exemplars: self.exemplars.saturating_sub(other.exemplars),
        }
    }

    #[inline]
    fn count(&mut self, tag: u32) {
        self.samples += u64::from(tag == SAMPLES);
        self.histograms += u64::from(tag == HISTOGRAMS);
        self.exemplars += u64::from(tag == EXEMPLARS);
    }
}

impl std::ops::AddAssign for Contents {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        self.samples = self.samples.saturating_add(other.samples);
        self.histograms = self.histograms.saturating_add(other.histograms);
        self.exemplars = self.exemplars.saturating_add(other.exemplars);
    }
}

/// One float sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The value, with its very bits: stale markers are NaNs that must not change.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// When counting began, in milliseconds since the Unix epoch; 0 where that is unknown.
    pub start_timestamp: i64,
}

impl Sample {
    #[inline]
    fn parse(mut cursor: Cursor<'_>) -> Result<Self, WireError> {
        let mut sample = Sample { value: 0.0, timestamp: 0, start_timestamp: 0 };
        while !cursor.is_empty() {
            let at = cursor;
            match cursor.tag()? {
                SAMPLE_VALUE => sample.value = f64::from_bits(cursor.fixed64()?),
                SAMPLE_TIMESTAMP => sample.timestamp = cursor.varint()?.cast_signed(),
                SAMPLE_START_TIMESTAMP => sample.start_timestamp = cursor.varint()?.cast_signed(),
                tag => cursor.skip(&at, tag, SAMPLE_KNOWN)?,
            }
        }
        Ok(sample)
    }
}

/// Iterates over the float samples of a time series. It ends after the first error.
#[derive(Debug, Clone)]
pub struct SampleIter<'a> {
    fields: FieldIter<'a>,
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

/// A sample that points at a trace.
#[derive(Debug, Clone)]
pub struct Exemplar<'a> {
    /// The value.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    cursor: Cursor<'a>,
}

impl<'a> Exemplar<'a> {
    fn parse(mut cursor: Cursor<'a>) -> Result<Self, WireError> {
        let mut exemplar = Exemplar { value: 0.0, timestamp: 0, cursor };
        while !cursor.is_empty() {
            let at = cursor;
            match cursor.tag()? {
                EXEMPLAR_VALUE => exemplar.value = f64::from_bits(cursor.fixed64()?),
                EXEMPLAR_TIMESTAMP => exemplar.timestamp = cursor.varint()?.cast_signed(),
                tag => refs::skip_beside_refs(&mut cursor, &at, tag, EXEMPLAR_KNOWN)?,
            }
        }
        Ok(exemplar)
    }

    /// The references of its labels, in the order of the body.
    #[inline]
    pub fn label_refs(&self) -> RefIter<'a> {
        RefIter::new(self.cursor)
    }
}

/// Iterates over the exemplars of a time series. It ends after the first error.
#[derive(Debug, Clone)]
pub struct ExemplarIter<'a> {
    fields: FieldIter<'a>,
}

impl<'a> Iterator for ExemplarIter<'a> {
    type Item = Result<Exemplar<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.fields.advance().and_then(|cursor| cursor.map(Exemplar::parse).transpose());
        if item.is_err() {
            self.fields.stop();
        }
        item.transpose()
    }
}

impl FusedIterator for ExemplarIter<'_> {}

/// What the metric of a series is about. Strings are references; 0 means none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The metric type, by its number in the protocol.
    pub metric_type: i32,
    /// The help text.
    pub help_ref: u32,
    /// The unit.
    pub unit_ref: u32,
}

impl Metadata {
    fn merge(&mut self, mut cursor: Cursor<'_>) -> Result<(), WireError> {
        while !cursor.is_empty() {
            let at = cursor;
            match cursor.tag()? {
                METADATA_TYPE => self.metric_type = cursor.varint()? as i32,
                METADATA_HELP => self.help_ref = cursor.varint()? as u32,
                METADATA_UNIT => self.unit_ref = cursor.varint()? as u32,
                tag => cursor.skip(&at, tag, METADATA_KNOWN)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
