//! One series of a request of either version, and how its samples, histograms and exemplars go to the storage.

use prost::Message;
use ringside_proto::labels::label_fields;
use ringside_proto::limits::ContentLimits;
use ringside_proto::remote_write::{FieldIter, TimeSeries};
use ringside_proto::remote_write_v2::{self as v2, Contents, Symbols};
use ringside_proto::ringside::Reason;
use ringside_proto::{Parts, WireError, prometheus};
use ringside_tsdb::{Appender, Refusal, Scan, SeriesRef, Value, display_series};

use super::outcome::{Outcome, explain, reason_of};
use crate::histograms;

pub(super) const SAMPLE: Contents = Contents { samples: 1, histograms: 0, exemplars: 0 };
const HISTOGRAM: Contents = Contents { samples: 0, histograms: 1, exemplars: 0 };
const EXEMPLAR: Contents = Contents { samples: 0, histograms: 0, exemplars: 1 };

/// The longest message that is decoded, in bytes, and the most labels: an exemplar's may have 128 characters together.
const EXEMPLAR_BYTES_MAX: usize = 16 << 10;
const EXEMPLAR_LABELS_MAX: usize = 128;

/// An exemplar off the wire.
pub(super) struct Exemplar<'e> {
    t_ms: i64,
    value: f64,
    /// Names and values.
    labels: Vec<(&'e [u8], &'e [u8])>,
}

/// A checked series of a body.
pub(super) trait Series<'b> {
    fn contents(&self) -> Contents;

    /// Times in milliseconds, and values.
    fn samples(&self) -> impl Iterator<Item = Result<(i64, f64), WireError>>;

    /// Encoded messages, which the check has not looked into.
    fn histograms(&self) -> FieldIter<'b>;

    /// Calls `take` with each exemplar, or `None` for one that is malformed or far too long.
    fn exemplars(&self, take: impl FnMut(Option<Exemplar<'_>>)) -> Result<(), WireError>;

    /// Hands over what the metric is about, where the series says so.
    fn metadata(&self, _take: impl FnOnce(u8, &[u8], &[u8])) -> Result<(), WireError> {
        Ok(())
    }
}

/// A series of remote write 1.0.
pub(super) struct V1<'p, 'b>(pub(super) &'p TimeSeries<'b>, pub(super) &'p Parts<'b>);

impl<'b> Series<'b> for V1<'_, 'b> {
    fn contents(&self) -> Contents {
        let Parts { samples, histograms, exemplars, .. } = *self.1;
        Contents { samples: samples as u64, histograms: histograms as u64, exemplars: exemplars as u64 }
    }

    fn samples(&self) -> impl Iterator<Item = Result<(i64, f64), WireError>> {
        self.1.samples().map(|sample| sample.map(|sample| (sample.timestamp, sample.value)))
    }

    fn histograms(&self) -> FieldIter<'b> {
        self.0.histograms()
    }

    fn exemplars(&self, mut take: impl FnMut(Option<Exemplar<'_>>)) -> Result<(), WireError> {
        for message in self.0.exemplars() {
            let message = message?;
            let decoded =
                (message.len() <= EXEMPLAR_BYTES_MAX).then(|| prometheus::Exemplar::decode(message));
            let Some(Ok(exemplar)) = decoded else {
                take(None);
                continue;
            };
            let (t_ms, value) = (exemplar.timestamp, exemplar.value);
            let labels =
                exemplar.labels.iter().map(|label| (label.name.as_bytes(), label.value.as_bytes())).collect();
            take(Some(Exemplar { t_ms, value, labels }));
        }
        Ok(())
    }
}

/// A series of remote write 2.0.
pub(super) struct V2<'t, 'b> {
    pub(super) series: v2::TimeSeries<'b>,
    pub(super) contents: Contents,
    pub(super) symbols: Symbols<'t, 'b>,
}

impl<'b> Series<'b> for V2<'_, 'b> {
    fn contents(&self) -> Contents {
        self.contents
    }

    fn samples(&self) -> impl Iterator<Item = Result<(i64, f64), WireError>> {
        self.series.samples().map(|sample| sample.map(|sample| (sample.timestamp, sample.value)))
    }

    fn histograms(&self) -> FieldIter<'b> {
        self.series.histograms()
    }

    fn exemplars(&self, mut take: impl FnMut(Option<Exemplar<'_>>)) -> Result<(), WireError> {
        for exemplar in self.series.exemplars() {
            let exemplar = exemplar?;
            let (t_ms, value) = (exemplar.timestamp, exemplar.value);
            let labels = exemplar.label_refs().labels(self.symbols).take(EXEMPLAR_LABELS_MAX + 1);
            let labels: Result<Vec<_>, _> =
                labels.map(|label| label.map(|label| (label.name, label.value))).collect();
            let labels = labels.ok().filter(|labels| labels.len() <= EXEMPLAR_LABELS_MAX);
            take(labels.map(|labels| Exemplar { t_ms, value, labels }));
        }
        Ok(())
    }

    fn metadata(&self, take: impl FnOnce(u8, &[u8], &[u8])) -> Result<(), WireError> {
        let Some(metadata) = self.series.metadata()? else { return Ok(()) };
        // A number without meaning is no type.
        let kind = u8::try_from(metadata.metric_type).ok().filter(|kind| *kind <= 7).unwrap_or(0);
        let text = |reference| self.symbols.get(reference).unwrap_or_default();
        take(kind, text(metadata.unit_ref), text(metadata.help_ref));
        Ok(())
    }
}

/// What series go into, one after the other.
pub(super) struct Writer<'a, 'o, 'k> {
    pub(super) appender: Appender<'a>,
    pub(super) scan: Scan<'k>,
    pub(super) limits: ContentLimits,
    pub(super) outcome: &'o mut Outcome,
}

impl<'k> Writer<'_, '_, 'k> {
    /// The series with these labels; `None` where it is refused, which is noted. `scan` is for labels that live as
    /// long as the writer.
    #[inline]
    pub(super) fn find(&mut self, index: u32, labels: &'k [u8], all: Contents) -> Option<SeriesRef> {
        let found = self.appender.series_in(&mut self.scan, labels);
        self.known(index, labels, all, found)
    }

    /// The same for labels that live shorter.
    pub(super) fn find_once(&mut self, index: u32, labels: &[u8], all: Contents) -> Option<SeriesRef> {
        let found = self.appender.series(labels);
        self.known(index, labels, all, found)
    }

    #[inline]
    pub(super) fn known(
        &mut self,
        index: u32,
        labels: &[u8],
        all: Contents,
        found: Result<SeriesRef, Refusal>,
    ) -> Option<SeriesRef> {
        if self.limits.judges_labels() {
            let fields = label_fields(labels).map_while(Result::ok);
            if let Some(fault) = self.limits.fault(fields) {
                let message = || format!("{fault} in {}", display_series(labels));
                self.outcome.refuse(index, Reason::Invalid, all, message);
                return None;
            }
        }
        match found {
            Ok(series) => Some(series),
            Err(refusal) => {
                self.refuse(index, all, &refusal, labels);
                None
            }
        }
    }

    /// One float sample: what nearly all series of a request are.
    #[inline]
    pub(super) fn float(&mut self, index: u32, labels: &[u8], series: SeriesRef, t_ms: i64, value: f64) {
        if let Err(refusal) = self.appender.float(series, t_ms, value) {
            self.refuse(index, SAMPLE, &refusal, labels);
        }
    }

    /// All that a series has.
    pub(super) fn write<'b>(
        &mut self,
        index: u32,
        labels: &[u8],
        series: SeriesRef,
        source: &impl Series<'b>,
    ) -> Result<(), WireError> {
        for sample in source.samples() {
            let (t_ms, value) = sample?;
            self.float(index, labels, series, t_ms, value);
        }
        let contents = source.contents();
        if contents.histograms > 0 {
            for message in source.histograms() {
                self.histogram(index, labels, series, message?);
            }
        }
        if contents.exemplars > 0 {
            source.exemplars(|exemplar| self.exemplar(index, labels, series, exemplar))?;
        }
        source.metadata(|kind, unit, help| self.appender.metadata(series, kind, unit, help))
    }

    fn histogram(&mut self, index: u32, labels: &[u8], series: SeriesRef, message: &[u8]) {
        let stored = match histograms::decode(message) {
            Ok((t_ms, Value::Histogram(h))) => self.appender.histogram(series, t_ms, h),
            Ok((t_ms, Value::FloatHistogram(h))) => self.appender.float_histogram(series, t_ms, h),
            // No histogram is a float.
            Ok((_, Value::Float(_))) => return,
            Err(error) => {
                let message = || format!("{error} in {}", display_series(labels));
                return self.outcome.refuse(index, Reason::Invalid, HISTOGRAM, message);
            }
        };
        if let Err(refusal) = stored {
            self.refuse(index, HISTOGRAM, &refusal, labels);
        }
    }

    fn exemplar(&mut self, index: u32, labels: &[u8], series: SeriesRef, exemplar: Option<Exemplar<'_>>) {
        let Some(exemplar) = exemplar else {
            let message = || format!("malformed or overlong exemplar in {}", display_series(labels));
            return self.outcome.refuse(index, Reason::Invalid, EXEMPLAR, message);
        };
        let Exemplar { t_ms, value, labels: own } = exemplar;
        match self.appender.exemplar(series, t_ms, value, &own) {
            Ok(true) => {}
            Ok(false) => self.outcome.miss(index, EXEMPLAR),
            Err(refusal) => self.refuse(index, EXEMPLAR, &refusal, labels),
        }
    }

    #[cold]
    fn refuse(&mut self, index: u32, missing: Contents, refusal: &Refusal, labels: &[u8]) {
        self.outcome.refuse(index, reason_of(refusal), missing, || explain(refusal, labels));
    }
}
