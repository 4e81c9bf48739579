//! Load that is ready to send: every request of a scenario, compressed, before anything is measured.
//!
//! The bytes are made once and go to each system, so all of them get the same, and while a system is measured the
//! generator only moves bytes from memory into a socket. Each target is encoded once; for each scrape its values and
//! timestamps, which have a fixed width, are written over the old ones.

use std::time::Duration;

use anyhow::{Context, Result};
use ringside_e2e::{process, wire};

use crate::cores;
use crate::series::{SERIES_PER_TARGET, labels_of_target, value};

/// Series in one request.
pub(crate) const SERIES_PER_REQUEST: usize = 2_000;
const TARGETS_PER_REQUEST: u64 = (SERIES_PER_REQUEST / SERIES_PER_TARGET) as u64;

/// What to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Active series; a multiple of [`SERIES_PER_REQUEST`].
    pub(crate) series: usize,
    pub(crate) scrapes: usize,
    pub(crate) interval_ms: i64,
    /// The first timestamp, milliseconds.
    pub(crate) start: i64,
    /// How targets are replaced, if they are.
    pub(crate) churn: Option<Churn>,
}

/// Replaces one in `share` targets in each minute of data time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Churn {
    pub(crate) share: u64,
    /// The scrape whose minute is the first.
    pub(crate) from: usize,
}

impl Plan {
    /// Samples in the given number of scrapes.
    pub(crate) fn samples(&self, scrapes: usize) -> f64 {
        (self.series * scrapes) as f64
    }

    /// Series that ended before the last scrape.
    pub(crate) fn churned(&self) -> u64 {
        let targets = (self.series / SERIES_PER_TARGET) as u64;
        (0..targets).map(|target| self.life(target, self.scrapes - 1) * SERIES_PER_TARGET as u64).sum()
    }

    /// How often a target was replaced by the given scrape.
    fn life(&self, target: u64, scrape: usize) -> u64 {
        let Some(churn) = self.churn.filter(|churn| scrape >= churn.from) else { return 0 };
        let minute = (scrape - churn.from) as u64 * self.interval_ms.unsigned_abs() / 60_000;
        // Minute m replaces the targets whose number is m modulo the share.
        (minute + churn.share - target % churn.share) / churn.share
    }
}

/// A plan as requests.
pub(crate) struct Load {
    pub(crate) plan: Plan,
    /// By place in the scrape, then by scrape. A request's place always has the same targets.
    requests: Vec<Vec<Box<[u8]>>>,
    /// What it took to make one request, CPU time.
    pub(crate) cost: Duration,
    /// Decoded bytes of a request.
    request_bytes: usize,
}

impl Load {
    /// Makes all requests, with one thread for each core.
    pub(crate) fn prepare(plan: Plan) -> Result<Self> {
        let (places, threads) = (plan.series / SERIES_PER_REQUEST, cores::COUNT);
        let cpu = process::cpu_time("self")?;
        let made: Vec<Result<Vec<_>>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|thread| {
                    let places = (thread..places).step_by(threads);
                    scope.spawn(move || {
                        cores::unpin()?;
                        places.map(|place| Ok((place, requests_of_place(&plan, place)?))).collect()
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().ok().context("a worker panicked")?).collect()
        });
        let spent = process::cpu_time("self")? - cpu;
        let mut made = made.into_iter().collect::<Result<Vec<_>>>()?.concat();
        made.sort_by_key(|(place, _)| *place);
        let requests: Vec<_> = made.into_iter().map(|(_, requests)| requests).collect();
        let count = u32::try_from(places * plan.scrapes)?;
        let first = requests.first().and_then(|place| place.first()).context("an empty plan")?;
        let request_bytes = snap::raw::decompress_len(first)?;
        Ok(Self { plan, requests, cost: spent / count, request_bytes })
    }

    /// Requests in one scrape.
    pub(crate) fn places(&self) -> usize {
        self.requests.len()
    }

    /// The body of one request.
    pub(crate) fn body(&self, place: usize, scrape: usize) -> &[u8] {
        &self.requests[place][scrape]
    }

    /// Bytes of a series with its sample, decoded and, on average, compressed.
    pub(crate) fn bytes_per_series(&self) -> (usize, usize) {
        (self.request_bytes / SERIES_PER_REQUEST, self.bytes() / self.plan.series / self.plan.scrapes)
    }

    /// Bytes of all bodies.
    pub(crate) fn bytes(&self) -> usize {
        self.requests.iter().flatten().map(|body| body.len()).sum()
    }
}

fn requests_of_place(plan: &Plan, place: usize) -> Result<Vec<Box<[u8]>>> {
    let first = place as u64 * TARGETS_PER_REQUEST;
    let mut targets: Vec<Target> =
        (first..first + TARGETS_PER_REQUEST).map(|number| Target::new(number, 0, plan.start)).collect();
    let (mut encoder, mut request, mut compressed) = (snap::raw::Encoder::new(), Vec::new(), Vec::new());
    (0..plan.scrapes)
        .map(|scrape| {
            let passed = i64::try_from(scrape)? * plan.interval_ms;
            request.clear();
            for target in &mut targets {
                let life = plan.life(target.number, scrape);
                if life != target.life {
                    *target = Target::new(target.number, life, plan.start);
                }
                target.write_samples(scrape as u64, plan.start + passed);
                request.extend_from_slice(&target.bytes);
            }
            compressed.resize(snap::raw::max_compress_len(request.len()), 0);
            let length = encoder.compress(&request, &mut compressed)?;
            Ok(compressed[..length].into())
        })
        .collect()
}

/// The encoded series of one target, with one sample each.
struct Target {
    number: u64,
    life: u64,
    bytes: Vec<u8>,
    /// Where each series' value begins. The field tag and the timestamp follow it.
    values: Vec<usize>,
}

/// Bytes of a timestamp between 1971 and 2109.
const TIMESTAMP_BYTES: usize = 6;
const VALUE_BYTES: usize = 8;

impl Target {
    fn new(number: u64, life: u64, timestamp: i64) -> Self {
        let (mut bytes, mut values, mut series) = (Vec::new(), Vec::new(), Vec::new());
        for labels in labels_of_target(number, life) {
            series.clear();
            series.extend_from_slice(&labels);
            wire::sample(&mut series, timestamp, 0.0);
            wire::bytes_field(&mut bytes, 1, &series);
            values.push(bytes.len() - TIMESTAMP_BYTES - 1 - VALUE_BYTES);
        }
        Self { number, life, bytes, values }
    }

    fn write_samples(&mut self, step: u64, timestamp: i64) {
        let mut varint = Vec::with_capacity(TIMESTAMP_BYTES);
        wire::varint(&mut varint, timestamp.cast_unsigned());
        for (index, at) in self.values.iter().enumerate() {
            let value = value(self.number, index, step);
            let after = at + VALUE_BYTES;
            self.bytes[*at..after].copy_from_slice(&value.to_le_bytes());
            self.bytes[after + 1..after + 1 + TIMESTAMP_BYTES].copy_from_slice(&varint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        series: 2 * SERIES_PER_REQUEST,
        scrapes: 9,
        interval_ms: 30_000,
        start: 1_700_000_000_000,
        churn: Some(Churn { share: 5, from: 2 }),
    };

    #[test]
    fn every_request_is_what_an_encoder_would_write() {
        let load = Load::prepare(PLAN).unwrap();
        for (place, scrape) in [(0, 0), (1, 3), (1, 8)] {
            let (mut expected, mut series) = (Vec::new(), Vec::new());
            let first = place as u64 * TARGETS_PER_REQUEST;
            for target in first..first + TARGETS_PER_REQUEST {
                let life = PLAN.life(target, scrape);
                for (index, labels) in labels_of_target(target, life).iter().enumerate() {
                    series.clone_from(labels);
                    let t = PLAN.start + scrape as i64 * PLAN.interval_ms;
                    wire::sample(&mut series, t, value(target, index, scrape as u64));
                    wire::bytes_field(&mut expected, 1, &series);
                }
            }
            let body = snap::raw::Decoder::new().decompress_vec(load.body(place, scrape)).unwrap();
            assert!(body == expected, "place {place}, scrape {scrape}");
        }
    }

    #[test]
    fn each_minute_replaces_its_share_of_the_targets() {
        // Two scrapes a minute; the last one, number 8, is in the fourth minute of the churn.
        let lives: Vec<u64> = (0..10).map(|target| PLAN.life(target, 8)).collect();
        assert_eq!(lives, [1, 1, 1, 1, 0, 1, 1, 1, 1, 0]);
        assert_eq!(PLAN.life(0, 1), 0);
        assert_eq!(PLAN.churned(), 4 * PLAN.series as u64 / 5);
    }
}
