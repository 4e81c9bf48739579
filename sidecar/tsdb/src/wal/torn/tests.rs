//! Every byte of a newest segment is damaged once, and the segment is cut at every byte.

use std::io::Write;
use std::sync::Arc;

use super::*;
use crate::fs::faults::FaultFs;
use crate::{Options, Tsdb, TsdbReadOnly, WalSync, verify_wal};

const DIR: &str = "/data/tenant";
const SEGMENT: &str = "/data/tenant/wal/00000000";
/// Requests in the log, one second apart from this time on.
const REQUESTS: i64 = 5;
const START: i64 = 1_700_000_000_000;

fn options(fs: &FaultFs, wal_sync: WalSync) -> Options {
    Options { fs: Arc::new(fs.clone()), wal_sync, ..Options::default() }
}

/// A segment with some requests, none of which ended it.
fn segment(wal_sync: WalSync) -> Vec<u8> {
    let fs = FaultFs::default();
    let tsdb = Tsdb::open(Path::new(DIR), options(&fs, wal_sync)).unwrap();
    for request in 0..REQUESTS {
        let mut appender = tsdb.appender().unwrap();
        for name in [b"a", b"b"] {
            let series = appender.series(&[&[0x0a, 6, 0x0a, 1, b'n', 0x12, 1], &name[..]].concat()).unwrap();
            appender.float(series, START + request * 1000, request as f64 + 0.1).unwrap();
        }
        appender.commit().wait().unwrap();
    }
    (&fs as &dyn Fs).read(Path::new(SEGMENT)).unwrap()
}

/// A file system with that segment as the only one.
fn with(segment: &[u8]) -> FaultFs {
    let fs = FaultFs::default();
    let dynamic = &fs as &dyn Fs;
    dynamic.create_dir_durable(Path::new("/data/tenant/wal")).unwrap();
    let mut file = dynamic.create_durable(Path::new(SEGMENT)).unwrap();
    file.write_all(segment).unwrap();
    file.sync_all().unwrap();
    fs
}

/// Opens a directory with that segment; tells how many requests are there. An error leaves the segment as it was, and
/// so does looking at it without opening it.
fn requests(segment: &[u8]) -> Result<i64, Error> {
    let fs = with(segment);
    let mut faults = Vec::new();
    let summary = verify_wal(&fs, Path::new("/data/tenant/wal"), &mut |fault| faults.push(fault));
    let read = TsdbReadOnly::open(&fs, Path::new(DIR));
    let opened = Tsdb::open(Path::new(DIR), options(&fs, WalSync::Group));
    let left = (&fs as &dyn Fs).read(Path::new(SEGMENT)).unwrap();
    let copy = (&fs as &dyn Fs).read(Path::new("/data/tenant/wal/00000000.torn"));
    match opened {
        Err(error) => {
            assert_eq!(left, segment);
            assert!(copy.is_err() && read.is_err() && !faults.is_empty());
            Err(error)
        }
        Ok(tsdb) => {
            assert!(faults.is_empty() && read.is_ok(), "{faults:?}");
            let gone = &segment[left.len()..];
            assert_eq!(summary.torn.is_some(), tsdb.stats().wal_torn_bytes > 0);
            assert_eq!(tsdb.stats().wal_torn_bytes, gone.len() as u64);
            assert_eq!(copy.unwrap_or_default(), if gone.iter().any(|&b| b != 0) { gone } else { &[] });
            Ok(tsdb.stats().head_time_range.map_or(0, |(_, newest)| (newest - START) / 1000 + 1))
        }
    }
}

/// Where the sync marks begin.
fn marks(segment: &[u8]) -> Vec<usize> {
    let is_mark = |at: &usize| matches!(fragment(&segment[*at..]), Some((FULL, sum, SYNC_MARK)) if sum == crc(SYNC_MARK));
    (0..segment.len()).filter(is_mark).collect()
}

/// Where the type bytes of a segment's fragments are.
fn types(segment: &[u8]) -> Vec<usize> {
    let next = |at: &usize| fragment(&segment[*at..]).map(|(_, _, payload)| at + HEADER + payload.len());
    std::iter::successors(Some(0), next).collect()
}

#[test]
fn damage_in_front_of_what_was_acknowledged_is_refused() {
    let segment = segment(WalSync::Group);
    assert_eq!(requests(&segment).unwrap(), REQUESTS);
    let marks = marks(&segment);
    assert_eq!(marks.len() as i64, REQUESTS - 1, "none in front of the first request");
    let last = marks.last().copied().unwrap();
    let types = types(&segment);
    for at in 0..segment.len() {
        // A type byte without its snappy flag makes another record of the same bytes, and no checksum covers it.
        let undetectable = if types.contains(&at) { segment[at] & SNAPPY } else { 0 };
        for bit in (0..8).map(|bit| 1 << bit).filter(|bit| *bit != undetectable) {
            let mut damaged = segment.clone();
            damaged[at] ^= bit;
            match requests(&damaged) {
                Ok(found) => assert!(at >= last && found >= REQUESTS - 1, "byte {at}: {found} requests"),
                Err(Error::Corrupt { path, offset, what }) => {
                    assert!(at < last && offset as usize <= at, "byte {at}: {what} at {offset}");
                    assert_eq!(path, Path::new(SEGMENT));
                    let kept = what.rsplit("cutting the file to ").next().unwrap();
                    let kept = kept.split(' ').next().unwrap();
                    let kept: usize = kept.parse().unwrap_or_else(|_| panic!("{what}"));
                    // What the message proposes is what is then opened.
                    let begun = marks.iter().filter(|&&mark| mark <= kept).count() as i64;
                    assert_eq!(requests(&damaged[..kept]).unwrap(), begun, "byte {at}: {what}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn a_log_without_marks_is_repaired_as_prometheus_does() {
    let segment = segment(WalSync::None);
    assert!(marks(&segment).is_empty());
    let mut damaged = segment.clone();
    damaged[segment.len() / 2] ^= 1;
    assert!((1..REQUESTS).contains(&requests(&damaged).unwrap()));
}

#[test]
fn a_segment_that_ends_early_is_torn() {
    let segment = segment(WalSync::Group);
    let mut found = 0;
    for len in 0..segment.len() {
        let now = requests(&segment[..len]).unwrap();
        assert!((found..=found + 1).contains(&now));
        found = now;
        // As a file may be after a power cut.
        let zeros = [&segment[..len], &[0; 100][..]].concat();
        assert_eq!(requests(&zeros).unwrap(), now);
    }
    assert_eq!(found, REQUESTS - 1);
}

#[test]
fn damage_pages_before_a_mark_is_refused() {
    let mut segment = Vec::new();
    let mut framer = super::super::page::Framer::new(1 << 30);
    framer.frame(&[0x63; 40_000], 0, &mut segment);
    let torn = segment.len();
    framer.frame(&[0x63; 100_000], 0, &mut segment);
    assert!(!has_mark_from(&with(&segment), Path::new(SEGMENT), torn as u64).unwrap());
    framer.frame(SYNC_MARK, 0, &mut segment);
    framer.frame(&[0x63], 0, &mut segment);
    let filler = vec![0x63; PAGE - 2 * HEADER];
    let mut at_the_end_of_a_page = Vec::new();
    let mut other = super::super::page::Framer::new(1 << 30);
    [&filler[..], SYNC_MARK].iter().for_each(|record| other.frame(record, 0, &mut at_the_end_of_a_page));
    assert_eq!(at_the_end_of_a_page.len(), PAGE + HEADER + 1);
    assert!(requests(&[&[0x99], &at_the_end_of_a_page[1..]].concat()).is_err());
    for at in [1, 3, 7, 20_000, PAGE + 1, torn + 1, torn + 3] {
        let mut damaged = segment.clone();
        damaged[at] ^= 0x10;
        let refused = requests(&damaged).unwrap_err();
        assert!(matches!(refused, Error::Corrupt { offset, .. } if offset as usize <= at), "{at}: {refused}");
    }
    // A whole page is gone.
    segment[PAGE..2 * PAGE].fill(0xff);
    assert!(requests(&segment).is_err());
}
