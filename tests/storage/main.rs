//! The storage engine by itself, judged by promtool: what one tenant's directory holds after appends, crashes, cut
//! blocks, checkpoints and retention; and the command line that reads it. Topology: no process but promtool, save where
//! a file names more.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which the lint does not know for tests")]

mod blocks;
mod command_line;
mod crash;
mod durability;
mod order;

use std::path::PathBuf;

use ringside_e2e::contents::{Contents, Labels};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::{oracle, wire};
use ringside_tsdb::{Options, Refusal, Tsdb};

/// Block range, milliseconds.
const RANGE: i64 = 7_200_000;

/// A tenant's storage beside what it must hold.
struct Store {
    scratch: Scratch,
    dir: PathBuf,
    options: Options,
    tsdb: Tsdb,
    expected: Contents,
    dumps: usize,
}

impl Store {
    fn new(name: &str, options: Options) -> Self {
        let scratch = Scratch::new(name).unwrap();
        let dir = scratch.path().join("tenant");
        let tsdb = Tsdb::open(&dir, options.clone()).unwrap();
        Self { scratch, dir, options, tsdb, expected: Contents::default(), dumps: 0 }
    }

    /// Appends samples as one request and waits until they are durable; what is refused is not expected.
    fn append(&mut self, samples: &[(&Labels, i64, f64)]) -> Vec<Result<(), Refusal>> {
        let mut appender = self.tsdb.appender().unwrap();
        let results: Vec<_> = samples
            .iter()
            .map(|(labels, t, v)| {
                let series = appender.series(&label_bytes(labels))?;
                appender.float(series, *t, *v)
            })
            .collect();
        appender.commit().wait().unwrap();
        for ((labels, t, v), result) in samples.iter().zip(&results) {
            if result.is_ok() {
                self.expected.add(labels, *t, *v).unwrap();
            }
        }
        results
    }

    /// Appends one sample for each of `count` series every `step` ms in `[from, to)`, in requests of one time each.
    fn fill(&mut self, count: usize, from: i64, to: i64, step: i64) {
        let series: Vec<_> = (0..count).map(|i| labels("load", i)).collect();
        for t in (from..to).step_by(step as usize) {
            let samples: Vec<_> =
                series.iter().enumerate().map(|(i, l)| (l, t, (t / 1000) as f64 * (i + 1) as f64)).collect();
            assert!(self.append(&samples).iter().all(Result::is_ok));
        }
    }

    /// Opens the directory again without having closed it, as after a kill.
    fn crash(mut self) -> Self {
        self.tsdb = Tsdb::open(&self.dir, self.options.clone()).unwrap();
        self
    }

    /// Cuts every due block; returns how many.
    fn cut_all(&self) -> usize {
        let mut cut = 0;
        while self.tsdb.due() {
            cut += usize::from(self.tsdb.cut_block().unwrap().is_some());
        }
        cut
    }

    /// promtool's dump of a copy equals what is expected.
    fn check(&mut self, whose: &str) {
        self.dumps += 1;
        let copy = self.scratch.path().join(format!("copy-{}", self.dumps));
        oracle::dump_copy(&self.dir, &copy).unwrap().expect_equal(whose, &self.expected).unwrap();
    }
}

fn labels(name: &str, i: usize) -> Labels {
    [("__name__", name.to_owned()), ("i", i.to_string()), ("job", "storage".to_owned())]
        .map(|(n, v)| (n.to_owned(), v))
        .into()
}

/// The labels as a sender encodes them in a time series.
fn label_bytes(labels: &Labels) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in labels {
        wire::label(&mut bytes, name.as_bytes(), value.as_bytes());
    }
    bytes
}
