use proptest::prelude::*;

use super::*;
use crate::chunkenc::{ChunkError, ChunkIter, Encoding};
use crate::histogram::testing::drafts;
use crate::histogram::{CounterResetHint, FloatHistogram, Histogram, Span};

/// Chunks of a series of histograms, a sample every 15 s or so.
fn encode<C: Number + Count, B: Number + Bucket>(histograms: &[NativeHistogram<C, B>]) -> Vec<Box<[u8]>> {
    let mut appender = HistogramAppender::default();
    let mut chunks = Vec::new();
    for (t, h) in times().zip(histograms) {
        if let Appended::NewChunk(header) = appender.append(t, h) {
            assert_eq!(appender.header_before(h), header);
            chunks.push(appender.finish(header));
            assert_eq!(appender.append(t, h), Appended::Stored);
        }
        assert_eq!(appender.last_t(), t);
        assert!(appender.last().is_some_and(|last| last.same_observations(h)));
    }
    chunks.push(appender.finish(CounterResetHeader::Unknown));
    chunks
}

fn times() -> impl Iterator<Item = i64> {
    (0..).map(|i| 1_700_000_000_000 + i * 15_000 + i % 3)
}

fn decode<C: Number + Count, B: Number + Bucket>(chunks: &[Box<[u8]>]) -> Vec<(i64, NativeHistogram<C, B>)> {
    chunks.iter().flat_map(|chunk| HistogramIter::new(chunk)).map(Result::unwrap).collect()
}

/// What is read has the kind of hint that its chunk allows.
fn hint_is_true<C: Count, B: Bucket>(read: &NativeHistogram<C, B>, sent: &NativeHistogram<C, B>) -> bool {
    match read.counter_reset_hint {
        _ if read.is_stale() => true,
        CounterResetHint::Gauge => sent.counter_reset_hint == CounterResetHint::Gauge,
        CounterResetHint::NotReset => sent.counter_reset_hint != CounterResetHint::Reset,
        CounterResetHint::Unknown => sent.counter_reset_hint != CounterResetHint::Gauge,
        CounterResetHint::Reset => false,
    }
}

proptest! {
    #[test]
    fn integer_histograms_round_trip(drafts in drafts(120)) {
        let sent: Vec<_> = drafts.iter().map(|draft| draft.int()).collect();
        let back = decode::<u64, i64>(&encode(&sent));
        prop_assert_eq!(back.len(), sent.len());
        for ((t, (at, read)), sent) in times().zip(&back).zip(&sent) {
            prop_assert_eq!(t, *at);
            prop_assert!(read.same_observations(sent), "{:?} was {:?}", read, sent);
            prop_assert!(read.is_stale() || read.validate().is_ok());
            prop_assert!(hint_is_true(read, sent));
        }
    }

    #[test]
    fn float_histograms_round_trip(drafts in drafts(120)) {
        let sent: Vec<_> = drafts.iter().map(|draft| draft.float()).collect();
        let back = decode::<f64, f64>(&encode(&sent));
        prop_assert_eq!(back.len(), sent.len());
        for ((t, (at, read)), sent) in times().zip(&back).zip(&sent) {
            prop_assert_eq!(t, *at);
            prop_assert!(read.same_observations(sent), "{:?} was {:?}", read, sent);
            prop_assert!(hint_is_true(read, sent));
        }
    }

    #[test]
    fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for encoding in [Encoding::Xor, Encoding::Histogram, Encoding::FloatHistogram] {
            prop_assert!(ChunkIter::new(encoding, &bytes).count() <= usize::from(u16::MAX));
        }
    }

    #[test]
    fn spoiled_chunks_end(
        drafts in drafts(40),
        spoiled in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let sent: Vec<_> = drafts.iter().map(|draft| draft.int()).collect();
        for chunk in encode(&sent) {
            let mut chunk = chunk.into_vec();
            for (at, byte) in &spoiled {
                let at = at.index(chunk.len());
                chunk[at] ^= byte;
            }
            chunk.truncate(cut.index(chunk.len()) + 1);
            for encoding in [Encoding::Histogram, Encoding::FloatHistogram] {
                ChunkIter::new(encoding, &chunk).count();
            }
        }
    }
}

fn histogram(first: i32, counts: &[i64]) -> Histogram {
    let deltas = counts.iter().scan(0, |last, &count| Some(count - std::mem::replace(last, count)));
    Histogram {
        count: counts.iter().sum::<i64>() as u64,
        sum: 1.5,
        positive_spans: vec![Span { offset: first, length: counts.len() as u32 }],
        positive_buckets: deltas.collect(),
        ..Histogram::default()
    }
}

#[test]
fn new_buckets_widen_the_chunk_and_lost_empty_ones_the_histogram() {
    let sent = [histogram(0, &[1, 0, 2]), histogram(-2, &[4, 0, 1]), histogram(0, &[1, 0, 2, 3])];
    let mut appender = HistogramAppender::default();
    assert_eq!(appender.append(1, &sent[0]), Appended::Stored);
    assert_eq!(
        appender.append(2, &sent[1]),
        Appended::NewChunk(CounterResetHeader::Reset),
        "bucket 2 is gone"
    );
    assert_eq!(appender.append(2, &sent[2]), Appended::Stored);
    assert_eq!(appender.append(3, &histogram(2, &[2, 9])), Appended::NewChunk(CounterResetHeader::Reset));
    let wide = Histogram {
        count: 12,
        positive_spans: vec![Span { offset: -1, length: 2 }, Span { offset: 1, length: 3 }],
        positive_buckets: vec![5, -4, 1, 1, -2],
        ..histogram(0, &[])
    };
    assert_eq!(appender.append(3, &wide), Appended::Stored);
    let read: Vec<_> = HistogramIter::<u64, i64>::new(appender.bytes()).map(|item| item.unwrap().1).collect();
    assert_eq!(read[0].positive().collect::<Vec<_>>(), [(-1, 0), (0, 1), (1, 0), (2, 2), (3, 0), (4, 0)]);
    assert_eq!(read[2].positive().collect::<Vec<_>>(), [(-1, 5), (0, 1), (1, 0), (2, 2), (3, 3), (4, 1)]);
    assert!(read[2].same_observations(&wide) && !read[2].equals(&wide));
}

#[test]
fn a_new_chunk_says_why() {
    let gauge = |h| Histogram { counter_reset_hint: CounterResetHint::Gauge, ..h };
    let reset = |h| Histogram { counter_reset_hint: CounterResetHint::Reset, ..h };
    let before = histogram(0, &[1, 2]);
    for (name, next, header) in [
        ("fewer observations", histogram(0, &[1, 1]), CounterResetHeader::Reset),
        ("told so", reset(histogram(0, &[1, 2])), CounterResetHeader::Reset),
        ("a gauge", gauge(histogram(0, &[1, 2])), CounterResetHeader::Gauge),
        ("schema", Histogram { schema: 1, ..histogram(0, &[1, 2]) }, CounterResetHeader::Unknown),
        (
            "zero bucket",
            Histogram { zero_threshold: 1.0, ..histogram(0, &[1, 2]) },
            CounterResetHeader::Unknown,
        ),
    ] {
        let mut appender = HistogramAppender::default();
        assert_eq!(appender.append(1, &before), Appended::Stored);
        assert_eq!(appender.append(2, &next), Appended::NewChunk(header), "{name}");
        assert_eq!(appender.count(), 1, "{name}");
        appender.finish(header);
        assert_eq!(appender.append(2, &next), Appended::Stored);
        assert_eq!(appender.bytes()[2], header as u8, "{name}");
    }
    let mut appender = HistogramAppender::new(CounterResetHeader::NotReset);
    assert_eq!(appender.append(1, &before), Appended::Stored);
    assert_eq!(appender.append(2, &Histogram::stale()), Appended::Stored);
    assert_eq!(appender.append(3, &Histogram::stale()), Appended::Stored);
    assert_eq!(appender.append(4, &before), Appended::NewChunk(CounterResetHeader::Unknown));
    assert_eq!(appender.bytes()[2], CounterResetHeader::NotReset as u8);
    let read = HistogramIter::<u64, i64>::new(appender.bytes()).map(|item| item.unwrap().1.is_stale());
    assert_eq!(read.collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn a_wide_histogram_does_not_blow_up_a_long_chunk() {
    let mut appender = HistogramAppender::default();
    for t in 0..1000 {
        assert_eq!(appender.append(t, &histogram(0, &[1])), Appended::Stored);
    }
    let wide = histogram(0, &[1; 10_000]);
    assert_eq!(appender.append(1000, &wide), Appended::NewChunk(CounterResetHeader::NotReset));
    let gauge = Histogram { counter_reset_hint: CounterResetHint::Gauge, ..wide };
    assert_eq!(appender.append(1000, &gauge), Appended::NewChunk(CounterResetHeader::Gauge));
}

#[test]
fn a_chunk_claims_no_more_buckets_than_it_has_bits() {
    // One sample, unknown reset, zero threshold 0, schema 0, a positive span of 2^32 - 1 buckets.
    let mut out = BitWriter::default();
    out.bytes.extend_from_slice(&[0, 1, 0]);
    let layout = Layout { positive: vec![Span { offset: 0, length: u32::MAX }], ..Layout::default() };
    layout.put(&mut out);
    out.bytes.extend_from_slice(&[0; 64]);
    for encoding in [Encoding::Histogram, Encoding::FloatHistogram] {
        let error = ChunkError { encoding, sample: 0, count: 1 };
        assert_eq!(ChunkIter::new(encoding, &out.bytes).next().unwrap().unwrap_err(), error);
    }
}

#[test]
fn float_histograms_may_count_parts() {
    let float = |counts: &[f64]| FloatHistogram {
        count: counts.iter().sum(),
        positive_spans: vec![Span { offset: 3, length: counts.len() as u32 }],
        positive_buckets: counts.to_vec(),
        ..FloatHistogram::default()
    };
    let mut appender = HistogramAppender::default();
    assert_eq!(appender.append(1, &float(&[0.5, 1.25])), Appended::Stored);
    assert_eq!(appender.append(2, &float(&[0.5, 1.5, 0.1])), Appended::Stored);
    assert_eq!(appender.append(3, &float(&[0.25, 9.0])), Appended::NewChunk(CounterResetHeader::Reset));
    assert!(appender.last().unwrap().equals(&float(&[0.5, 1.5, 0.1])));
}
