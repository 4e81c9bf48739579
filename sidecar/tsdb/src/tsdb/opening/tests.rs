//! Logs that are longer than a running storage lets them become.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::encoding::put_string;
use crate::fs::Fs;
use crate::fs::faults::{FaultFs, Survives};
use crate::tsdb::crash_tests::contents;
use crate::{Options, Tsdb, layout};

const DIR: &str = "/data/tenant";
const RANGE: i64 = 1000;
const STEP: i64 = 20;

fn options(fs: &FaultFs) -> Options {
    Options {
        block_range_ms: RANGE,
        wal_segment_bytes: 1,
        out_of_order_window_ms: RANGE / 4,
        exemplars_max: 10,
        fs: Arc::new(fs.clone()),
        ..Options::default()
    }
}

fn open(fs: &FaultFs) -> Tsdb {
    Tsdb::open(Path::new(DIR), options(fs)).unwrap()
}

fn labels(name: &str) -> Vec<u8> {
    let mut label = vec![0x0a];
    put_string(&mut label, b"__name__");
    label.push(0x12);
    put_string(&mut label, name.as_bytes());
    let mut field = vec![0x0a];
    put_string(&mut field, &label);
    field
}

/// Twenty ranges with nobody to cut them: series that stay, series that come and go, and samples out of order.
fn write(tsdb: &Tsdb) -> BTreeMap<(String, i64), u64> {
    let mut stored = BTreeMap::new();
    for step in 0..20 * RANGE / STEP {
        let t = step * STEP;
        let mut samples: Vec<_> =
            (0..20).map(|i| (format!("s{i}"), t, ((step * 20 + i) as f64).sqrt())).collect();
        samples.push((format!("gone{}", step / 90), t, 1.0));
        if step % 3 == 2 {
            samples.push(("s0".to_owned(), t - 170, -1.0));
        }
        let mut appender = tsdb.appender().unwrap();
        for (name, t, v) in samples {
            let series = appender.series(&labels(&name)).unwrap();
            appender.float(series, t, v).unwrap();
            if name == "s1" {
                appender.exemplar(series, t, v, &[(b"trace", b"1")]).unwrap();
                appender.metadata(series, 2, b"", format!("as of {}", step / 30).as_bytes());
            }
            stored.insert((name, t), v.to_bits());
        }
        appender.commit().wait().unwrap();
    }
    stored
}

#[test]
fn a_long_log_is_cut_while_it_is_replayed() {
    let fs = FaultFs::default();
    let tsdb = open(&fs);
    let stored = write(&tsdb);
    let segments = tsdb.stats().wal_segment;
    assert!(segments > 6 && tsdb.blocks().is_empty(), "{segments} segments");
    let exemplars = tsdb.exemplars().unwrap();
    drop(tsdb);

    let fs = fs.reboot(Survives::Nothing);
    let tsdb = open(&fs);
    let stats = tsdb.stats();
    assert!(tsdb.blocks().len() > 10 && stats.chunks_mapped > 20, "{stats:?}");
    assert!(tsdb.blocks().iter().all(|block| block.is_in_order()));
    assert_eq!(contents::read(&tsdb, false, "cut"), stored);
    assert_eq!(tsdb.exemplars().unwrap(), exemplars);
    assert!(tsdb.log_truncation_due());
    tsdb.truncate_logs().unwrap();
    assert_eq!(tsdb.stats().checkpoints, 1);
    drop(tsdb);

    // The checkpoint has what the blocks have not got.
    let tsdb = open(&fs.reboot(Survives::Nothing));
    assert_eq!(contents::read(&tsdb, false, "truncated"), stored);
    assert_eq!(tsdb.exemplars().unwrap(), exemplars);
    let metadata = tsdb.metadata().unwrap();
    assert_eq!(metadata.iter().map(|m| &m.help[..]).collect::<Vec<_>>(), [b"as of 33"]);
    assert_eq!(tsdb.stats().wal_unknown_refs, 0);
}

/// A reference that only the write-behind log has must not become that of another series.
#[test]
fn samples_whose_series_is_lost_go_to_no_other() {
    let fs = FaultFs::default();
    let tsdb = open(&fs);
    let append = |tsdb: &Tsdb, name: &str, t: i64| {
        let mut appender = tsdb.appender().unwrap();
        let series = appender.series(&labels(name)).unwrap();
        appender.float(series, t, 1.0).unwrap();
        appender.commit().wait().unwrap();
    };
    append(&tsdb, "lost", 100);
    append(&tsdb, "lost", 50);
    drop(tsdb);
    for (_, segment) in layout::segments(&fs, &Path::new(DIR).join(layout::WAL)).unwrap() {
        fs.remove_file(&segment).unwrap();
    }
    append(&open(&fs), "other", 100);
    let tsdb = open(&fs);
    let stored = contents::read(&tsdb, false, "without the series");
    assert_eq!(stored.keys().collect::<Vec<_>>(), [&("other".to_owned(), 100)]);
    assert_eq!(tsdb.stats().wal_unknown_refs, 1);
}

#[test]
fn a_block_that_cannot_be_cut_is_left_for_later() {
    use crate::fs::faults::Fault;

    let fs = FaultFs::default();
    let stored = write(&open(&fs));
    // Each step of a start fails once; where that is no error, everything is there.
    let fresh = fs.reboot(Survives::Nothing);
    fresh.plan(u64::MAX, Fault::Error);
    drop(open(&fresh));
    let steps = fresh.steps();
    let mut passed = 0;
    for at in (0..steps.len() as u64).step_by(17) {
        let fs = fs.reboot(Survives::Nothing);
        fs.plan(at, Fault::NoSpace);
        let opened = Tsdb::open(Path::new(DIR), options(&fs));
        fs.unplan();
        passed += usize::from(opened.is_ok());
        let tsdb = opened.unwrap_or_else(|_| open(&fs));
        while tsdb.due() {
            tsdb.cut_block().unwrap();
        }
        assert_eq!(contents::read(&tsdb, false, &format!("no space at step {at}")), stored);
    }
    assert!(passed > steps.len() / 17 / 4, "{passed} of {}", steps.len());
}
