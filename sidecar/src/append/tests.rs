//! Bodies into a real storage: what is stored, what is refused, and that a malformed body stores nothing.

use prost::Message;
use ringside_proto::prometheus::{
    Exemplar, Histogram, Label, MetricMetadata, Sample, WriteRequest, histogram,
};
use ringside_proto::prometheus_v2 as v2;
use ringside_proto::remote_write::time_series;
use ringside_proto::remote_write_v2::{EXPANDED_BYTES_MAX, LABEL_BYTES_MAX};
use ringside_proto::ringside::Reason;
use ringside_tsdb::Options;

use super::outcome::{MESSAGE_BYTES_MAX, truncate};
use super::*;
use ringside_proto::REFUSED_LISTED_MAX;

type Series = ringside_proto::prometheus::TimeSeries;

fn series(name: &str, samples: &[(i64, f64)]) -> Series {
    let label = |name: &str, value: &str| Label { name: name.to_owned(), value: value.to_owned() };
    Series {
        labels: vec![label("__name__", name), label("job", "test")],
        samples: samples.iter().map(|&(timestamp, value)| Sample { value, timestamp }).collect(),
        ..Series::default()
    }
}

fn body(series: Vec<Series>) -> Vec<u8> {
    WriteRequest { timeseries: series, metadata: Vec::new() }.encode_to_vec()
}

fn check_v1(body: &[u8]) -> Result<Totals, WriteError> {
    check(body, Protocol::V1)
}

fn tsdb() -> (tempfile::TempDir, Tsdb) {
    let dir = tempfile::tempdir().unwrap();
    let tsdb = Tsdb::open(dir.path(), Options::default()).unwrap();
    (dir, tsdb)
}

fn reasons(outcome: &Outcome) -> Vec<(u32, Reason)> {
    outcome.refused.iter().map(|r| (r.index, r.reason())).collect()
}

#[test]
fn stores_and_takes_a_retry() {
    let (_dir, tsdb) = tsdb();
    let body = body(vec![series("a", &[(1000, 1.0), (2000, f64::NAN)]), series("b", &[(1000, -0.0)])]);
    for _ in 0..2 {
        assert_eq!(store(&body, &tsdb).unwrap(), Outcome::default());
    }
    let stats = tsdb.stats();
    assert_eq!((stats.series, stats.counters.samples_appended), (2, 3));
}

#[test]
fn refusals_are_by_series_and_the_rest_is_stored() {
    let (_dir, tsdb) = tsdb();
    store(&body(vec![series("a", &[(5000, 1.0)]), series("b", &[(5000, 1.0)])]), &tsdb).unwrap();
    let mut invalid = series("c", &[(5000, 1.0)]);
    invalid.labels[1].name = "__name__".to_owned();
    let mut histogram = series("d", &[(5000, 1.0)]);
    histogram.histograms.push(Histogram { schema: 99, ..Histogram::default() });
    let request = vec![
        series("a", &[(-700_000, 1.0), (5000, 2.0), (6000, 3.0)]),
        series("e", &[(5000, 1.0)]),
        invalid,
        series("b", &[(5000, 2.0)]),
        histogram,
        Series { labels: Vec::new(), ..series("", &[(5000, 1.0)]) },
        Series::default(),
    ];
    let outcome = store(&body(request), &tsdb).unwrap();
    assert_eq!(
        reasons(&outcome),
        [
            (0, Reason::TooOld),
            (2, Reason::Invalid),
            (3, Reason::DuplicateTimestamp),
            (4, Reason::Invalid),
            (5, Reason::Invalid),
            (6, Reason::Invalid),
        ]
    );
    assert_eq!(outcome.worst, Some(Reason::Invalid));
    assert!(outcome.first.as_deref().unwrap().starts_with(
        "series 0: too old sample: -700000 is older than the oldest accepted time -595000 in a{"
    ));
    // Before: a and b; now the last sample of a, e, and the float of d.
    assert_eq!(tsdb.stats().counters.samples_appended, 5);
    let missing: Vec<_> = outcome.refused.iter().map(|r| (r.samples_missing, r.histograms_missing)).collect();
    assert_eq!(missing, [(2, 0), (1, 0), (1, 0), (0, 1), (1, 0), (0, 0)]);
    assert_eq!(outcome.missing, Contents { samples: 5, histograms: 1, exemplars: 0 });
}

/// A histogram of each kind, a stale marker, an exemplar.
#[test]
fn every_kind_of_sample() {
    let dir = tempfile::tempdir().unwrap();
    let tsdb = Tsdb::open(dir.path(), Options { exemplars_max: 10, ..Options::default() }).unwrap();
    let mut all = series("a", &[(1000, 1.0), (2000, f64::from_bits(ringside_tsdb::STALE_NAN))]);
    let float = Histogram { count: Some(histogram::Count::CountFloat(0.0)), ..Histogram::default() };
    all.histograms =
        vec![Histogram { timestamp: 3000, ..Histogram::default() }, Histogram { timestamp: 4000, ..float }];
    let label = Label { name: "trace".to_owned(), value: "x".to_owned() };
    all.exemplars = vec![Exemplar { labels: vec![label], value: 1.0, timestamp: 1000 }];
    let mut bad = series("b", &[(1000, 1.0)]);
    let long = Label { name: "trace".to_owned(), value: "x".repeat(200) };
    bad.exemplars = vec![Exemplar { labels: vec![long], value: 1.0, timestamp: 1000 }];
    let body = body(vec![all, bad]);
    let contents = check_v1(&body).unwrap().contents;
    assert_eq!(contents, Contents { samples: 3, histograms: 2, exemplars: 2 });
    for _ in 0..2 {
        let outcome = store(&body, &tsdb).unwrap();
        assert_eq!(reasons(&outcome), [(1, Reason::Invalid)]);
        assert_eq!(outcome.missing, Contents { samples: 0, histograms: 0, exemplars: 1 });
    }
    let counters = tsdb.stats().counters;
    assert_eq!((counters.samples_appended, counters.histograms_appended), (5, 2));
    assert_eq!(tsdb.exemplars().unwrap().len(), 1);
    // Without its only sample there is no series to keep an exemplar of.
    let mut early = series("c", &[(i64::MAX, 1.0)]);
    early.exemplars = vec![Exemplar { labels: Vec::new(), value: 1.0, timestamp: 1000 }];
    let outcome = store(&self::body(vec![early]), &tsdb).unwrap();
    assert_eq!(reasons(&outcome), [(0, Reason::OutOfBounds)]);
    assert_eq!(outcome.missing, Contents { samples: 1, histograms: 0, exemplars: 1 });
    assert_eq!(outcome.refused[0].exemplars_missing, 1);
}

#[test]
fn labels_between_other_fields_name_the_same_series() {
    let (_dir, tsdb) = tsdb();
    store(&body(vec![series("a", &[(1000, 1.0)])]), &tsdb).unwrap();
    let all = series("a", &[(2000, 2.0)]);
    let part = |labels: &[Label], samples: Vec<Sample>| {
        Series { labels: labels.to_vec(), samples, ..Series::default() }.encode_to_vec()
    };
    // Label, sample, label: valid protobuf that no usual sender writes.
    let message = [part(&all.labels[..1], all.samples.clone()), part(&all.labels[1..], Vec::new())].concat();
    let mut body = vec![0x0a, u8::try_from(message.len()).unwrap()];
    body.extend_from_slice(&message);
    assert_eq!(check_v1(&body).unwrap().contents.samples, 1);
    assert_eq!(store(&body, &tsdb).unwrap(), Outcome::default());
    let stats = tsdb.stats();
    assert_eq!((stats.series, stats.counters.samples_appended), (1, 2));
}

#[test]
fn contents_are_counted_and_nothing_is_created_without_samples() {
    let (_dir, tsdb) = tsdb();
    let mut only_exemplars = series("a", &[]);
    only_exemplars.exemplars.push(Exemplar::default());
    let metadata = MetricMetadata { help: "help".to_owned(), ..MetricMetadata::default() };
    let metadata_bytes = metadata.encoded_len() as u64 + 2;
    let body =
        WriteRequest { timeseries: vec![only_exemplars, series("b", &[(1, 1.0)])], metadata: vec![metadata] }
            .encode_to_vec();
    let totals = check_v1(&body).unwrap();
    let contents = Contents { samples: 1, histograms: 0, exemplars: 1 };
    assert_eq!(totals, Totals { series: 2, contents, other_bytes: metadata_bytes });
    assert_eq!(store(&body, &tsdb).unwrap(), Outcome::default());
    assert_eq!(tsdb.stats().series, 1);
    assert_eq!(check_v1(&[]).unwrap(), Totals::default());
}

/// Cut anywhere, a body is either refused by the check or a whole prefix of its series.
#[test]
fn a_truncated_body_is_refused_with_its_offset() {
    let whole = body(vec![series("a", &[(1, 1.0)]), series("b", &[(1, 1.0), (2, 2.0)])]);
    let boundaries: Vec<usize> = time_series(&whole)
        .scan(0, |end, series| {
            *end += series.unwrap().field().len();
            Some(*end)
        })
        .collect();
    for cut in 1..whole.len() {
        match check_v1(&whole[..cut]) {
            Ok(_) => assert!(boundaries.contains(&cut), "cut at {cut}"),
            Err(WriteError::Protobuf(error)) => assert!(error.offset <= cut, "{error}"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// References of a byte that stand for MiBs: what is written of them, and the work that they make, is bounded.
#[test]
fn what_references_stand_for_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { exemplars_max: 10, ..Options::default() };
    let tsdb = Tsdb::open(dir.path(), options).unwrap();
    let long = "x".repeat(LABEL_BYTES_MAX - 8);
    let symbols = ["", "__name__", &long, "b"].map(str::to_owned);
    let series = |labels_refs: Vec<u32>, exemplar: Vec<u32>| v2::TimeSeries {
        labels_refs,
        samples: vec![v2::Sample { value: 1.0, timestamp: 5, start_timestamp: 0 }],
        exemplars: vec![v2::Exemplar { labels_refs: exemplar, value: 1.0, timestamp: 5 }],
        ..Default::default()
    };
    let request = |timeseries| v2::Request { symbols: symbols.to_vec(), timeseries }.encode_to_vec();
    let take = |body: &[u8]| -> Result<Outcome, WriteError> {
        append(body, Protocol::V2, &tsdb, |_| Ok(ContentLimits::default())).map(|(_, outcome)| outcome)
    };
    let many = |pair: [u32; 2]| pair.repeat(4_000_000);
    let body = request(vec![
        series(vec![1, 3], vec![]),
        series([vec![1, 3], many([2, 2])].concat(), vec![]),
        series(vec![1, 3], many([2, 2])),
        series(vec![1, 3], many([0, 0])),
    ]);
    let outcome = take(&body).unwrap();
    assert_eq!(reasons(&outcome), [1, 2, 3].map(|index| (index, Reason::Invalid)));

    let most = EXPANDED_BYTES_MAX / LABEL_BYTES_MAX;
    assert!(check(&request(vec![series(vec![1, 2], vec![]); most]), Protocol::V2).is_ok());
    let error = check(&request(vec![series(vec![1, 2], vec![]); 500_000]), Protocol::V2).unwrap_err();
    assert_eq!(error.status(), axum::http::StatusCode::PAYLOAD_TOO_LARGE, "{error}");
}

/// An exemplar that would become very large in memory is not decoded.
#[test]
fn exemplars_of_very_many_labels_are_refused() {
    let (_dir, tsdb) = tsdb();
    let mut long = series("a", &[(5000, 1.0)]);
    long.exemplars.push(Exemplar { labels: vec![Label::default(); 1_000_000], value: 1.0, timestamp: 5 });
    assert_eq!(reasons(&store(&body(vec![long]), &tsdb).unwrap()), [(0, Reason::Invalid)]);
}

#[test]
fn long_messages_are_cut() {
    let mut message = "ä".repeat(MESSAGE_BYTES_MAX);
    truncate(&mut message, MESSAGE_BYTES_MAX - 1);
    assert!(message.ends_with('…') && message.len() <= MESSAGE_BYTES_MAX + 2);
}

#[test]
fn a_flood_of_refusals_is_counted_and_not_listed() {
    let (_dir, tsdb) = tsdb();
    let series = REFUSED_LISTED_MAX + 7;
    let outcome = store(&[0x0a, 0x00].repeat(series), &tsdb).unwrap();
    assert_eq!((outcome.refused_count, outcome.refused.len()), (series as u64, REFUSED_LISTED_MAX));
    assert_eq!(outcome.worst, Some(Reason::Invalid));
}
