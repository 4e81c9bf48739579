//! Remote write 1.0 requests, encoded here by hand so that no test judges our encoder by our decoder,
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

/// Compresses a request as the protocol wants it: a bare snappy block.
pub fn snappy(request: &[u8]) -> Vec<u8> {
    // Only a request beyond 4 GiB cannot be compressed.
    snap::raw::Encoder::new().compress_vec(request).unwrap_or_default()
}
