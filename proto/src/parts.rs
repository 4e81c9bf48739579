//! Takes a time series apart in one walk: where its labels are, where its
//! samples begin, and how many of each field there are.
//!
//! The iterators of [`TimeSeries`] walk the series once each; who needs more
//! than one of them is better served here.

use crate::labels::{LABELS, Label};
use crate::remote_write::{EXEMPLARS, HISTOGRAMS, SAMPLES, SERIES_KNOWN, Sample, SampleIter, TimeSeries};
use crate::wire::{Cursor, WireError};

/// Tag and length of a sample of usual size.
const USUAL_SAMPLE: [u8; 2] = [SAMPLES as u8, 16];

/// What a time series consists of.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    /// As [`TimeSeries::label_bytes`] gives it: `None` where other fields stand between labels.
    pub label_bytes: Option<&'a [u8]>,
    /// Float samples.
    pub samples: usize,
    /// Native histograms.
    pub histograms: usize,
    /// Exemplars.
    pub exemplars: usize,
    /// The first float sample, where it was read on the way.
    first: Option<Sample>,
    /// From the first field that is no label.
    others: Cursor<'a>,
}

impl<'a> Parts<'a> {
    /// The only float sample of a series that was checked and has nothing besides: what nearly all requests carry.
    #[inline]
    pub fn only_sample(&self) -> Option<Sample> {
        self.first.filter(|_| self.samples == 1 && self.histograms == 0 && self.exemplars == 0)
    }

    /// The float samples. Unlike [`TimeSeries::samples`] it does not pass over the labels first.
    #[inline]
    pub fn samples(&self) -> SampleIter<'a> {
        SampleIter::new(self.others)
    }
}

impl<'a> TimeSeries<'a> {
    /// Takes the series apart by its framing; what is inside a label or a sample is not looked at.
    ///
    /// # Errors
    /// The first fault of the framing.
    #[inline]
    pub fn parts(&self) -> Result<Parts<'a>, WireError> {
        self.take_apart::<false>(0)
    }

    /// Takes the series apart and reads every label and every sample on the way, so that
    /// [`labels`](Self::labels) and [`samples`](Self::samples) cannot fail any more.
    ///
    /// # Errors
    /// The first fault, in the order of the body.
    #[inline]
    pub fn checked_parts(&self) -> Result<Parts<'a>, WireError> {
        self.take_apart::<true>(0)
    }

    /// The same as [`checked_parts`](Self::checked_parts) for a series whose first `known` bytes are whole labels that
    /// need not be read again.
    ///
    /// # Errors
    /// The first fault after these bytes.
    #[inline]
    pub fn checked_parts_after(&self, known: usize) -> Result<Parts<'a>, WireError> {
        self.take_apart::<true>(known)
    }

    /// The first `labels` bytes and the sample after them, where that is all of the series, written as nearly every
    /// sender does. `None` for any other, which is not looked at further.
    #[inline]
    pub fn usual_after(&self, labels: usize) -> Option<(&'a [u8], Sample)> {
        let (labels, rest) = self.body().split_at_checked(labels)?;
        let (value, timestamp) = Cursor::new(rest.strip_prefix(&USUAL_SAMPLE)?, 0).usual_sample()?;
        Some((labels, Sample { value: f64::from_bits(value), timestamp }))
    }

    /// What stands before the last bytes, where these look like a float sample as nearly every sender writes it, which
    /// leaves a value of zero out. It is a look from behind: they are a field, and the only one besides the labels, where
    /// what stands before them is labels and nothing else.
    #[inline]
    pub fn before_sample(&self) -> Option<&'a [u8]> {
        const SAMPLE: u8 = SAMPLES as u8;
        match self.body() {
            [before @ .., SAMPLE, 16, 0x09, _, _, _, _, _, _, _, _, 0x10, _, _, _, _, _, _] => Some(before),
            [before @ .., SAMPLE, 7, 0x10, _, _, _, _, _, _] => Some(before),
            _ => None,
        }
    }

    #[inline]
    fn take_apart<const CHECK: bool>(&self, known: usize) -> Result<Parts<'a>, WireError> {
        let start = self.cursor();
        let mut cursor = start.after(known);
        // Nearly every sender puts the labels first.
        while cursor.take_short_tag(LABELS) {
            let label = cursor.nested()?;
            if CHECK {
                Label::parse(label)?;
            }
        }
        let label_bytes = Some(start.until(&cursor));
        let mut parts =
            Parts { label_bytes, samples: 0, histograms: 0, exemplars: 0, first: None, others: cursor };
        let mut late_labels = false;
        while !cursor.is_empty() {
            let at = cursor;
            match cursor.tag()? {
                SAMPLES => {
                    parts.samples += 1;
                    let sample = cursor.nested()?;
                    if CHECK {
                        let sample = Sample::parse(sample)?;
                        parts.first.get_or_insert(sample);
                    }
                }
                LABELS => {
                    late_labels = true;
                    let label = cursor.nested()?;
                    if CHECK {
                        Label::parse(label)?;
                    }
                }
                tag => {
                    cursor.skip_among_len(&at, tag, SERIES_KNOWN)?;
                    parts.histograms += usize::from(tag == HISTOGRAMS);
                    parts.exemplars += usize::from(tag == EXEMPLARS);
                }
            }
        }
        if late_labels {
            parts.label_bytes = self.label_bytes()?;
            parts.others = start;
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use crate::remote_write::time_series;

    #[test]
    fn labels_first_last_and_in_between() {
        let label = [0x0a, 2, 0x0a, 0];
        let sample = [0x12, 2, 0x10, 7];
        for (fields, run) in [
            (vec![&label[..], &label, &sample], Some([label, label].concat())),
            (vec![&sample[..], &label, &label], Some([label, label].concat())),
            (vec![&label[..], &sample, &label], None),
            (vec![&sample[..]], Some(vec![])),
        ] {
            let series = fields.concat();
            let body = [&[0x0a, series.len() as u8][..], &series].concat();
            let series = time_series(&body).next().unwrap().unwrap();
            for parts in [series.parts().unwrap(), series.checked_parts().unwrap()] {
                assert_eq!(parts.label_bytes, run.as_deref());
                assert_eq!(parts.samples, 1);
                assert_eq!(parts.samples().map(|sample| sample.unwrap().timestamp).collect::<Vec<_>>(), [7]);
            }
        }
    }

    #[test]
    fn known_labels_are_passed_over() {
        let label = [0x0a, 2, 0x0a, 0];
        let sample = [0x12, 2, 0x10, 7];
        for (fields, known) in [
            (vec![&label[..], &sample], 4),
            (vec![&label[..], &label, &sample], 4),
            (vec![&label[..], &sample, &label], 4),
            (vec![&label[..]], 4),
            (vec![&label[..]], 9),
        ] {
            let series = fields.concat();
            let body = [&[0x0a, series.len() as u8][..], &series].concat();
            let series = time_series(&body).next().unwrap().unwrap();
            let (parts, whole) =
                (series.checked_parts_after(known).unwrap(), series.checked_parts().unwrap());
            assert_eq!((parts.label_bytes, parts.samples), (whole.label_bytes, whole.samples));
        }
    }

    #[test]
    fn the_usual_form_is_nothing_but_labels_and_a_sample() {
        let label = [0x0a, 2, 0x0a, 0];
        let t = 1_700_000_000_000u64;
        let varint: Vec<u8> = (0..6).map(|i| (t >> (7 * i)) as u8 | if i < 5 { 0x80 } else { 0 }).collect();
        let sample = [&[0x12, 16, 0x09][..], &1.5f64.to_le_bytes(), &[0x10], &varint].concat();
        let usual = |fields: &[&[u8]]| {
            let series = fields.concat();
            let body = [&[0x0a, series.len() as u8][..], &series].concat();
            let series = time_series(&body).next().unwrap().unwrap();
            series.usual_after(4).map(|(labels, sample)| (labels.to_vec(), sample))
        };
        let (labels, read) = usual(&[&label, &sample]).unwrap();
        assert_eq!((labels.as_slice(), read.value, read.timestamp), (&label[..], 1.5, t as i64));
        for other in
            [&[&label[..], &label, &sample][..], &[&label, &sample, &sample], &[&label, &sample[..17]]]
        {
            assert!(usual(other).is_none());
        }
    }

    #[test]
    fn a_sample_seen_from_behind() {
        let label = [0x0a, 2, 0x0a, 0];
        let time = [0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 1];
        let full = [&[0x12, 16, 0x09][..], &1.5f64.to_le_bytes(), &time].concat();
        let zero = [&[0x12, 7][..], &time].concat();
        let before = |series: &[u8]| {
            let body = [&[0x0a, series.len() as u8][..], series].concat();
            time_series(&body).next().unwrap().unwrap().before_sample().map(<[u8]>::to_vec)
        };
        for sample in [&full, &zero] {
            assert_eq!(before(&[&label[..], &label, sample].concat()), Some([label, label].concat()));
            assert_eq!(before(sample), Some(vec![]));
            assert_eq!(before(&[&label[..], sample, &label].concat()), None);
            assert_eq!(before(&[&label[..], sample.get(1..).unwrap()].concat()), None);
        }
        assert_eq!(before(&label), None);
    }

    #[test]
    fn only_the_checked_form_looks_inside() {
        // A label whose name is a varint.
        let body = [0x0a, 4, 0x0a, 2, 0x08, 0];
        let series = time_series(&body).next().unwrap().unwrap();
        assert!(series.parts().is_ok());
        assert_eq!(series.checked_parts().unwrap_err().offset, 4);
    }
}
