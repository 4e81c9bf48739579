//! Histograms that Prometheus coded: `tests/golden/histograms.go` says how the file is made. Each series is one or
//! two WAL records, and the chunks that Prometheus makes of what is in them.

use super::*;
use crate::record::{self, HistogramRecords, HistogramsEncoder, Record};

const GOLDEN: &str = include_str!("../../../tests/golden/histograms.txt");
/// A chunk of so many samples takes no more.
const SAMPLES_MAX: u16 = 11;

#[derive(Default)]
struct Series {
    records: Vec<Vec<u8>>,
    chunks: Vec<Vec<u8>>,
}

fn series() -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let (kind, hex) = line.split_once(' ').unwrap();
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes = (0..hex.len()).step_by(2).map(byte).collect();
        if kind == "record" && all.last().is_none_or(|series| !series.chunks.is_empty()) {
            all.push(Series::default());
        }
        let series = all.last_mut().unwrap();
        if kind == "record" { series.records.push(bytes) } else { series.chunks.push(bytes) }
    }
    all
}

fn samples<C, B>(records: HistogramRecords<'_, C, B>) -> Vec<(u64, i64, NativeHistogram<C, B>)>
where
    C: Count + record::Number,
    B: Bucket + record::Number,
{
    records.map(Result::unwrap).map(|entry| (entry.reference, entry.t, entry.h)).collect()
}

fn check<C, B>(mut samples: Vec<(u64, i64, NativeHistogram<C, B>)>, records: &[Vec<u8>], chunks: &[Vec<u8>])
where
    C: Count + Number + record::Number,
    B: Bucket + Number + record::Number,
{
    if let [record] = records {
        let mut encoder = HistogramsEncoder::default();
        samples.iter().for_each(|(reference, t, h)| encoder.push(*reference, *t, h));
        assert!(encoder.records().contains(&record.as_slice()));
    }
    samples.sort_by_key(|(_, t, _)| *t);
    let mut appender = HistogramAppender::default();
    let mut made = Vec::new();
    for (_, t, h) in &samples {
        if appender.count() == SAMPLES_MAX {
            made.push(appender.finish(appender.header_before(h)));
        }
        if let Appended::NewChunk(header) = appender.append(*t, h) {
            made.push(appender.finish(header));
            assert_eq!(appender.append(*t, h), Appended::Stored);
        }
    }
    made.push(appender.finish(CounterResetHeader::Unknown));
    assert_eq!(made.len(), chunks.len());
    for (made, chunk) in made.iter().zip(chunks) {
        assert_eq!(made[..], chunk[..], "series {}", samples[0].0);
    }
    let read = chunks.iter().flat_map(|chunk| HistogramIter::<C, B>::new(chunk)).map(Result::unwrap);
    for ((_, t, sent), (at, read)) in samples.iter().zip(read) {
        assert_eq!(*t, at);
        assert!(read.same_observations(sent));
    }
}

#[test]
fn chunks_are_prometheus_chunks() {
    let series = series();
    assert_eq!(series.len(), 8);
    for Series { records, chunks } in &series {
        let (mut ints, mut floats) = (Vec::new(), Vec::new());
        for bytes in records {
            match record::decode(bytes) {
                Record::Histograms(records) => ints.extend(samples(records)),
                Record::FloatHistograms(records) => floats.extend(samples(records)),
                other => panic!("{other:?}"),
            }
        }
        match floats.is_empty() {
            true => check(ints, records, chunks),
            false => check(floats, records, chunks),
        }
    }
}
