//! Framing, rotation and reading, in every alignment to pages and segments.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::page::{Framer, PAGE, ZSTD};
use super::reader::SegmentReader;
use super::segment::SegmentWriter;
use crate::error::Error;
use crate::fs::{Fs, RealFs};
use crate::layout;

fn write(dir: &Path, segment_bytes: u64, records: &[Vec<u8>]) -> u64 {
    let real: Arc<dyn Fs> = Arc::new(RealFs);
    let mut writer = SegmentWriter::create(&real, dir, 0, segment_bytes).unwrap();
    for record in records {
        writer.write(record).unwrap();
    }
    writer.sync().unwrap();
    writer.index()
}

fn read(path: &Path) -> (Vec<Vec<u8>>, Option<Error>) {
    let mut reader = SegmentReader::open(&RealFs, path).unwrap();
    let mut records = Vec::new();
    loop {
        let mut record = Vec::new();
        match reader.next_record(&mut record) {
            Ok(true) => records.push(record),
            Ok(false) => return (records, None),
            Err(e) => return (records, Some(e)),
        }
    }
}

/// Bytes that snappy cannot shrink, so that a record's length on disk is known.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_of_any_size_come_back(sizes in proptest::collection::vec(1usize..100_000, 1..12), seed in any::<u64>()) {
        let dir = tempfile::tempdir().unwrap();
        let records: Vec<_> = sizes.iter().map(|&size| noise(size, seed ^ size as u64)).collect();
        let last = write(dir.path(), 4 * PAGE as u64, &records);
        let mut back = Vec::new();
        for index in 0..=last {
            let path = dir.path().join(layout::segment_name(index));
            let (some, error) = read(&path);
            prop_assert!(error.is_none(), "{:?}", error);
            prop_assert!(index == last || std::fs::metadata(&path).unwrap().len().is_multiple_of(PAGE as u64));
            back.extend(some);
        }
        prop_assert_eq!(back, records);
    }

    #[test]
    fn a_cut_segment_gives_a_prefix_and_names_the_place(cut in any::<prop::sample::Index>(), seed in any::<u64>()) {
        let dir = tempfile::tempdir().unwrap();
        let records: Vec<_> = [10, 40_000, 7, 70_000].iter().map(|&size| noise(size, seed)).collect();
        write(dir.path(), 1 << 30, &records);
        let path = dir.path().join(layout::segment_name(0));
        let bytes = std::fs::read(&path).unwrap();
        let len = cut.index(bytes.len());
        std::fs::write(&path, &bytes[..len]).unwrap();
        let (back, error) = read(&path);
        prop_assert!(back.len() < records.len());
        prop_assert_eq!(&back[..], &records[..back.len()]);
        if let Some(Error::Corrupt { offset, .. }) = error {
            prop_assert!(offset <= bytes.len() as u64 + PAGE as u64);
        }
    }

    #[test]
    fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..3 * PAGE)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000000");
        std::fs::write(&path, bytes).unwrap();
        read(&path);
    }
}

#[test]
fn a_first_fragment_may_be_empty() {
    let dir = tempfile::tempdir().unwrap();
    // Leaves exactly one header's room in the page.
    let records = vec![noise(PAGE - 14, 1), noise(100, 2), noise(PAGE - 7, 3), noise(1, 4)];
    write(dir.path(), 1 << 30, &records);
    assert_eq!(read(&dir.path().join("00000000")).0, records);
}

#[test]
fn a_record_larger_than_a_segment_is_written_whole() {
    let dir = tempfile::tempdir().unwrap();
    let records = vec![noise(10, 1), noise(5 * PAGE, 2), noise(10, 3)];
    assert_eq!(write(dir.path(), PAGE as u64, &records), 2);
    assert_eq!(read(&dir.path().join("00000001")).0, records[1..2]);
}

#[test]
fn what_compresses_is_stored_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let records = vec![vec![7u8; 100_000]];
    write(dir.path(), 1 << 30, &records);
    let path = dir.path().join("00000000");
    assert!(std::fs::metadata(&path).unwrap().len() < 10_000);
    assert_eq!(read(&path).0, records);
}

#[test]
fn zstd_is_read() {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    let dir = tempfile::tempdir().unwrap();
    let record = vec![7u8; 100_000];
    let mut framer = Framer::new(1 << 30);
    let mut bytes = Vec::new();
    framer.frame(&compress_to_vec(record.as_slice(), CompressionLevel::Fastest), ZSTD, &mut bytes);
    framer.frame(b"no frame", ZSTD, &mut bytes);
    let path = dir.path().join("00000000");
    std::fs::write(&path, bytes).unwrap();
    let (back, error) = read(&path);
    assert_eq!(back, [record]);
    assert!(matches!(error, Some(Error::Corrupt { .. })), "{error:?}");
}
