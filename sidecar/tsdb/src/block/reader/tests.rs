//! What was cut is read back, series by series and sample by sample.

use super::*;
use crate::block::testing::cut_block;
use crate::fs::RealFs;
use crate::sample::Value;

#[test]
fn series_come_in_order_with_all_their_samples() {
    let dir = tempfile::tempdir().unwrap();
    let block = Block::open(&RealFs, &cut_block(dir.path(), 40)).unwrap();
    let series: Vec<_> = block.series().unwrap().map(Result::unwrap).collect();
    assert_eq!(series.len(), 40);
    assert!(series.is_sorted_by(|a, b| a.labels < b.labels));
    for series in &series {
        let value = |name: &[u8]| series.labels.iter().find(|(n, _)| **n == *name).map(|(_, v)| v);
        let i: i64 = std::str::from_utf8(value(b"i").unwrap()).unwrap().parse().unwrap();
        assert_eq!(value(b"job").is_some(), i % 2 == 0);
        let chunks = series.chunks.iter().map(|chunk| block.chunk(chunk).unwrap());
        let samples = chunks.flat_map(|chunk| chunk.samples().map(Result::unwrap).collect::<Vec<_>>());
        let samples = samples.map(|(t, value)| match value {
            Value::Float(v) => (t, v),
            other => panic!("{other:?}"),
        });
        assert!(samples.eq((0..120).map(|minute| (minute * 60_000, (i * minute) as f64))), "series {i}");
    }
    let downs = block.index().postings(b"__name__", b"down").unwrap();
    let downs: Vec<_> = block.series_of(downs).map(Result::unwrap).collect();
    assert_eq!(downs, series[..20]);
    assert_eq!(block.tombstones().count(), 0);
}

#[test]
fn references_that_lead_nowhere_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = cut_block(dir.path(), 1);
    let block = Block::open(&RealFs, &path).unwrap();
    for (reference, file) in [
        (0, "000001 is corrupt at byte 0"),
        (1 << 32, "no chunk file 2"),
        (u64::MAX, "no chunk file 4294967296"),
    ] {
        let error = block.chunk(&ChunkMeta { mint: 0, maxt: 0, reference }).unwrap_err().to_string();
        assert!(error.contains(file), "{error}");
    }
    std::fs::copy(path.join("chunks/000001"), path.join("chunks/000002")).unwrap();
    std::fs::remove_file(path.join("chunks/000001")).unwrap();
    let error = Block::open(&RealFs, &path).unwrap_err().to_string();
    assert!(error.contains("chunk file 1 is missing"), "{error}");
}
