//! What survives: kills, torn tails, several segments, checkpoints; and what is refused instead of lost.

use std::io::Write;

use ringside_tsdb::{Error, Options, Tsdb};

use crate::{RANGE, Store, label_bytes, labels};

fn small_segments() -> Options {
    Options { wal_segment_bytes: 64 << 10, ..Options::default() }
}

fn newest_segment(store: &Store) -> std::path::PathBuf {
    let mut segments: Vec<_> =
        std::fs::read_dir(store.dir.join("wal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.file_name().unwrap().len() == 8);
    segments.sort();
    segments.pop().unwrap()
}

#[test]
fn acknowledged_samples_survive_kills() {
    let mut store = Store::new("kills", small_segments());
    for round in 0..6 {
        store.fill(40, round * 600_000, (round + 1) * 600_000, 15_000);
        store = store.crash();
        store.check(&format!("after kill {round}"));
    }
    store.scratch.passed();
}

#[test]
fn a_torn_tail_is_cut_off_and_nothing_acknowledged_with_it() {
    for (name, tail) in [
        ("torn-header", vec![1u8, 0]),
        ("torn-payload", vec![1, 0, 200, 9, 9, 9, 9, 1, 2, 3]),
        ("torn-first", [vec![2, 0, 4], 0x2e_b5_ab_9bu32.to_be_bytes().to_vec(), vec![0; 4]].concat()),
        ("garbage", vec![0xff; 70_000]),
    ] {
        let mut store = Store::new(name, Options::default());
        store.fill(10, 0, 300_000, 15_000);
        let mut segment = std::fs::OpenOptions::new().append(true).open(newest_segment(&store)).unwrap();
        segment.write_all(&tail).unwrap();
        let cut = newest_segment(&store).with_extension("torn");
        let mut store = store.crash();
        // A header of zeros but for its kind is an empty record.
        if store.tsdb.stats().wal_torn_bytes > 0 {
            assert_eq!(std::fs::read(cut).unwrap(), tail, "what was cut off is kept");
        } else {
            assert_eq!(name, "torn-header");
        }
        store.fill(10, 300_000, 600_000, 15_000);
        store.check(name);
        let mut store = store.crash();
        store.check(name);
        store.scratch.passed();
    }
}

#[test]
fn damage_before_the_newest_segment_is_refused_with_file_and_offset() {
    let mut store = Store::new("damage", Options::default());
    store.fill(10, 0, 300_000, 15_000);
    let damaged = newest_segment(&store);
    let mut store = store.crash();
    store.fill(10, 300_000, 600_000, 15_000);
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    match Tsdb::open(&store.dir, store.options.clone()) {
        Err(Error::Corrupt { path, offset, .. }) => {
            assert_eq!(path, damaged);
            assert!(offset < 1000, "{offset}");
        }
        other => panic!("opened: {other:?}"),
    }
    std::fs::remove_file(&damaged).unwrap();
    let error = Tsdb::open(&store.dir, store.options.clone()).unwrap_err();
    assert!(error.to_string().contains("the segment is missing"), "{error}");
    store.scratch.passed();
}

#[test]
fn checkpoints_keep_what_the_head_needs_and_bound_the_log() {
    let mut store = Store::new("checkpoint", small_segments());
    let hour = 3_600_000;
    let mut cut = 0;
    for round in 0..24 {
        store.fill(30, round * hour, (round + 1) * hour, 15_000);
        // A series that comes and goes, so that references leave the head and come back under others.
        if round % 6 < 2 {
            let gone = labels("churn", (round % 2) as usize);
            assert!(store.append(&[(&gone, (round + 1) * hour - 1, round as f64)])[0].is_ok());
        }
        cut += store.cut_all();
        if round % 5 == 4 {
            store = store.crash();
        }
    }
    assert!(cut >= 10, "{cut} blocks");
    let names: Vec<_> = std::fs::read_dir(store.dir.join("wal"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("checkpoint.")).count(), 1, "{names:?}");
    assert!(!names.contains(&"00000000".to_owned()), "{names:?}");
    store.check("after checkpoints");
    let mut store = store.crash();
    assert_eq!(store.tsdb.stats().wal_unknown_refs, 0);
    store.fill(30, 24 * hour, 25 * hour, 15_000);
    store.check("after checkpoints and a kill");
    store.scratch.passed();
}

#[test]
fn many_threads_share_syncs_and_lose_nothing() {
    let mut store = Store::new("threads", small_segments());
    let tsdb = &store.tsdb;
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                let series = label_bytes(&labels("thread", thread));
                for i in 0..200 {
                    let mut appender = tsdb.appender().unwrap();
                    let id = appender.series(&series).unwrap();
                    appender.float(id, i * 1000, i as f64).unwrap();
                    appender.commit().wait().unwrap();
                }
            });
        }
    });
    for thread in 0..8 {
        for i in 0..200 {
            store.expected.add(&labels("thread", thread), i * 1000, i as f64).unwrap();
        }
    }
    let mut store = store.crash();
    store.check("all threads");
    store.scratch.passed();
}

#[test]
fn appends_go_on_while_blocks_are_cut() {
    const THREADS: usize = 4;
    const STEPS: i64 = 1500;
    let mut store = Store::new("cut-beside", small_segments());
    let tsdb = &store.tsdb;
    let done = std::sync::atomic::AtomicUsize::new(0);
    let cut = std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let done = &done;
            scope.spawn(move || {
                let series: Vec<_> =
                    (0..20).map(|i| label_bytes(&labels(&format!("t{thread}"), i))).collect();
                for step in 0..STEPS {
                    let mut appender = tsdb.appender().unwrap();
                    for bytes in &series {
                        let id = appender.series(bytes).unwrap();
                        appender.float(id, step * 60_000, step as f64).unwrap();
                    }
                    appender.commit().wait().unwrap();
                    // Nobody runs ahead so far that the others' samples would be out of bounds.
                    done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    while (done.load(std::sync::atomic::Ordering::SeqCst) as i64) < step * THREADS as i64 {
                        std::thread::yield_now();
                    }
                }
            });
        }
        let mut cut = 0;
        while done.load(std::sync::atomic::Ordering::SeqCst) < THREADS * STEPS as usize {
            cut += usize::from(tsdb.cut_block().unwrap().is_some());
        }
        cut
    });
    assert!(cut >= 8, "{cut} blocks");
    for thread in 0..THREADS {
        for i in 0..20 {
            for step in 0..STEPS {
                store.expected.add(&labels(&format!("t{thread}"), i), step * 60_000, step as f64).unwrap();
            }
        }
    }
    store.check("while blocks were cut");
    let mut store = store.crash();
    store.check("while blocks were cut, and a kill");
    store.scratch.passed();
}

#[test]
fn a_checkpoint_beside_the_segments_it_replaced_counts_once() {
    let mut store = Store::new("checkpoint-kill", small_segments());
    store.fill(40, 0, 3 * 3_600_000, 5_000);
    let before = store.scratch.path().join("wal-before");
    ringside_e2e::oracle::copy_tree(&store.dir.join("wal"), &before).unwrap();
    store.fill(40, 3 * 3_600_000, 3 * 3_600_000 + 60_000, 5_000);
    assert_eq!(store.cut_all(), 1);
    // As if the kill came before the replaced segments were removed.
    for entry in std::fs::read_dir(&before).unwrap() {
        let entry = entry.unwrap();
        let back = store.dir.join("wal").join(entry.file_name());
        if !back.exists() {
            std::fs::copy(entry.path(), back).unwrap();
        }
    }
    let mut store = store.crash();
    assert_eq!(store.tsdb.stats().wal_unknown_refs, 0);
    store.check("with replaced segments");
    store.scratch.passed();
}

#[test]
fn a_closed_store_takes_nothing_and_opens_again() {
    let mut store = Store::new("closed", Options::default());
    store.fill(5, 0, RANGE / 10, 15_000);
    store.tsdb.close().unwrap();
    assert!(matches!(store.tsdb.appender().map(drop), Err(Error::Closed)));
    assert_eq!(std::fs::metadata(newest_segment(&store)).unwrap().len() % 32_768, 0);
    let mut store = store.crash();
    store.check("reopened");
    store.scratch.passed();
}

#[test]
fn a_log_that_cannot_be_written_stops_acknowledging() {
    let mut store = Store::new("poisoned", small_segments());
    store.fill(5, 0, 60_000, 15_000);
    // The next segment cannot be created where a directory has its name.
    let next: u64 = newest_segment(&store).file_name().unwrap().to_str().unwrap().parse::<u64>().unwrap() + 1;
    std::fs::create_dir(store.dir.join("wal").join(format!("{next:08}"))).unwrap();
    let all: Vec<_> = (0..50).map(|i| labels("load", i)).collect();
    let error = (0..2000).find_map(|i| {
        let (t, v) = (60_000 + i * 1000, (i * 7919 % 1013) as f64 / 7.0);
        let mut appender = store.tsdb.appender().unwrap();
        for series in &all {
            let id = appender.series(&label_bytes(series)).unwrap();
            appender.float(id, t, v).unwrap();
        }
        let error = appender.commit().wait().err();
        if error.is_none() {
            all.iter().for_each(|series| store.expected.add(series, t, v).unwrap());
        }
        error
    });
    assert!(error.unwrap().to_string().starts_with("create "));
    assert!(matches!(store.tsdb.appender().map(drop), Err(Error::Poisoned(_))));
    assert!(store.tsdb.stats().poisoned);
    std::fs::remove_dir(store.dir.join("wal").join(format!("{next:08}"))).unwrap();
    let mut store = store.crash();
    store.check("opened again: what was acknowledged, and no more");
    store.fill(50, 3_000_000, 3_060_000, 15_000);
    store.check("it takes writes again");
    store.scratch.passed();
}
