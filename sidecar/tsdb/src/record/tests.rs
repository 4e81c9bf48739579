use proptest::collection::vec;
use proptest::prelude::*;

use super::mmap_markers::MmapMarkerEntry;
use super::tombstones::TombstoneEntry;
use super::*;
use crate::encoding::put_varint;
use crate::histogram::testing::drafts;
use crate::histogram::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Histogram, Span};

const LABELS: &[(&[u8], &[u8])] = &[(b"__name__", b"up"), (b"job", b"x")];

proptest! {
    #[test]
    fn samples_round_trip(samples in vec((any::<u64>(), any::<i64>(), any::<u64>()), 1..50)) {
        let mut enc = SamplesEncoder::default();
        for &(r, t, v) in &samples {
            enc.push(r, t, f64::from_bits(v));
        }
        let Record::Samples(records) = decode(enc.bytes()) else { panic!("not samples") };
        let back: Vec<_> = records.map(|s| { let s = s.unwrap(); (s.reference, s.t, s.v.to_bits()) }).collect();
        prop_assert_eq!(back, samples);
    }

    #[test]
    fn histograms_round_trip(drafts in drafts(20), first in any::<u64>(), t in any::<i64>()) {
        let mut enc = HistogramsEncoder::default();
        let mut floats = HistogramsEncoder::default();
        for (at, draft) in drafts.iter().enumerate() {
            let at = at as u64;
            enc.push(first.wrapping_sub(at), t.wrapping_add(at as i64), &draft.int());
            floats.push(first.wrapping_add(at), t, &draft.float());
        }
        let is_custom = |custom| move |draft: &&_| draft_is_custom(draft) == custom;
        for (custom, record) in [false, true].into_iter().zip(enc.records()) {
            let sent: Vec<_> = drafts.iter().filter(is_custom(custom)).map(|draft| draft.int()).collect();
            let back = histograms(record);
            prop_assert_eq!(back.len(), sent.len());
            for (back, sent) in back.iter().zip(&sent) {
                prop_assert!(back.h.equals(sent));
                prop_assert_eq!(back.h.counter_reset_hint, sent.counter_reset_hint);
            }
        }
        for (custom, record) in [false, true].into_iter().zip(floats.records()) {
            let sent: Vec<_> = drafts.iter().filter(is_custom(custom)).map(|draft| draft.float()).collect();
            let back = float_histograms(record);
            prop_assert_eq!(back.len(), sent.len());
            prop_assert!(back.iter().zip(&sent).all(|(back, sent)| back.equals(sent)));
        }
    }

    #[test]
    fn the_rest_round_trips(numbers in vec((any::<u64>(), any::<i64>(), any::<i64>(), vec(any::<u8>(), 0..9)), 1..20)) {
        // Nothing of ours writes these two.
        let (mut tombstones, mut markers) = (vec![TOMBSTONES], vec![MMAP_MARKERS]);
        let (mut metadata, mut exemplars) = (MetadataEncoder::default(), ExemplarsEncoder::default());
        for (reference, a, b, text) in &numbers {
            let (reference, text) = (*reference, text.as_slice());
            for record in [&mut tombstones, &mut markers] {
                record.extend(reference.to_be_bytes());
            }
            [a, b].into_iter().for_each(|t| put_varint(&mut tombstones, *t));
            markers.extend(a.to_be_bytes());
            metadata.push(MetadataEntry { reference, kind: *b as u8, unit: text, help: b"help" });
            exemplars.push(reference, *a, *b as f64, 1, [(b"trace_id".as_slice(), text)]);
        }
        let Record::Tombstones(records) = decode(&tombstones) else { panic!("not tombstones") };
        for (back, (reference, mint, maxt, _)) in records.map(Result::unwrap).zip(&numbers) {
            prop_assert_eq!(back, TombstoneEntry { reference: *reference, mint: *mint, maxt: *maxt });
        }
        let Record::MmapMarkers(records) = decode(&markers) else { panic!("not markers") };
        for (back, (reference, a, ..)) in records.map(Result::unwrap).zip(&numbers) {
            prop_assert_eq!(back, MmapMarkerEntry { reference: *reference, chunk: *a as u64 });
        }
        let Record::Metadata(records) = decode(metadata.bytes()) else { panic!("not metadata") };
        for (back, (reference, _, b, text)) in records.map(Result::unwrap).zip(&numbers) {
            prop_assert_eq!(back, MetadataEntry { reference: *reference, kind: *b as u8, unit: text, help: b"help" });
        }
        let Record::Exemplars(records) = decode(exemplars.bytes()) else { panic!("not exemplars") };
        let back: Vec<_> = records.map(Result::unwrap).collect();
        prop_assert_eq!(back.len(), numbers.len());
        for (back, (reference, a, b, text)) in back.iter().zip(&numbers) {
            prop_assert_eq!((back.reference, back.t, back.v), (*reference, *a, *b as f64));
            prop_assert_eq!(&back.labels, &[(b"trace_id".as_slice(), text.as_slice())]);
        }
    }

    #[test]
    fn any_bytes_end(kind in 0u8..16, body in vec(any::<u8>(), 0..300)) {
        let payload = [&[kind][..], &body].concat();
        match decode(&payload) {
            Record::Series(s) => { s.take_while(Result::is_ok).count(); }
            Record::Samples(s) => { s.take_while(Result::is_ok).count(); }
            Record::Tombstones(s) => { s.take_while(Result::is_ok).count(); }
            Record::Exemplars(s) => { s.take_while(Result::is_ok).count(); }
            Record::MmapMarkers(s) => { s.take_while(Result::is_ok).count(); }
            Record::Metadata(s) => { s.take_while(Result::is_ok).count(); }
            Record::Histograms(s) => { s.take_while(Result::is_ok).count(); }
            Record::FloatHistograms(s) => { s.take_while(Result::is_ok).count(); }
            Record::Skipped => {}
        }
    }
}

fn draft_is_custom(draft: &crate::histogram::testing::Draft) -> bool {
    draft.int().schema == CUSTOM_BUCKETS_SCHEMA
}

fn histograms(record: &[u8]) -> Vec<HistogramEntry<u64, i64>> {
    match decode(record) {
        Record::Histograms(records) => records.map(Result::unwrap).collect(),
        other => {
            assert!(record.is_empty(), "{other:?}");
            Vec::new()
        }
    }
}

fn float_histograms(record: &[u8]) -> Vec<FloatHistogram> {
    match decode(record) {
        Record::FloatHistograms(records) => records.map(|entry| entry.unwrap().h).collect(),
        other => {
            assert!(record.is_empty(), "{other:?}");
            Vec::new()
        }
    }
}

#[test]
fn series_round_trip() {
    let mut enc = SeriesEncoder::default();
    enc.push(7, 2, LABELS.iter().copied());
    enc.push(8, 0, []);
    let Record::Series(records) = decode(enc.bytes()) else { panic!("not series") };
    let back: Vec<_> = records.map(Result::unwrap).collect();
    assert_eq!(back[0].labels, LABELS);
    assert_eq!((back[0].reference, back[1].reference, back.len()), (7, 8, 2));
}

#[test]
fn unknown_fields_of_metadata_are_passed_over() {
    let payload = b"\x06\x07\x03\x02\x04TYPE\x01x\x04HELP\x01h";
    let Record::Metadata(mut records) = decode(payload) else { panic!("not metadata") };
    let entry = MetadataEntry { reference: 7, kind: 3, unit: b"", help: b"h" };
    assert_eq!(records.next(), Some(Ok(entry)));
    assert_eq!(records.next(), None);
}

#[test]
fn start_timestamps_are_read_past() {
    // Reference 5 at 100 since 40; 8 at 110 without; 7 at 120 since 40; 7 at 130 since 44.
    let mut payload = vec![11, 10, 200, 1, 80];
    payload.extend(1.5f64.to_be_bytes());
    for (step, v) in [(&[6u8, 20, 0][..], 2.5f64), (&[1, 40, 1], 3.5), (&[0, 60, 2, 8], 4.5)] {
        payload.extend(step);
        payload.extend(v.to_be_bytes());
    }
    let Record::Samples(records) = decode(&payload) else { panic!("not samples") };
    let back: Vec<_> = records.map(|s| s.map(|s| (s.reference, s.t, s.v)).unwrap()).collect();
    assert_eq!(back, [(5, 100, 1.5), (8, 110, 2.5), (7, 120, 3.5), (7, 130, 4.5)]);
}

#[test]
fn a_histogram_is_written_as_prometheus_does() {
    let h = Histogram {
        counter_reset_hint: crate::histogram::CounterResetHint::NotReset,
        schema: 1,
        zero_threshold: 0.5,
        zero_count: 1,
        count: 6,
        sum: 2.0,
        positive_spans: vec![Span { offset: -1, length: 2 }],
        negative_spans: vec![],
        positive_buckets: vec![2, 1],
        ..Histogram::default()
    };
    let mut enc = HistogramsEncoder::default();
    enc.push(3, 1000, &h);
    let mut expected = vec![7, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 3, 0xe8, 0, 0, 2, 2];
    expected.extend(0.5f64.to_be_bytes());
    expected.extend([1, 6]);
    expected.extend(2f64.to_be_bytes());
    expected.extend([1, 1, 2, 0, 2, 4, 2, 0]);
    assert_eq!(enc.records(), [&expected[..], &[]]);
}
