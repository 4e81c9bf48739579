//! Properties of the walkers of remote write 2.0, with prost's generated types as the judge (`judge/v2.rs`): what
//! prost accepts they read alike, and no bytes whatever make them panic or run past the body.

#[path = "judge/v2.rs"]
mod judge;

use judge::judge;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use ringside_proto::prometheus_v2 as v2;
use ringside_proto::remote_write_v2::{SymbolTable, time_series};
use ringside_proto::{WireFault, remote_write_v2::RequestError};

/// References, now and then beyond the table or odd in number.
fn refs() -> impl Strategy<Value = Vec<u32>> {
    let pairs = vec((0_u32..9, 0_u32..9), 0..6);
    prop_oneof![
        8 => pairs.prop_map(|pairs| pairs.into_iter().flat_map(|(name, value)| [name, value]).collect()),
        1 => vec(prop_oneof![0_u32..200, any::<u32>()], 0..7),
    ]
}

prop_compose! {
    fn sample()(bits: u64, timestamp: i64, start_timestamp in prop_oneof![Just(0), any::<i64>()]) -> v2::Sample {
        v2::Sample { value: f64::from_bits(bits), timestamp, start_timestamp }
    }
}

prop_compose! {
    fn exemplar()(labels_refs in refs(), value: f64, timestamp: i64) -> v2::Exemplar {
        v2::Exemplar { labels_refs, value, timestamp }
    }
}

prop_compose! {
    fn series()(
        labels_refs in refs(),
        floats in vec(sample(), 0..3),
        sums in vec(any::<f64>(), 0..3),
        kind in 0_u8..6,
        exemplars in vec(exemplar(), 0..3),
        texts in proptest::option::of((0..9, 0_u32..9, 0_u32..9)),
    ) -> v2::TimeSeries {
        let histograms = sums.into_iter().map(|sum| v2::Histogram { sum, ..Default::default() }).collect();
        let metadata = texts.map(|(r#type, help_ref, unit_ref)| v2::Metadata { r#type, help_ref, unit_ref });
        // Mostly of one kind.
        let (samples, histograms) = match kind {
            0 => (floats, histograms),
            1 | 2 => (vec![], histograms),
            _ => (floats, vec![]),
        };
        v2::TimeSeries { labels_refs, samples, histograms, exemplars, metadata }
    }
}

prop_compose! {
    fn request()(texts in vec(prop_oneof![4 => ".{0,9}", 1 => "x{120,300}"], 0..9), timeseries in vec(series(), 0..4), bad in 0_u8..9)
        -> v2::Request {
        let mut symbols = texts;
        symbols.insert(0, if bad == 0 { "bad".to_owned() } else { String::new() });
        v2::Request { symbols, timeseries }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reads_what_prost_writes(request in request()) {
        judge(&request.encode_to_vec());
    }

    #[test]
    fn two_requests_one_after_the_other_are_one(first in request(), second in request()) {
        let mut body = first.encode_to_vec();
        body.extend(second.encode_to_vec());
        judge(&body);
    }

    #[test]
    fn symbols_and_chosen_series_are_a_request(request in request(), chosen in vec(any::<bool>(), 4)) {
        let body = request.encode_to_vec();
        let mut table = SymbolTable::default();
        let Ok(symbols) = table.read(&body) else { return Ok(()) };
        let mut part = Vec::new();
        symbols.append_to(&mut part);
        for (series, _) in time_series(&body).zip(&chosen).filter(|(_, chosen)| **chosen) {
            part.extend_from_slice(series.unwrap().field());
        }
        let timeseries = request.timeseries.into_iter().zip(&chosen).filter(|(_, chosen)| **chosen);
        let expected = v2::Request { symbols: request.symbols, timeseries: timeseries.map(|(series, _)| series).collect() };
        // Compared as bytes: NaNs are not equal to themselves.
        prop_assert_eq!(part, expected.encode_to_vec());
    }

    #[test]
    fn cut_at_every_byte_it_is_an_error_or_a_shorter_request(request in request()) {
        let body = request.encode_to_vec();
        for length in 0..body.len() {
            let cut = &body[..length];
            judge(cut);
            if let Err(RequestError::Wire(error)) = SymbolTable::default().read(cut) {
                prop_assert_eq!(error.what, WireFault::Truncated);
            }
        }
    }

    #[test]
    fn accepts_what_prost_accepts(request in request(), flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut body = request.encode_to_vec();
        for (index, byte) in flips {
            let at = index.index(body.len());
            body[at] = byte;
        }
        judge(&body);
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in vec(any::<u8>(), 0..200)) {
        judge(&body);
    }

    #[test]
    fn arbitrary_series_never_panic(inner in vec(prop_oneof![any::<u8>(), 0u8..0x33], 0..100)) {
        let mut body = vec![0x22, 0, 0x22, 1, b'a', 0x2a];
        prost::encode_length_delimiter(inner.len(), &mut body).unwrap();
        body.extend(inner);
        judge(&body);
    }
}
