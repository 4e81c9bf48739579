//! The same request in remote write 2.0, encoded by hand.

use ringside_e2e::wire::{bytes_field, double_field, histogram_message, snappy, varint, varint_field};

use super::stream::{Sample, Series, Write};

/// The content type that says so.
pub(super) const CONTENT_TYPE: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// The strings of a request, each once; the first is empty.
struct Symbols(Vec<String>);

impl Symbols {
    fn reference(&mut self, text: &str) -> u64 {
        let known = self.0.iter().position(|symbol| symbol == text);
        known.unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        }) as u64
    }

    /// References to names and values in turn, packed.
    fn references<'a>(&mut self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
        let mut packed = Vec::new();
        for (name, value) in labels {
            varint(&mut packed, self.reference(name));
            varint(&mut packed, self.reference(value));
        }
        packed
    }
}

pub(super) fn encode(write: &Write) -> Vec<u8> {
    let mut symbols = Symbols(vec![String::new()]);
    let series: Vec<_> = write.series.iter().map(|series| message(series, &mut symbols)).collect();
    let mut request = Vec::new();
    symbols.0.iter().for_each(|symbol| bytes_field(&mut request, 4, symbol.as_bytes()));
    series.iter().for_each(|message| bytes_field(&mut request, 5, message));
    snappy(&request)
}

fn message(series: &Series, symbols: &mut Symbols) -> Vec<u8> {
    let mut body = Vec::new();
    let labels = series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    bytes_field(&mut body, 1, &symbols.references(labels));
    for sample in &series.samples {
        match sample {
            Sample::Float(timestamp, value) => {
                let mut sample = Vec::new();
                double_field(&mut sample, 1, *value);
                varint_field(&mut sample, 2, timestamp.cast_unsigned());
                bytes_field(&mut body, 2, &sample);
            }
            Sample::Histogram(histogram) => bytes_field(&mut body, 3, &histogram_message(histogram)),
        }
    }
    if let Some(exemplar) = &series.exemplar {
        let mut message = Vec::new();
        bytes_field(&mut message, 1, &symbols.references([("trace_id", &*exemplar.trace_id_text())]));
        double_field(&mut message, 2, exemplar.value);
        varint_field(&mut message, 3, exemplar.timestamp.cast_unsigned());
        bytes_field(&mut body, 4, &message);
    }
    body
}
