//! Properties of the walkers, with prost's generated types as the judge: what
//! prost encodes they read alike, what prost accepts they accept, and no bytes
//! whatever make them panic or run past the body.

#[path = "judge/v1.rs"]
mod judge;

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use ringside_proto::labels::label_fields;
use ringside_proto::prometheus::{self, WriteRequest};
use ringside_proto::remote_write::{TimeSeries, time_series};
use ringside_proto::{WireError, WireFault};

/// What the walkers read of one series. Values as bits, because stale markers are NaNs.
#[derive(Debug, Clone, PartialEq)]
struct Walked {
    labels: Vec<(Vec<u8>, Vec<u8>)>,
    samples: Vec<(u64, i64)>,
    histograms: usize,
    exemplars: usize,
}

fn walk_series(series: TimeSeries<'_>) -> Result<Walked, WireError> {
    let labels = series.labels().map(|label| label.map(|label| (label.name.to_vec(), label.value.to_vec())));
    let labels: Vec<_> = labels.collect::<Result<_, _>>()?;
    let samples = series.samples().map(|sample| sample.map(|s| (s.value.to_bits(), s.timestamp)));
    let walked = Walked {
        labels,
        samples: samples.collect::<Result<_, _>>()?,
        histograms: series.histograms().map(|field| field.map(drop)).collect::<Result<Vec<_>, _>>()?.len(),
        exemplars: series.exemplars().map(|field| field.map(drop)).collect::<Result<Vec<_>, _>>()?.len(),
    };
    // The run of labels, where there is one, holds just these labels.
    if let Some(run) = series.label_bytes()? {
        let labels: Vec<_> = label_fields(run)
            .map(|label| label.map(|l| (l.name.to_vec(), l.value.to_vec())))
            .collect::<Result<_, _>>()?;
        assert_eq!(labels, walked.labels);
    }
    let parts = series.checked_parts()?;
    assert_eq!(parts.label_bytes, series.label_bytes()?);
    assert_eq!(
        (parts.samples, parts.histograms, parts.exemplars),
        (walked.samples.len(), walked.histograms, walked.exemplars)
    );
    let samples: Vec<_> =
        parts.samples().map(|s| s.map(|s| (s.value.to_bits(), s.timestamp))).collect::<Result<_, _>>()?;
    assert_eq!(samples, walked.samples);
    Ok(walked)
}

/// The series up to the first error, and the error. Also checks what holds for any bytes.
fn walk(body: &[u8]) -> (Vec<Walked>, Option<WireError>) {
    let mut all = Vec::new();
    let mut error = None;
    for series in time_series(body) {
        let walked = series.and_then(|series| {
            assert_eq!(series.checked_parts().is_err(), walk_series(series).is_err());
            assert_eq!(series.body(), &body[series.offset()..][..series.body().len()]);
            assert!(series.field().ends_with(series.body()));
            // The field alone is a request with this one series.
            let alone: Vec<_> =
                time_series(series.field()).map(|alone| alone.map(|alone| alone.body())).collect();
            assert_eq!(alone, [Ok(series.body())]);
            walk_series(series)
        });
        match walked {
            Ok(walked) => all.push(walked),
            Err(first) => {
                assert!(first.offset <= body.len(), "{first}");
                error.get_or_insert(first);
                break;
            }
        }
    }
    (all, error)
}

fn expected(request: &WriteRequest) -> Vec<Walked> {
    let series = |series: &prometheus::TimeSeries| Walked {
        labels: series
            .labels
            .iter()
            .map(|label| (label.name.clone().into(), label.value.clone().into()))
            .collect(),
        samples: series.samples.iter().map(|sample| (sample.value.to_bits(), sample.timestamp)).collect(),
        histograms: series.histograms.len(),
        exemplars: series.exemplars.len(),
    };
    request.timeseries.iter().map(series).collect()
}

prop_compose! {
    fn label()(name in "[a-zä_]{0,12}", value in prop_oneof![4 => ".{0,20}", 1 => "x{120,300}"]) -> prometheus::Label {
        prometheus::Label { name, value }
    }
}

prop_compose! {
    fn sample()(bits: u64, timestamp: i64) -> prometheus::Sample {
        prometheus::Sample { value: f64::from_bits(bits), timestamp }
    }
}

prop_compose! {
    fn exemplar()(labels in vec(label(), 0..2), value: f64, timestamp: i64) -> prometheus::Exemplar {
        prometheus::Exemplar { labels, value, timestamp }
    }
}

prop_compose! {
    fn histogram()(sum: f64, schema in -4..9, deltas in vec(any::<i64>(), 0..4)) -> prometheus::Histogram {
        prometheus::Histogram { sum, schema, positive_deltas: deltas, ..Default::default() }
    }
}

prop_compose! {
    fn series()(
        labels in vec(label(), 0..6),
        samples in vec(sample(), 0..4),
        exemplars in vec(exemplar(), 0..2),
        histograms in vec(histogram(), 0..2),
    ) -> prometheus::TimeSeries {
        prometheus::TimeSeries { labels, samples, exemplars, histograms }
    }
}

prop_compose! {
    fn request()(timeseries in vec(series(), 0..4), help in ".{0,9}", with_metadata: bool) -> WriteRequest {
        let metadata = prometheus::MetricMetadata { help, ..Default::default() };
        WriteRequest { timeseries, metadata: if with_metadata { vec![metadata] } else { vec![] } }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reads_what_prost_writes(request in request()) {
        let body = request.encode_to_vec();
        prop_assert_eq!(walk(&body), (expected(&request), None));

        // The fields, copied unchanged, are the same request without its metadata.
        let mut copy: Vec<u8> = Vec::new();
        for series in time_series(&body) {
            copy.extend_from_slice(series.unwrap().field());
        }
        let without_metadata = WriteRequest { metadata: vec![], ..request };
        prop_assert_eq!(copy, without_metadata.encode_to_vec());
    }

    #[test]
    fn two_requests_one_after_the_other_are_one(first in request(), second in request()) {
        let mut body = first.encode_to_vec();
        body.extend(second.encode_to_vec());
        let both = [expected(&first), expected(&second)].concat();
        prop_assert_eq!(walk(&body), (both, None));
    }

    #[test]
    fn cut_at_every_byte_it_is_an_error_or_a_shorter_request(request in request()) {
        let body = request.encode_to_vec();
        let whole = expected(&request);
        for length in 0..body.len() {
            let (walked, error) = walk(&body[..length]);
            prop_assert!(whole.starts_with(&walked), "{} of {} bytes", length, body.len());
            match error {
                Some(error) => {
                    prop_assert_eq!(error.what, WireFault::Truncated);
                    prop_assert!(error.offset <= length);
                }
                // A cut between two fields leaves a valid request, which prost reads alike.
                None => prop_assert_eq!(walked, expected(&WriteRequest::decode(&body[..length]).unwrap())),
            }
        }
    }

    #[test]
    fn accepts_what_prost_accepts(request in request(), flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut body = request.encode_to_vec();
        prop_assume!(!body.is_empty());
        for (index, byte) in flips {
            let at = index.index(body.len());
            body[at] = byte;
        }
        judge::judge(&body);
        let (walked, error) = walk(&body);
        if let Ok(decoded) = WriteRequest::decode(&body[..]) {
            match error {
                None => prop_assert_eq!(walked, expected(&decoded)),
                // Groups are the one thing that prost passes over and remote write never has.
                Some(error) => prop_assert_eq!(error.what, WireFault::UnknownWireType),
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in vec(any::<u8>(), 0..200)) {
        judge::judge(&body);
        walk(&body);
        label_fields(&body).for_each(drop);
    }

    #[test]
    fn arbitrary_series_never_panic(inner in vec(prop_oneof![any::<u8>(), 0u8..0x30], 0..100)) {
        let mut body = vec![0x0a];
        prost::encode_length_delimiter(inner.len(), &mut body).unwrap();
        body.extend(inner);
        body.extend([0x0a, 0]);
        judge::judge(&body);
        let (_, error) = walk(&body);
        if let Some(error) = error {
            prop_assert!(error.offset >= 2, "errors within a series count from the start of the body: {}", error);
        }
    }
}
