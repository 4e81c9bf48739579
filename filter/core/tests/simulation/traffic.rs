//! What clients send: series with samples, as a body of either version.

use prost::Message as _;
use ringside_proto::{Protocol, prometheus, prometheus_v2};

use crate::random::Random;

/// One sample: the value stands for its bits.
pub(crate) type Sample = (i64, u64);

/// A series by its number, and its samples in order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Series {
    pub(crate) number: u32,
    pub(crate) samples: Vec<Sample>,
}

/// What a client sends, and sends again until it is told that this helps nobody.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) protocol: Protocol,
    pub(crate) series: Vec<Series>,
    pub(crate) body: Vec<u8>,
    pub(crate) is_garbage: bool,
}

/// The labels of a series, in order of name.
pub(crate) fn labels(number: u32) -> [(String, String); 2] {
    [("__name__".to_owned(), "up".to_owned()), ("n".to_owned(), number.to_string())]
}

impl Write {
    /// A write of a few of the `pool` first series, around a time.
    pub(crate) fn random(random: &mut Random, pool: u32, now: i64) -> Self {
        let protocol = *random.pick(&[Protocol::V1, Protocol::V2]);
        let mut numbers: Vec<_> = (0..pool).filter(|_| random.percent(40)).collect();
        if random.percent(10) {
            numbers.push(random.within(100, 999) as u32); // One that hardly anybody has sent yet.
        }
        random.shuffle(&mut numbers);
        let one = |number| {
            // Mostly forward, now and then something old.
            let time = if random.percent(15) { now - random.within(0, 500) as i64 } else { now };
            let start = time / 100 * 100;
            // A run of samples, or one for which others may have another value.
            let mut samples = if random.percent(20) {
                vec![(start + 50, random.within(8, 9))]
            } else {
                (0..random.within(1, 3) as i64).map(|step| (start + step, 7)).collect()
            };
            // Now and then only some of a run conflict: by their values, or by their order.
            if random.percent(25) {
                samples.iter_mut().for_each(|(_, value)| *value = random.within(7, 9));
            }
            if random.percent(3) {
                random.shuffle(&mut samples);
            }
            Series { number, samples }
        };
        let series: Vec<_> = numbers.into_iter().map(one).collect();
        let is_garbage = random.percent(3);
        let body = if is_garbage { vec![4, 12, 0x0a, 9, 9, 9] } else { encode(random, protocol, &series) };
        Self { protocol, series, body, is_garbage }
    }

    pub(crate) fn samples(&self) -> u64 {
        self.series.iter().map(|series| series.samples.len() as u64).sum()
    }

    /// Whether a sidecar that may have stored another write, or none, can only take this one: each of its samples follows
    /// those of the other, or is among them.
    pub(crate) fn follows(&self, other: &Self) -> bool {
        let is_after = |sample: Sample, before: Sample| before.0 < sample.0 || before == sample;
        self.series.iter().all(|series| {
            let same = other.series.iter().filter(|other| other.number == series.number);
            let mut before = same.flat_map(|other| &other.samples);
            before.all(|before| series.samples.iter().all(|sample| is_after(*sample, *before)))
        })
    }

    /// Whether the samples of each series are in order, each with a time of its own.
    pub(crate) fn is_in_order(&self) -> bool {
        self.series.iter().all(|series| series.samples.is_sorted_by(|one, next| one.0 < next.0))
    }
}

/// A body with the labels of each series in any order.
fn encode(random: &mut Random, protocol: Protocol, series: &[Series]) -> Vec<u8> {
    let raw = match protocol {
        Protocol::V1 => {
            let timeseries = series.iter().map(|series| prometheus::TimeSeries {
                labels: shuffled(random, series.number)
                    .into_iter()
                    .map(|(name, value)| prometheus::Label { name, value })
                    .collect(),
                samples: series.samples.iter().map(|&(timestamp, value)| float(timestamp, value)).collect(),
                ..Default::default()
            });
            prometheus::WriteRequest { timeseries: timeseries.collect(), metadata: vec![] }.encode_to_vec()
        }
        Protocol::V2 => {
            let mut symbols = vec![String::new()];
            let mut reference = |text| {
                let known = symbols.iter().position(|symbol| *symbol == text);
                known.unwrap_or_else(|| {
                    symbols.push(text);
                    symbols.len() - 1
                }) as u32
            };
            let timeseries = series.iter().map(|series| prometheus_v2::TimeSeries {
                labels_refs: shuffled(random, series.number)
                    .into_iter()
                    .flat_map(|(name, value)| [reference(name), reference(value)])
                    .collect(),
                samples: series
                    .samples
                    .iter()
                    .map(|&(timestamp, value)| prometheus_v2::Sample {
                        value: value as f64,
                        timestamp,
                        start_timestamp: 0,
                    })
                    .collect(),
                ..Default::default()
            });
            let timeseries = timeseries.collect();
            prometheus_v2::Request { symbols, timeseries }.encode_to_vec()
        }
    };
    compress(&raw)
}

fn float(timestamp: i64, value: u64) -> prometheus::Sample {
    prometheus::Sample { value: value as f64, timestamp }
}

fn shuffled(random: &mut Random, number: u32) -> Vec<(String, String)> {
    let mut labels: Vec<_> = labels(number).into();
    random.shuffle(&mut labels);
    labels
}

fn compress(raw: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(raw).expect("compresses")
}

/// The series of a body; `None` for one that is malformed.
pub(crate) fn decode(protocol: Protocol, body: &[u8]) -> Option<Vec<Series>> {
    let raw = snap::raw::Decoder::new().decompress_vec(body).ok()?;
    let number = |mut labels: Vec<(&str, &str)>| {
        labels.sort_unstable();
        assert_eq!(labels[0], ("__name__", "up"), "a label is lost or changed");
        labels[1].1.parse().expect("a number")
    };
    match protocol {
        Protocol::V1 => {
            let request = prometheus::WriteRequest::decode(&raw[..]).ok()?;
            let series = request.timeseries.iter().map(|series| Series {
                number: number(series.labels.iter().map(|label| (&*label.name, &*label.value)).collect()),
                samples: series.samples.iter().map(|s| (s.timestamp, s.value as u64)).collect(),
            });
            Some(series.collect())
        }
        Protocol::V2 => {
            let request = prometheus_v2::Request::decode(&raw[..]).ok()?;
            let text = |at: u32| &*request.symbols[at as usize];
            let series = request.timeseries.iter().map(|series| Series {
                number: number(series.labels_refs.chunks(2).map(|at| (text(at[0]), text(at[1]))).collect()),
                samples: series.samples.iter().map(|s| (s.timestamp, s.value as u64)).collect(),
            });
            Some(series.collect())
        }
    }
}
