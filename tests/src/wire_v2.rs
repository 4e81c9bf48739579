//! Remote write 2.0 requests, encoded here by hand for the reasons that `wire` has.

use crate::wire::{self, Histogram, bytes_field, varint, varint_field};

/// The content type of such a request.
pub const CONTENT_TYPE: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// The headers that say how many samples, histograms and exemplars are written.
pub const WRITTEN: [&str; 3] = [
    "x-prometheus-remote-write-samples-written",
    "x-prometheus-remote-write-histograms-written",
    "x-prometheus-remote-write-exemplars-written",
];

/// A request that is being made.
#[derive(Clone, Debug)]
pub struct Request {
    symbols: Vec<String>,
    series: Vec<u8>,
}

impl Default for Request {
    fn default() -> Self {
        Self { symbols: vec![String::new()], series: Vec::new() }
    }
}

/// Labels in the order in which they are sent.
pub type Pairs = Vec<(String, String)>;

/// Labels in this order.
pub fn pairs(labels: &[(&str, &str)]) -> Pairs {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What one series holds besides its labels.
#[derive(Clone, Debug, Default)]
pub struct Data {
    /// Timestamps and values.
    pub samples: Vec<(i64, f64)>,
    /// Native histograms.
    pub histograms: Vec<Histogram>,
    /// Upper bounds of the buckets of all those histograms, where they have custom ones.
    pub custom_values: Vec<f64>,
    /// Labels, value and timestamp of each.
    pub exemplars: Vec<(Pairs, f64, i64)>,
    /// Type, help and unit.
    pub metadata: Option<(u64, String, String)>,
    /// What older senders put into field 6.
    pub created_timestamp: Option<i64>,
}

impl Request {
    /// The reference of a symbol, which is there from now on.
    pub fn symbol(&mut self, text: &str) -> u64 {
        let known = self.symbols.iter().position(|symbol| symbol == text);
        let at = known.unwrap_or_else(|| {
            self.symbols.push(text.to_owned());
            self.symbols.len() - 1
        });
        at as u64
    }

    fn references(&mut self, labels: &[(String, String)]) -> Vec<u8> {
        let mut packed = Vec::new();
        for (name, value) in labels {
            for text in [name, value] {
                varint(&mut packed, self.symbol(text));
            }
        }
        packed
    }

    /// Adds a series, with its labels in this order.
    pub fn series(&mut self, labels: &[(String, String)], data: &Data) {
        let references = self.references(labels);
        self.series_of(&references, data);
    }

    /// The same with references as they are, packed.
    pub fn series_of(&mut self, references: &[u8], data: &Data) {
        let mut body = Vec::new();
        bytes_field(&mut body, 1, references);
        for (timestamp, value) in &data.samples {
            wire::sample(&mut body, *timestamp, *value);
        }
        for histogram in &data.histograms {
            let mut message = wire::histogram_message(histogram);
            let bounds: Vec<u8> = data.custom_values.iter().flat_map(|bound| bound.to_le_bytes()).collect();
            if !bounds.is_empty() {
                bytes_field(&mut message, 16, &bounds);
            }
            bytes_field(&mut body, 3, &message);
        }
        for (labels, value, timestamp) in &data.exemplars {
            let references = self.references(labels);
            let mut exemplar = Vec::new();
            bytes_field(&mut exemplar, 1, &references);
            exemplar.push(2 << 3 | 1);
            exemplar.extend_from_slice(&value.to_le_bytes());
            exemplar.push(3 << 3);
            varint(&mut exemplar, timestamp.cast_unsigned());
            bytes_field(&mut body, 4, &exemplar);
        }
        if let Some((kind, help, unit)) = &data.metadata {
            let mut metadata = Vec::new();
            for (field, value) in [(1, *kind), (3, self.symbol(help)), (4, self.symbol(unit))] {
                // A 0 is left out, as encoders do.
                if value > 0 {
                    varint_field(&mut metadata, field, value);
                }
            }
            bytes_field(&mut body, 5, &metadata);
        }
        if let Some(created) = data.created_timestamp {
            body.push(6 << 3);
            varint(&mut body, created.cast_unsigned());
        }
        bytes_field(&mut self.series, 5, &body);
    }

    /// The body, uncompressed.
    pub fn encode(&self) -> Vec<u8> {
        let mut request = Vec::new();
        for symbol in &self.symbols {
            bytes_field(&mut request, 4, symbol.as_bytes());
        }
        request.extend_from_slice(&self.series);
        request
    }
}
