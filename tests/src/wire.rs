//! Remote write requests, encoded here by hand so that no test judges our encoder by our decoder,
//! and so that a test can also write what no encoder would.

use crate::contents::Labels;

/// Appends a varint.
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length-delimited field.
pub fn bytes_field(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends one label to a series' body.
pub fn label(series: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let mut label = Vec::with_capacity(name.len() + value.len() + 8);
    bytes_field(&mut label, 1, name);
    bytes_field(&mut label, 2, value);
    bytes_field(series, 1, &label);
}

/// Appends one sample to a series' body.
pub fn sample(series: &mut Vec<u8>, timestamp: i64, value: f64) {
    let mut sample = Vec::with_capacity(24);
    sample.push(1 << 3 | 1);
    sample.extend_from_slice(&value.to_le_bytes());
    sample.push(2 << 3);
    varint(&mut sample, timestamp.cast_unsigned());
    bytes_field(series, 2, &sample);
}

/// Appends a whole series to a request, labels in name order.
pub fn series(request: &mut Vec<u8>, labels: &Labels, samples: &[(i64, f64)]) {
    let mut body = Vec::new();
    for (name, value) in labels {
        label(&mut body, name.as_bytes(), value.as_bytes());
    }
    for (timestamp, value) in samples {
        sample(&mut body, *timestamp, *value);
    }
    bytes_field(request, 1, &body);
}

/// A native histogram as remote write 1.0 carries it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Milliseconds.
    pub timestamp: i64,
    /// Counts: whole numbers, or floats.
    pub counts: Counts,
    /// Sum of the observations; the stale marker has its NaN here.
    pub sum: f64,
    /// Resolution.
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// (offset, length) of each run of negative buckets.
    pub negative_spans: Vec<(i32, u32)>,
    /// (offset, length) of each run of positive buckets.
    pub positive_spans: Vec<(i32, u32)>,
    /// The wire's `ResetHint`: 0 unknown, 1 reset, 2 no reset, 3 gauge.
    pub reset_hint: u8,
}

/// The counts of a histogram, in the form that decides its kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Counts {
    /// Integer histogram; buckets are differences to the one before.
    Int { count: u64, zero: u64, negative: Vec<i64>, positive: Vec<i64> },
    /// Float histogram; buckets are absolute.
    Float { count: f64, zero: f64, negative: Vec<f64>, positive: Vec<f64> },
}

impl Default for Counts {
    fn default() -> Self {
        Self::Int { count: 0, zero: 0, negative: Vec::new(), positive: Vec::new() }
    }
}

/// Appends one native histogram to a series' body.
pub fn histogram(series: &mut Vec<u8>, histogram: &Histogram) {
    bytes_field(series, 4, &histogram_message(histogram));
}

/// The message of a native histogram, which 1.0 and 2.0 have alike.
pub fn histogram_message(histogram: &Histogram) -> Vec<u8> {
    let mut body = Vec::new();
    match &histogram.counts {
        Counts::Int { count, .. } => varint_field(&mut body, 1, *count),
        Counts::Float { count, .. } => double_field(&mut body, 2, *count),
    }
    double_field(&mut body, 3, histogram.sum);
    varint_field(&mut body, 4, zigzag(histogram.schema.into()));
    double_field(&mut body, 5, histogram.zero_threshold);
    match &histogram.counts {
        Counts::Int { zero, negative, positive, .. } => {
            varint_field(&mut body, 6, *zero);
            spans(&mut body, 8, &histogram.negative_spans);
            deltas(&mut body, 9, negative);
            spans(&mut body, 11, &histogram.positive_spans);
            deltas(&mut body, 12, positive);
        }
        Counts::Float { zero, negative, positive, .. } => {
            double_field(&mut body, 7, *zero);
            spans(&mut body, 8, &histogram.negative_spans);
            doubles(&mut body, 10, negative);
            spans(&mut body, 11, &histogram.positive_spans);
            doubles(&mut body, 13, positive);
        }
    }
    varint_field(&mut body, 14, histogram.reset_hint.into());
    varint_field(&mut body, 15, histogram.timestamp.cast_unsigned());
    body
}

/// Appends one exemplar to a series' body.
pub fn exemplar(series: &mut Vec<u8>, labels: &Labels, value: f64, timestamp: i64) {
    let mut body = Vec::new();
    for (name, value) in labels {
        label(&mut body, name.as_bytes(), value.as_bytes());
    }
    double_field(&mut body, 2, value);
    varint_field(&mut body, 3, timestamp.cast_unsigned());
    bytes_field(series, 3, &body);
}

fn spans(out: &mut Vec<u8>, number: u32, spans: &[(i32, u32)]) {
    for (offset, length) in spans {
        let mut span = Vec::new();
        varint_field(&mut span, 1, zigzag((*offset).into()));
        varint_field(&mut span, 2, (*length).into());
        bytes_field(out, number, &span);
    }
}

fn deltas(out: &mut Vec<u8>, number: u32, deltas: &[i64]) {
    let mut packed = Vec::new();
    deltas.iter().for_each(|delta| varint(&mut packed, zigzag(*delta)));
    bytes_field(out, number, &packed);
}

fn doubles(out: &mut Vec<u8>, number: u32, values: &[f64]) {
    let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    bytes_field(out, number, &packed);
}

/// Appends a number.
pub fn varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    varint(out, u64::from(number) << 3);
    varint(out, value);
}

/// Appends a float.
pub fn double_field(out: &mut Vec<u8>, number: u32, value: f64) {
    varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// Compresses a request as the protocol wants it: a bare snappy block.
pub fn snappy(request: &[u8]) -> Vec<u8> {
    // Only a request beyond 4 GiB cannot be compressed.
    snap::raw::Encoder::new().compress_vec(request).unwrap_or_default()
}
