//! The write endpoint over a real socket, with a real storage behind it.

use prost::Message;
use reqwest::{Client, RequestBuilder};
use ringside_proto::HEADER_SERIES;
use ringside_proto::prometheus::{Histogram, Label, Sample, TimeSeries, WriteRequest};
use ringside_proto::prometheus_v2 as v2;
use ringside_proto::ringside::Reason;
use ringside_tsdb::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::Share;
use crate::data_dir::DataDir;
use crate::http::status::{self, TsdbStatus};
use crate::limits::{self, LimitsConfig};
use crate::pressure::disk::{DiskWatch, Space};

/// A served write port.
struct Server {
    address: String,
    tenants: Arc<Tenants>,
    in_flight: InFlight,
    readiness: Readiness,
    pressure: Arc<Pressure>,
    metrics: Arc<Metrics>,
    dir: tempfile::TempDir,
    _stop: tokio_util::sync::DropGuard,
}

impl Server {
    async fn start() -> Self {
        Self::limited("").await
    }

    /// With a limits file.
    async fn limited(yaml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (metrics, _) = Metrics::new();
        let default_tenant = TenantId::parse("default-tenant").unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        let options = Options::default();
        let config = LimitsConfig::parse(yaml).unwrap();
        let limits = Arc::new(Limits::new(config, Arc::clone(&options.series_budget), Arc::clone(&metrics)));
        let tenants =
            Tenants::start(data, options, default_tenant.clone(), Arc::clone(&limits), Arc::clone(&metrics))
                .unwrap();
        tenants.replayed().await;
        let pressure = Arc::new(Pressure::new(Arc::clone(&metrics)));
        let tsdb_status = Arc::new(TsdbStatus {
            tenants: Arc::clone(&tenants),
            cardinalities: Arc::default(),
            tenant_header: HeaderName::from_static("thanos-tenant"),
            default_tenant: default_tenant.clone(),
        });
        let in_flight = InFlight::new(limits::IN_FLIGHT_BYTES_MAX);
        let readiness = Readiness::new(Arc::clone(&metrics));
        readiness.set(true);
        let receive = Receive {
            tenants: Arc::clone(&tenants),
            tenant_header: HeaderName::from_static("thanos-tenant"),
            default_tenant,
            in_flight: in_flight.clone(),
            limits,
            pressure: Arc::clone(&pressure),
            cardinalities: Arc::clone(&tsdb_status.cardinalities),
            buffers: BufferPool::default(),
            appends: TaskTracker::new(),
            metrics: Arc::clone(&metrics),
            faults: Throttle::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let router = router(Arc::new(receive), readiness.clone()).merge(status::receive_router(tsdb_status));
        tokio::spawn(crate::http::serve(listener, router, stop.clone(), std::time::Duration::ZERO));
        Self { address, tenants, in_flight, readiness, pressure, metrics, dir, _stop: stop.drop_guard() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A POST as Prometheus sends it.
    fn post(&self, body: impl Into<reqwest::Body>) -> RequestBuilder {
        Client::new()
            .post(self.url("/api/v1/receive"))
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", "snappy")
            .header("x-prometheus-remote-write-version", "0.1.0")
            .body(body)
    }

    async fn answer(&self, body: impl Into<reqwest::Body>) -> (u16, String) {
        answer(self.post(body)).await
    }

    fn samples(&self, tenant: &str) -> u64 {
        match self.tenants.lookup(&TenantId::parse(tenant).unwrap()).unwrap() {
            Lookup::Open(tsdb) => tsdb.stats().counters.samples_appended,
            Lookup::Absent => panic!("no such tenant"),
        }
    }
}

async fn answer(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn series(name: &str, samples: &[(i64, f64)]) -> TimeSeries {
    TimeSeries {
        labels: vec![Label { name: "__name__".to_owned(), value: name.to_owned() }],
        samples: samples.iter().map(|&(timestamp, value)| Sample { value, timestamp }).collect(),
        ..TimeSeries::default()
    }
}

fn body(series: Vec<TimeSeries>) -> Vec<u8> {
    snappy(&WriteRequest { timeseries: series, metadata: Vec::new() }.encode_to_vec())
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

#[tokio::test]
async fn stores_for_the_tenant_and_takes_the_same_again() {
    let server = Server::start().await;
    let request = body(vec![series("a", &[(1000, 1.0)]), series("b", &[(1000, 2.0)])]);
    for _ in 0..2 {
        assert_eq!(server.answer(request.clone()).await, (200, String::new()));
    }
    assert_eq!(server.samples("default-tenant"), 2);

    let for_acme = server.post(request).header("THANOS-TENANT", "acme");
    assert_eq!(answer(for_acme).await, (200, String::new()));
    assert_eq!(server.samples("acme"), 2);
    assert!(server.dir.path().join("acme/wal").is_dir());
    assert_eq!(server.in_flight.used_bytes(), 0);
}

#[tokio::test]
async fn all_paths_over_both_protocols() {
    let server = Server::start().await;
    let cleartext_http2 = Client::builder().http2_prior_knowledge().build().unwrap();
    for (n, path) in (1..).zip(WRITE_PATHS) {
        let request = body(vec![series("a", &[(n, 1.0)])]);
        for client in [&Client::new(), &cleartext_http2] {
            let response = client.post(server.url(path)).body(request.clone()).send().await.unwrap();
            assert_eq!(response.status(), 200, "{path}");
        }
    }
    assert_eq!(server.samples("default-tenant"), 3);
    assert_eq!(answer(Client::new().get(server.url("/-/ready"))).await, (200, "OK\n".to_owned()));
    server.readiness.set(false);
    assert_eq!(answer(Client::new().get(server.url("/-/ready"))).await.0, 503);
    assert_eq!(answer(Client::new().get(server.url("/-/healthy"))).await.0, 200);
    assert_eq!(answer(Client::new().get(server.url("/elsewhere"))).await.0, 404);
}

#[tokio::test]
async fn whoever_balances_learns_of_a_disk_that_hangs() {
    let server = Server::start().await;
    let mut write = server.in_flight.reserve();
    let health = || answer(Client::new().get(server.url("/-/healthy")));
    write.begin_work(Instant::now().checked_sub(STALLED_AFTER / 2).unwrap());
    assert_eq!(health().await.0, 200, "it may be a slow one");
    write.begin_work(Instant::now().checked_sub(STALLED_AFTER).unwrap());
    let (status, message) = health().await;
    assert!(status == 503 && message.contains("waiting for the disk for 5 s"), "{status} {message}");
    drop(write);
    assert_eq!(health().await.0, 200);
}

#[tokio::test]
async fn refused_series_are_listed_and_the_others_stored() {
    let server = Server::start().await;
    server.answer(body(vec![series("a", &[(5000, 1.0)])])).await;
    let request =
        body(vec![series("a", &[(5000, 2.0)]), series("b", &[(1, 1.0)]), series("a", &[(-700_000, 1.0)])]);
    let response = server.post(request.clone()).header(HEADER_REFUSALS, "1").send().await.unwrap();
    assert_eq!(response.status(), 409);
    assert_eq!(response.headers()["content-type"], CONTENT_TYPE_REFUSED);
    let refused = WriteRefused::decode(response.bytes().await.unwrap()).unwrap();
    let list: Vec<_> = refused.series.iter().map(|s| (s.index, s.reason())).collect();
    assert_eq!(list, [(0, Reason::DuplicateTimestamp), (2, Reason::TooOld)]);
    assert!(refused.message.starts_with("2 of 3 series refused"), "{}", refused.message);
    assert_eq!(server.samples("default-tenant"), 2);

    let (status, message) = server.answer(request).await;
    assert_eq!(status, 409);
    assert!(message.contains("series 0: duplicate sample"), "{message}");
}

#[tokio::test]
async fn the_worst_refusal_sets_the_status() {
    let server = Server::start().await;
    server.answer(body(vec![series("a", &[(5000, 1.0)])])).await;
    let mut histogram = series("h", &[]);
    histogram.histograms.push(Histogram { schema: 99, ..Histogram::default() });
    let (status, message) =
        server.answer(body(vec![series("a", &[(-700_000, 1.0)]), histogram.clone()])).await;
    assert_eq!(status, 400, "{message}");
    let (status, message) = server.answer(body(vec![histogram])).await;
    assert_eq!(status, 400);
    assert!(message.contains("series 0: histogram schema 99"), "{message}");
    let empty_label_set = TimeSeries { labels: Vec::new(), ..series("", &[(1, 1.0)]) };
    assert_eq!(server.answer(body(vec![empty_label_set])).await.0, 400);
}

/// What is written is said on every answer to remote write 2.0, and to a filter that asks.
#[tokio::test]
async fn what_is_written_is_counted() {
    let server = Server::start().await;
    let written = |response: &reqwest::Response| {
        HEADERS_WRITTEN.map(|name| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned()))
    };
    let counts = |counts: [u64; 3]| counts.map(|count| Some(count.to_string()));
    let first = v2::TimeSeries {
        labels_refs: vec![1, 2],
        samples: vec![v2::Sample { value: 1.0, timestamp: 5000, start_timestamp: 0 }],
        exemplars: vec![v2::Exemplar { labels_refs: vec![3, 4], value: 1.0, timestamp: 5000 }],
        ..v2::TimeSeries::default()
    };
    let odd = v2::TimeSeries { labels_refs: vec![1], ..first.clone() };
    let histogram = v2::TimeSeries {
        // Unsorted, and one that is dropped.
        labels_refs: vec![3, 4, 1, 4, 5, 0],
        histograms: vec![v2::Histogram { timestamp: 5000, ..v2::Histogram::default() }],
        ..v2::TimeSeries::default()
    };
    let symbols = ["", "__name__", "a", "trace", "b", "empty"].map(str::to_owned).to_vec();
    let request = |timeseries| snappy(&v2::Request { symbols: symbols.clone(), timeseries }.encode_to_vec());
    let post = |body: Vec<u8>| server.post(body).header("content-type", Protocol::V2.content_type());
    let send = async |request: RequestBuilder| request.send().await.unwrap();

    let response = send(post(request(vec![first.clone(), histogram.clone()]))).await;
    assert_eq!((response.status().as_u16(), written(&response)), (204, counts([1, 1, 1])));
    let response = send(post(request(vec![first.clone(), odd, histogram]))).await;
    assert_eq!((response.status().as_u16(), written(&response)), (400, counts([1, 1, 1])));
    let message = response.text().await.unwrap();
    assert!(message.contains("series 1: the label references are odd in number"), "{message}");
    let response = send(post(snappy(b"nonsense"))).await;
    assert_eq!((response.status().as_u16(), written(&response)), (400, counts([0, 0, 0])));

    // Another value: a sender is told 400, whoever asks for the list 409.
    let mut other = first;
    other.samples[0].value += 1.0;
    let other = request(vec![other]);
    let response = send(post(other.clone())).await;
    assert_eq!((response.status().as_u16(), written(&response)), (400, counts([0, 0, 1])));
    let response = send(post(other).header(HEADER_REFUSALS, "1")).await;
    assert_eq!((response.status().as_u16(), written(&response)), (409, counts([0, 0, 1])));

    let body = body(vec![series("c", &[(1, 1.0)])]);
    let response = send(server.post(body.clone())).await;
    assert_eq!((response.status().as_u16(), written(&response)), (200, [None, None, None]));
    assert_eq!(response.headers().get(HEADER_SERIES), None);
    let response = send(server.post(body).header(HEADER_REFUSALS, "1")).await;
    assert_eq!((response.status().as_u16(), written(&response)), (200, counts([1, 0, 0])));
    assert_eq!(response.headers()[HEADER_SERIES], "1");
    assert_eq!(server.samples("default-tenant"), 3);
}

#[tokio::test]
async fn garbage_is_refused_and_stores_nothing() {
    let server = Server::start().await;
    let proto =
        WriteRequest { timeseries: vec![series("a", &[(1, 1.0)]); 3], metadata: Vec::new() }.encode_to_vec();
    for (name, body, status, part) in [
        ("empty", Vec::new(), 400, "empty"),
        ("no snappy", b"hello, this is not snappy".to_vec(), 400, "snappy"),
        ("4 GiB declared", vec![0xff, 0xff, 0xff, 0xff, 0x0f], 413, "decompressed"),
        ("33 MiB", snappy(&vec![0; 33 << 20]), 413, "decompressed"),
        ("torn protobuf", snappy(&proto[..proto.len() - 3]), 400, "byte"),
        ("wrong wire type", snappy(&[0x08, 0x01]), 400, "byte"),
        ("text", snappy(b"some text that is no protobuf at all"), 400, "byte"),
    ] {
        let (got, message) = answer(server.post(body).header("THANOS-TENANT", "garbage")).await;
        assert_eq!(got, status, "{name}: {message}");
        assert!(message.contains(part), "{name}: {message}");
    }
    assert!(!server.dir.path().join("garbage").exists(), "garbage creates no tenant");
    assert_eq!(server.samples("default-tenant"), 0);
    assert_eq!(server.in_flight.used_bytes(), 0);
    assert_eq!(server.answer(snappy(&[])).await.0, 200, "an empty message is well-formed");
}

#[tokio::test]
async fn headers_are_judged() {
    let server = Server::start().await;
    let good = || body(vec![series("a", &[(1, 1.0)])]);
    let bare = || Client::new().post(server.url("/api/v1/receive")).body(good());
    assert_eq!(answer(bare()).await.0, 200, "type and encoding may be absent");
    assert_eq!(answer(bare().header("content-type", "application/json")).await.0, 415);
    assert_eq!(answer(bare().header("content-encoding", "gzip")).await.0, 415);
    for tenant in ["..", "a/b", "", "x".repeat(151).as_str(), "a b"] {
        let (status, message) = answer(bare().header("THANOS-TENANT", tenant)).await;
        let expected = if tenant.is_empty() { 200 } else { 400 };
        assert_eq!(status, expected, "{tenant}: {message}");
    }
    let response = Client::new().get(server.url("/api/v1/receive")).send().await.unwrap();
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "POST");
}

/// 413 comes from the Content-Length alone: the body is never sent.
#[tokio::test]
async fn a_body_that_declares_too_much_is_refused_unread() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let head = format!(
        "POST /api/v1/receive HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
        limits::BODY_BYTES_MAX + 1
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

/// A chunked body has no Content-Length: it is cut off at the limit.
#[tokio::test]
async fn a_chunked_body_is_refused_at_the_limit() {
    let server = Server::start().await;
    let chunks = futures::stream::iter((0..).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![0; 1 << 20]))));
    let response = Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap()
        .post(server.url("/api/v1/receive"))
        .body(reqwest::Body::wrap_stream(chunks))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(server.in_flight.used_bytes(), 0);
}

#[tokio::test]
async fn beyond_the_bytes_in_flight_writes_are_told_to_come_back() {
    let server = Server::start().await;
    let request = body(vec![series("a", &[(1, 1.0)])]);
    let mut all = server.in_flight.reserve();
    assert!(all.grow(limits::IN_FLIGHT_BYTES_MAX));
    let response = server.post(request.clone()).send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    drop(all);
    assert_eq!(server.answer(request).await.0, 200);
}

#[tokio::test]
async fn a_closing_sidecar_answers_503() {
    let server = Server::start().await;
    server.tenants.close().await;
    let (status, message) = server.answer(body(vec![series("a", &[(1, 1.0)])])).await;
    assert_eq!(status, 503);
    assert!(message.contains("shutting down"), "{message}");
}

#[tokio::test]
async fn requests_beyond_their_limits_are_refused_whole() {
    let server = Server::limited(
        "write: {default: {request: {size_bytes_limit: 300, series_limit: 3, samples_limit: 5}}, \
         tenants: {free: {request: {size_bytes_limit: 0, series_limit: 0, samples_limit: 0}}}}",
    )
    .await;
    let many_series = body((0..4).map(|n| series(&format!("m{n}"), &[(1, 1.0)])).collect());
    let many_samples = body(vec![series("m", &[(1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0), (5, 1.0), (6, 1.0)])]);
    let long = series(&"m".repeat(400), &[(1, 1.0)]);
    let noise: String = (0..400_u32).map(|n| char::from(b'!' + (n * n * 31 % 89) as u8)).collect();
    for (request, got, message) in [
        (many_series.clone(), 413, "4 series, more than 3"),
        (many_samples.clone(), 413, "6 samples, more than 5"),
        (body(vec![long.clone()]), 413, "bytes, more than 300"),
        (body(vec![series(&noise, &[(1, 1.0)])]), 413, "bytes, more than 300"),
        (body(vec![series("m", &[(1, 1.0)])]), 200, ""),
    ] {
        let (status, text) = server.answer(request.clone()).await;
        assert_eq!(status, got, "{text}");
        assert!(text.contains(message) && (status == 200 || text.contains("default-tenant")), "{text}");
        assert_eq!(answer(server.post(request).header("THANOS-TENANT", "free")).await.0, 200);
    }
    assert_eq!(server.samples("default-tenant"), 1);
    let chunked = reqwest::Body::wrap_stream(futures::stream::iter([Ok::<_, std::io::Error>(vec![0; 301])]));
    assert_eq!(server.answer(chunked).await.0, 413);
    assert_eq!(server.in_flight.used_bytes(), 0);
}

#[tokio::test]
async fn new_series_beyond_the_limit_are_told_where_the_others_are() {
    let server = Server::limited(
        "write: {global: {head_series_limit: 5}, default: {head_series_limit: 3}, \
         tenants: {big: {head_series_limit: 0}}}",
    )
    .await;
    let of = |code: &str, t: i64| {
        let mut series = series("http_requests_total", &[(t, 1.0)]);
        series.labels.push(Label { name: "code".to_owned(), value: code.to_owned() });
        series
    };
    let known = || vec![series("up", &[(1, 1.0)]), of("200", 1), of("500", 1)];
    assert_eq!(server.answer(body(known())).await.0, 200);
    let mut more = known();
    more.push(series("new", &[(1, 1.0)]));
    more.push(series("up", &[(2, 1.0)]));
    let response = server.post(body(more)).header(HEADER_REFUSALS, "1").send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
    let refused = WriteRefused::decode(response.bytes().await.unwrap()).unwrap();
    assert_eq!(
        refused.series.iter().map(|s| (s.index, s.reason())).collect::<Vec<_>>(),
        [(3, Reason::Limit)]
    );
    for part in ["its 3 series", "tenant default-tenant has 3", "(2) of metric http_requests_total"] {
        assert!(refused.message.contains(part), "{part} is not in {}", refused.message);
    }
    assert_eq!(server.samples("default-tenant"), 4, "known series are taken");
    let labels = TenantLabels { tenant: TenantId::parse("default-tenant").unwrap() };
    assert_eq!(server.metrics.head_series_limited.get_or_create(&labels).get(), 1);

    let for_big = body((0..3).map(|n| series(&format!("m{n}"), &[(1, 1.0)])).collect());
    let (status, message) = answer(server.post(for_big).header("THANOS-TENANT", "big")).await;
    assert_eq!(status, 429);
    assert!(message.contains("1 of 3 series refused") && message.contains("all tenants"), "{message}");
}

#[tokio::test]
async fn labels_beyond_their_limits_are_named() {
    let server = Server::limited(
        "write: {default: {labels_per_series_limit: 2, label_name_bytes_limit: 8, label_value_bytes_limit: 6}}",
    )
    .await;
    let with = |name: &str, value: &str| {
        let mut series = series("up", &[(1, 1.0)]);
        series.labels.push(Label { name: name.to_owned(), value: value.to_owned() });
        series
    };
    let mut three = with("a", "b");
    three.labels.push(Label { name: "c".to_owned(), value: "d".to_owned() });
    for (series, message) in [
        (with("zone_name", "x"), "9 bytes in a label name, more than 8: zone_name in up"),
        (with("zone", "north-1"), "7 bytes in a label value, more than 6: zone in up"),
        (three, "3 labels, more than 2"),
    ] {
        let (status, text) = server.answer(body(vec![series])).await;
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(message), "{text}");
    }
    assert_eq!(server.answer(body(vec![with("zone", "n-1")])).await.0, 200);
}

#[tokio::test]
async fn a_full_disk_makes_it_read_only_and_room_makes_it_writable() {
    let server = Server::start().await;
    let (pressure, metrics) = (Arc::clone(&server.pressure), Arc::clone(&server.metrics));
    let watch = |free| {
        let space = move || Ok(Space { free, total: 1000 });
        DiskWatch::new(Share::Bytes(100), space, Arc::clone(&pressure), Arc::clone(&metrics));
    };
    let request = || body(vec![series("a", &[(1, 1.0)])]);
    watch(99);
    let response = server.post(request()).send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert!(response.text().await.unwrap().contains("disk is nearly full"));
    assert_eq!(server.samples("default-tenant"), 0);
    watch(200);
    assert_eq!(server.answer(request()).await.0, 200);
}

/// Where the filter does not look into a body, the sidecar holds it against the filter's limits.
#[tokio::test]
async fn limits_of_the_filter_are_enforced() {
    let server = Server::start().await;
    let request = body(vec![series("up", &[(1, 1.0)]), series("too_long", &[(1, 1.0)])]);
    let with = |limits: &'static str| answer(server.post(request.clone()).header(HEADER_LIMITS, limits));
    let (status, message) = with("series_per_request=1").await;
    assert_eq!(status, 413, "{message}");
    let (status, message) = with("label_value_bytes=4").await;
    assert_eq!(status, 400);
    assert!(message.contains("series 1: a label value of 8 bytes, more than 4 in too_long{}"), "{message}");
    assert_eq!(server.samples("default-tenant"), 1, "the other series is stored");
    assert_eq!(with("labels_per_series=1,label_name_bytes=8,label_value_bytes=8").await.0, 200);
    assert_eq!(with("of_a_newer_filter=1").await.0, 200);
}
