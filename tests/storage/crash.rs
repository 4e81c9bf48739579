//! What a power cut leaves, judged by promtool: the storage runs on a file system in memory that forgets what was not
//! made durable, is cut off at steps all over a workload, starts again, and is copied out.

use std::path::Path;
use std::sync::Arc;

use ringside_e2e::contents::{Contents, Labels};
use ringside_e2e::oracle;
use ringside_e2e::scratch::Scratch;
use ringside_tsdb::fs::faults::{Fault, FaultFs, Survives};
use ringside_tsdb::{Error, Options, Tsdb};

use crate::{label_bytes, labels};

const DIR: &str = "/data/tenant";
const MINUTE: i64 = 60_000;

fn open(fs: &FaultFs) -> Result<Tsdb, Error> {
    let options = Options {
        block_range_ms: 20 * MINUTE,
        wal_segment_bytes: 32 << 10,
        fs: Arc::new(fs.clone()),
        ..Options::default()
    };
    Tsdb::open(Path::new(DIR), options)
}

/// What was acknowledged, and what was sent at all.
#[derive(Default)]
struct Sent {
    acknowledged: Contents,
    all: Contents,
}

impl Sent {
    /// Appends one sample of each series.
    fn append(&mut self, tsdb: &Tsdb, series: &[Labels], minute: i64) -> Result<(), Error> {
        let mut appender = tsdb.appender()?;
        let mut sent = Contents::default();
        for (i, labels) in series.iter().enumerate() {
            let (t, v) = (minute * MINUTE, (minute * 31 + i as i64) as f64 / 7.0);
            let id = appender.series(&label_bytes(labels)).unwrap();
            appender.float(id, t, v).unwrap();
            sent.add(labels, t, v).unwrap();
        }
        self.all.merge(&sent).unwrap();
        appender.commit().wait()?;
        self.acknowledged.merge(&sent).unwrap();
        Ok(())
    }

    /// Appends, cuts blocks and starts again, until it is done or the power goes.
    fn work(&mut self, fs: &FaultFs) -> Result<(), Error> {
        let series: Vec<_> = (0..20).map(|i| labels("crash", i)).collect();
        let mut tsdb = open(fs)?;
        for minute in 0..90 {
            self.append(&tsdb, &series, minute)?;
            while tsdb.due() {
                tsdb.cut_block()?;
            }
            if minute % 31 == 30 {
                tsdb = open(fs)?;
            }
        }
        tsdb.close()
    }
}

#[test]
fn promtool_finds_what_was_acknowledged_after_a_power_cut() {
    let scratch = Scratch::new("power-cut").unwrap();
    let fs = FaultFs::default();
    Sent::default().work(&fs).unwrap();
    let steps = fs.steps().len() as u64;
    for point in 0..12 {
        let fs = FaultFs::default();
        fs.plan(steps * (2 * point + 1) / 24, Fault::Crash);
        let mut sent = Sent::default();
        assert!(sent.work(&fs).is_err());
        let survives = if point % 2 == 0 { Survives::Nothing } else { Survives::Some(point) };
        let after = fs.reboot(survives);
        drop(open(&after).unwrap());
        let dir = scratch.path().join(format!("after-{point}"));
        after.copy_to(Path::new(DIR), &dir).unwrap();
        let found = oracle::dump(&dir).unwrap();
        let whose = format!("cut off at {point}/12 of {steps} steps, {survives:?}");
        found.expect_at_least(&whose, &sent.acknowledged).unwrap();
        found.expect_at_most(&whose, &sent.all).unwrap();
    }
    scratch.passed();
}
