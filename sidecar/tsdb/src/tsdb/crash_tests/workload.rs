//! The workload, and what may be found after it was interrupted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::contents::{self, Contents};
use crate::encoding::{put_string, put_uvarint};
use crate::fs::faults::{Fault, FaultFs, Survives};
use crate::histogram::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Histogram, Span};
use crate::sample::Value;
use crate::{Error, Options, Tsdb, layout};

const DIR: &str = "/data/tenant";
const RANGE: i64 = 1000;
const RETENTION: i64 = 3 * RANGE;
/// Steps in which nothing is cut, nor truncated.
const UNATTENDED: std::ops::Range<i64> = 12..45;

/// What happened; a workload in which something never happens proves nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) blocks: usize,
    pub(super) checkpoints: usize,
    pub(super) expired: usize,
    pub(super) full_segments: usize,
    pub(super) refused: usize,
    pub(super) out_of_order: u64,
    pub(super) late_blocks: usize,
    /// Blocks cut, and chunks written to files, while the logs were replayed.
    pub(super) cut_at_start: usize,
    pub(super) mapped_at_start: u64,
    pub(super) errors: usize,
}

/// The window for samples out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Window {
    /// A quarter of a range: every block has all of its range.
    Narrow,
    /// Ten ranges: late samples get blocks of their own, and after a crash may get them twice.
    Wide,
}

/// A workload that was run up to a fault.
#[derive(Debug, Clone)]
pub(super) struct Run {
    fs: FaultFs,
    window: Window,
    /// Names of the steps, if none was made to fail.
    pub(super) steps: Vec<&'static str>,
    pub(super) seen: Seen,
    /// The newest checkpoint.
    checkpoint: Option<u64>,
    acknowledged: Contents,
    /// Written, but the answer was an error: may be there or not.
    unsure: BTreeMap<(String, i64), BTreeSet<u64>>,
}

impl Run {
    /// Runs the workload on an empty file system.
    pub(super) fn with(window: Window, fault: Option<(u64, Fault)>) -> Self {
        let fs = FaultFs::default();
        fs.plan(fault.map_or(u64::MAX, |(at, _)| at), fault.map_or(Fault::Error, |(_, fault)| fault));
        let mut run = Self {
            fs: fs.clone(),
            window,
            steps: Vec::new(),
            seen: Seen::default(),
            checkpoint: None,
            acknowledged: Contents::new(),
            unsure: BTreeMap::new(),
        };
        run.work();
        run.steps = fs.steps();
        run
    }

    fn options(&self) -> Options {
        Options {
            block_range_ms: RANGE,
            // The least: one page.
            wal_segment_bytes: 1,
            retention_ms: RETENTION,
            out_of_order_window_ms: match self.window {
                Window::Narrow => RANGE / 4,
                Window::Wide => 10 * RANGE,
            },
            fs: Arc::new(self.fs.clone()),
            ..Options::default()
        }
    }

    /// Opens; after an error that passes, again.
    fn open(&mut self) -> Option<Tsdb> {
        for _ in 0..3 {
            match Tsdb::open(Path::new(DIR), self.options()) {
                Ok(tsdb) => return Some(tsdb),
                Err(_) if self.fs.crashed() => return None,
                Err(Error::Io { .. }) => self.seen.errors += 1,
                Err(e) => panic!("{e}"),
            }
        }
        panic!("it does not open after an error that passed");
    }

    fn work(&mut self) {
        let Some(mut tsdb) = self.open() else { return };
        for step in 0..70i64 {
            if self.append(&tsdb, step).is_err() {
                self.seen.errors += 1;
                // What the sidecar does with a log that failed.
                let Some(again) = self.open() else { return };
                tsdb = again;
            }
            // A while without maintenance leaves a log that is cut when it is replayed.
            if step % 5 == 4 && !UNATTENDED.contains(&step) && self.maintain(&tsdb).is_err() {
                self.seen.errors += 1;
            }
            if step % 23 == 22 {
                self.seen.errors += usize::from(step == 45 && tsdb.close().is_err());
                let blocks = tsdb.blocks().len();
                let Some(again) = self.open() else { return };
                tsdb = again;
                self.seen.cut_at_start += tsdb.blocks().len().saturating_sub(blocks);
                self.seen.mapped_at_start += tsdb.stats().chunks_mapped;
            }
            if self.fs.crashed() {
                return;
            }
        }
        self.seen.errors += usize::from(tsdb.close().is_err());
    }

    /// One request: a few series at one time, one that comes and goes, and things to refuse.
    fn append(&mut self, tsdb: &Tsdb, step: i64) -> Result<(), Error> {
        let t = step * 100 + 7;
        let mut samples: Vec<_> = (0..3).map(|i| (format!("s{i}"), t, (step * 10 + i) as f64)).collect();
        samples.push((format!("gone{}", step / 4 % 5), t, step as f64));
        if step % 3 == 0 {
            samples.push(("s0".to_owned(), t, -1.0));
            // Too old, or late.
            samples.push(("s1".to_owned(), t - 2 * RANGE + 1, -1.0));
        }
        if step % 2 == 0 {
            samples.push(("s2".to_owned(), t - 150, -2.0));
        }
        if step % 4 == 0 {
            samples.push((format!("long{step}"), t, 1.0));
        }
        let segment = tsdb.stats().wal_segment;
        let mut appender = tsdb.appender()?;
        let mut stored = Vec::new();
        for (name, t, v) in samples {
            let taken = appender.series(&labels(&name, step)).and_then(|series| appender.float(series, t, v));
            match taken {
                Ok(()) => stored.push((name, t, v.to_bits())),
                Err(_) => self.seen.refused += 1,
            }
        }
        // Every kind of histogram in one series, two of them in one request.
        for (t, value) in [(t, histogram(step)), (t + 1, histogram(step + 1))] {
            let bits = contents::bits(&value);
            let taken = appender.series(&labels("h", step)).and_then(|series| match value {
                Value::Histogram(h) => appender.histogram(series, t, h),
                Value::FloatHistogram(h) => appender.float_histogram(series, t, h),
                Value::Float(v) => appender.float(series, t, v),
            });
            taken.unwrap();
            stored.push(("h".to_owned(), t, bits));
        }
        let result = appender.commit().wait();
        self.seen.full_segments += (tsdb.stats().wal_segment - segment) as usize;
        for (name, t, bits) in stored {
            match result {
                Ok(()) => drop(self.acknowledged.insert((name, t), bits)),
                Err(_) => drop(self.unsure.entry((name, t)).or_default().insert(bits)),
            }
        }
        result
    }

    fn maintain(&mut self, tsdb: &Tsdb) -> Result<(), Error> {
        tsdb.map_chunks()?;
        if tsdb.log_truncation_due() {
            tsdb.truncate_logs()?;
        }
        while tsdb.due() {
            self.seen.blocks += usize::from(tsdb.cut_block()?.is_some());
        }
        let checkpoints =
            layout::checkpoints(&self.fs, &Path::new(DIR).join(layout::WAL)).unwrap_or_default();
        if let Some((index, _)) = checkpoints.last() {
            self.seen.checkpoints += usize::from(self.checkpoint.replace(*index) != Some(*index));
        }
        self.seen.out_of_order = self.seen.out_of_order.max(tsdb.stats().counters.out_of_order_appended);
        self.seen.late_blocks += tsdb.blocks().iter().filter(|block| !block.is_in_order()).count();
        self.seen.expired += tsdb.apply_retention(&|_| true)?.len();
        Ok(())
    }

    /// The same after the machine started again.
    pub(super) fn reboot(&self, survives: Survives) -> Self {
        Self { fs: self.fs.reboot(survives), ..self.clone() }
    }

    /// Opens what is there and judges it, twice.
    pub(super) fn check(&self, case: &str) {
        let found = self.found(case);
        // The first start acknowledges a repetition of what it found, so all of it must be durable.
        let again = self.reboot(Survives::Nothing);
        let again = again.found(case);
        let lost = found.iter().find(|(sample, _)| !again.contains_key(sample));
        let new = again.iter().find(|(sample, _)| !found.contains_key(sample));
        assert_eq!((lost, new), (None, None), "the second start finds something else: {case}");
    }

    fn found(&self, case: &str) -> Contents {
        let tsdb = Tsdb::open(Path::new(DIR), self.options()).unwrap_or_else(|e| panic!("{e}: {case}"));
        assert_eq!(tsdb.stats().bad_blocks, 0, "{case}");
        let found = contents::read(&tsdb, self.window == Window::Wide, case);
        let newest = tsdb.blocks().iter().map(|block| block.max_time).max().unwrap_or(0);
        for (sample, bits) in &self.acknowledged {
            let (name, t) = sample;
            match found.get(sample) {
                Some(there) => assert_eq!(there, bits, "{name} at {t}: {case}"),
                None => assert!(*t < newest - RETENTION, "{name} at {t} is lost: {case}"),
            }
        }
        for (sample, bits) in &found {
            let known = self.acknowledged.get(sample) == Some(bits)
                || self.unsure.get(sample).is_some_and(|tried| tried.contains(bits));
            assert!(
                known,
                "{} at {} was never stored: {case}",
                &sample.0[..sample.0.len().min(20)],
                sample.1
            );
        }
        found
    }
}

fn labels(name: &str, step: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut add = |name: &str, value: &str| {
        let mut label = vec![0x0a];
        put_string(&mut label, name.as_bytes());
        label.push(0x12);
        put_string(&mut label, value.as_bytes());
        out.push(0x0a);
        put_uvarint(&mut out, label.len() as u64);
        out.append(&mut label);
    };
    add("a", name);
    if name.starts_with("long") {
        // Enough that does not shrink to fill pages and segments.
        add("b", &noise(6_000 * (1 + step as usize % 3), step as u64));
    }
    out
}

/// Text that snappy shrinks little.
fn noise(len: usize, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letters = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b' ' + (state % 64) as u8)
    });
    letters.take(len).collect()
}

/// Exponential, custom and float histograms in turn, and now and then a stale marker.
fn histogram(n: i64) -> Value {
    let spans = vec![Span { offset: 0, length: 1 }];
    let sum = n as f64;
    let custom = |h: Histogram| Histogram { schema: CUSTOM_BUCKETS_SCHEMA, custom_values: vec![1.0], ..h };
    let whole = Histogram {
        sum,
        count: 3,
        positive_spans: spans.clone(),
        positive_buckets: vec![3],
        ..Histogram::default()
    };
    match n % 7 {
        0 | 1 | 4 => Value::Histogram(whole),
        2 | 3 => Value::Histogram(custom(whole)),
        5 => Value::FloatHistogram(FloatHistogram {
            sum,
            count: 3.0,
            positive_spans: spans,
            positive_buckets: vec![3.0],
            ..FloatHistogram::default()
        }),
        _ => Value::Histogram(Histogram::stale()),
    }
}
