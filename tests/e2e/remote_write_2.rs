//! Topology: a client → Envoy with the filter → sidecars, RF=3: three, to which bodies go unchanged, and five.
//!
//! What a receiver owes to senders of remote write 2.0 beyond the cases of the public compliance suite, which are beside
//! this file, with the labels of each series in any order: what is well formed is written and counted exactly, what is
//! not is refused with counts, and a sender of 1.0 hears of no counts.

use anyhow::{Context, Result, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::cluster::{Cluster, Layout};
use ringside_e2e::contents::{Contents, Labels};
use ringside_e2e::generator::Sender;
use ringside_e2e::scratch::Scratch;
use ringside_e2e::wire::{self, Counts, Histogram};
use ringside_e2e::wire_v2::{CONTENT_TYPE as V2, Data, Pairs, Request, WRITTEN, pairs};

const TENANT: &str = "team-v2";

/// A request and what is owed to it.
struct Case {
    name: &'static str,
    request: Request,
    status: u16,
    written: [u64; 3],
    /// The float samples that are stored of it.
    stored: Vec<(Labels, i64, f64)>,
}

/// The labels of a series of its case, not in order.
fn shuffled(case: &str, number: usize) -> Pairs {
    let mut labels = pairs(&[("job", "test"), ("__name__", "up"), ("zone", "a"), ("case", case)]);
    labels.insert(number % 5, ("number".to_owned(), number.to_string()));
    labels.rotate_left(number % 3);
    labels
}

fn floats(samples: &[(i64, f64)]) -> Data {
    Data { samples: samples.to_vec(), ..Data::default() }
}

/// A request of these series, of which all is written.
fn good(name: &'static str, series: Vec<(Pairs, Data)>) -> Case {
    let mut case =
        Case { name, request: Request::default(), status: 204, written: [0; 3], stored: Vec::new() };
    for (labels, data) in series {
        case.request.series(&labels, &data);
        let counts = [data.samples.len(), data.histograms.len(), data.exemplars.len()];
        (0..3).for_each(|kind| case.written[kind] += counts[kind] as u64);
        let sorted: Labels = labels.into_iter().collect();
        case.stored.extend(data.samples.iter().map(|(t, value)| (sorted.clone(), *t, *value)));
    }
    case
}

fn bad(name: &'static str, status: u16, request: Request) -> Case {
    Case { name, request, status, written: [0; 3], stored: Vec::new() }
}

fn histogram(timestamp: i64) -> Histogram {
    Histogram {
        timestamp,
        counts: Counts::Int { count: 3, zero: 1, negative: vec![], positive: vec![1, 0] },
        sum: 4.5,
        schema: 1,
        zero_threshold: 1e-3,
        positive_spans: vec![(0, 2)],
        ..Histogram::default()
    }
}

fn good_cases(now: i64) -> Vec<Case> {
    let one = |case, number, data| (shuffled(case, number), data);
    let exemplar = (pairs(&[("trace_id", "abc")]), 1.5, now);
    let named = |name: &str| (pairs(&[("case", "names"), ("__name__", name)]), floats(&[(now, 1.0)]));
    vec![
        good(
            "samples in time order",
            vec![one("time", 0, floats(&[(now, 1.0), (now + 1, 2.0), (now + 2, 3.0)]))],
        ),
        good("many series", (0..300).map(|n| one("many", n, floats(&[(now, n as f64)]))).collect()),
        good(
            "odd values",
            [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, f64::MAX]
                .into_iter()
                .enumerate()
                .map(|(n, value)| one("values", n, floats(&[(now, value)])))
                .collect(),
        ),
        good(
            "a stale marker",
            vec![one("stale", 0, floats(&[(now, f64::from_bits(0x7ff0_0000_0000_0002))]))],
        ),
        good("odd names", ["ü.metric", "with space", "with\nnewline", "a.b-c/d"].map(named).into()),
        good(
            "all kinds",
            (0..30)
                .map(|n| match n % 3 {
                    0 => one("mixed", n, floats(&[(now, 1.0), (now + 1, 1.0)])),
                    1 => one("mixed", n, Data { histograms: vec![histogram(now)], ..Data::default() }),
                    _ => one("mixed", n, Data { exemplars: vec![exemplar.clone()], ..floats(&[(now, 2.0)]) }),
                })
                .collect(),
        ),
        good("nothing", vec![]),
    ]
}

fn bad_cases(now: i64) -> Vec<Case> {
    let of = |labels: &[(&str, &str)]| {
        let mut request = Request::default();
        request.series(&pairs(labels), &floats(&[(now, 1.0)]));
        request
    };
    let references = |packed: &[u8]| {
        let mut request = Request::default();
        request.symbol("__name__");
        request.series_of(packed, &floats(&[(now, 1.0)]));
        request
    };
    vec![
        bad("a label twice", 400, of(&[("__name__", "up"), ("a", "1"), ("a", "2")])),
        bad("an empty label name", 400, of(&[("__name__", "up"), ("", "1")])),
        bad("an odd number of references", 400, references(&[1])),
        bad("a reference to nothing", 400, references(&[1, 9])),
        bad("a reference far beyond", 400, references(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f])),
    ]
}

/// Some of it is refused: the others are written, and counted.
fn partial_case(now: i64) -> Case {
    let mut case =
        good("partial", (0..40).map(|n| (shuffled("partial", n), floats(&[(now, 1.0)]))).collect());
    // Known from "many series" with another value.
    case.request.series(&shuffled("many", 7), &floats(&[(now, -1.0)]));
    case.request.series(&pairs(&[("__name__", "up"), ("a", "1"), ("a", "2")]), &floats(&[(now, 1.0)]));
    case.status = 400;
    case
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_of_2_0_gets_what_is_owed() -> Result<()> {
    for sidecars in [3, 5] {
        let scratch = Scratch::new(&format!("remote-write-2-{sidecars}"))?;
        let layout = Layout { sidecars, ..Layout::default() };
        let cluster = Cluster::start(scratch.path(), &layout).await?;
        let url = cluster.envoy.write_url();
        let sender = Sender::new(&url, Some(TENANT))
            .with_header("content-type", V2.as_bytes())
            .with_header("x-prometheus-remote-write-version", b"2.0.0");
        let now = clock::aligned(HOUR, MINUTE)?;
        let mut stored = Contents::default();
        let cases = good_cases(now).into_iter().chain(bad_cases(now)).chain([partial_case(now)]);
        for case in cases {
            let context = || format!("{} of {sidecars} sidecars", case.name);
            expect(&sender, &case).await.with_context(context)?;
            for (labels, timestamp, value) in &case.stored {
                stored.add(labels, *timestamp, *value)?;
            }
            cluster.envoy.wait_idle().await?;
        }
        expect_negotiation(&url, now).await?;
        // Of what is on each sidecar, a series more or a value else would be seen.
        let mut found = Contents::default();
        for sidecar in &cluster.sidecars {
            found.merge(&sidecar.dump(TENANT)?)?;
        }
        stored
            .expect_equal("what was acknowledged", &found.filter(|labels, _| labels.contains_key("case")))?;
        scratch.passed();
    }
    Ok(())
}

async fn expect(sender: &Sender, case: &Case) -> Result<()> {
    let (status, headers, message) = sender.exchange(wire::snappy(&case.request.encode())).await?;
    ensure!(status == case.status, "{status}: {message}");
    ensure!((status == 204) == message.is_empty(), "{status}: {message:?}");
    for (name, expected) in WRITTEN.into_iter().zip(case.written) {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| value.to_str()).collect::<Result<_, _>>()?;
        ensure!(values == [expected.to_string()], "{name}: {values:?}, not {expected}");
    }
    Ok(())
}

/// What is chosen by the content type, and what is said of what is not known.
async fn expect_negotiation(url: &str, now: i64) -> Result<()> {
    let mut v1 = Vec::new();
    wire::series(&mut v1, &Labels::from([("__name__".to_owned(), "v1".to_owned())]), &[(now, 1.0)]);
    let mut v2 = Request::default();
    v2.series(&pairs(&[("__name__", "v2")]), &floats(&[(now, 1.0)]));
    let (v1, v2) = (wire::snappy(&v1), wire::snappy(&v2.encode()));
    let plain = "application/x-protobuf";
    for (content_type, encoding, version, body, status, counted) in [
        (plain, "snappy", "0.1.0", &v1, 200, false),
        ("", "", "", &v1, 200, false),
        (plain, "snappy", "2.0.0", &v1, 200, false),
        ("application/x-protobuf;proto=prometheus.WriteRequest", "snappy", "0.1.0", &v1, 200, false),
        (V2, "snappy", "0.1.0", &v2, 204, true),
        (V2, "", "2.0.0", &v2, 204, true),
        (
            "application/x-protobuf; proto=\"io.prometheus.write.v2.Request\"",
            "snappy",
            "2.0.0",
            &v2,
            204,
            true,
        ),
        ("application/x-protobuf;proto=io.prometheus.write.v3.Request", "snappy", "3.0.0", &v2, 415, false),
        (plain, "gzip", "0.1.0", &v1, 415, false),
    ] {
        let sender = Sender::new(url, Some(TENANT))
            .with_header("content-type", content_type.as_bytes())
            .with_header("content-encoding", encoding.as_bytes())
            .with_header("x-prometheus-remote-write-version", version.as_bytes());
        let (found, headers, message) = sender.exchange(body.clone()).await?;
        ensure!(found == status, "{content_type} {encoding}: {found} {message}");
        let counts = WRITTEN.into_iter().filter(|name| headers.contains_key(*name)).count();
        ensure!(counts == if counted { 3 } else { 0 }, "{content_type} {encoding}: {headers:?}");
    }
    for body in [&b"no snappy"[..], &wire::snappy(b"no protobuf")] {
        let sender = Sender::new(url, Some(TENANT)).with_header("content-type", V2.as_bytes());
        let (status, headers, _) = sender.exchange(body.to_vec()).await?;
        ensure!(status == 400 && WRITTEN.into_iter().all(|name| headers.get(name).is_some_and(|v| v == "0")));
    }
    Ok(())
}
