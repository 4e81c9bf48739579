//! The write endpoint over a real socket, with a real storage behind it.

use prost::Message;
use reqwest::{Client, RequestBuilder};
use ringside_proto::prometheus::{Histogram, Label, Sample, TimeSeries, WriteRequest};
use ringside_proto::ringside::Reason;
use ringside_tsdb::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::data_dir::DataDir;
use crate::limits;

/// A served write port.
struct Server {
    address: String,
    tenants: Arc<Tenants>,
    in_flight: InFlight,
    readiness: Readiness,
    dir: tempfile::TempDir,
    _stop: tokio_util::sync::DropGuard,
}

impl Server {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (metrics, _) = Metrics::new();
        let default_tenant = TenantId::parse("default-tenant").unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        let options = Options::default();
        let tenants = Tenants::start(data, options, default_tenant.clone(), Arc::clone(&metrics)).unwrap();
        tenants.replayed().await;
        let in_flight = InFlight::new(limits::IN_FLIGHT_BYTES_MAX);
        let readiness = Readiness::new(Arc::clone(&metrics));
        readiness.set(true);
        let receive = Receive {
            tenants: Arc::clone(&tenants),
            tenant_header: HeaderName::from_static("thanos-tenant"),
            default_tenant,
            in_flight: in_flight.clone(),
            buffers: BufferPool::default(),
            appends: TaskTracker::new(),
            metrics,
            faults: Throttle::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let router = router(Arc::new(receive), readiness.clone());
        tokio::spawn(crate::http::serve(listener, router, stop.clone(), std::time::Duration::ZERO));
        Self { address, tenants, in_flight, readiness, dir, _stop: stop.drop_guard() }
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
async fn refused_series_are_listed_and_the_others_stored() {
    let server = Server::start().await;
    server.answer(body(vec![series("a", &[(5000, 1.0)])])).await;
    let request =
        body(vec![series("a", &[(5000, 2.0)]), series("b", &[(1, 1.0)]), series("a", &[(4000, 1.0)])]);
    let response = server.post(request.clone()).header(HEADER_REFUSALS, "1").send().await.unwrap();
    assert_eq!(response.status(), 409);
    assert_eq!(response.headers()["content-type"], CONTENT_TYPE_REFUSED);
    let refused = WriteRefused::decode(response.bytes().await.unwrap()).unwrap();
    let list: Vec<_> = refused.series.iter().map(|s| (s.index, s.reason())).collect();
    assert_eq!(list, [(0, Reason::DuplicateTimestamp), (2, Reason::OutOfOrder)]);
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
    histogram.histograms.push(Histogram::default());
    let (status, message) = server.answer(body(vec![series("a", &[(4000, 1.0)]), histogram.clone()])).await;
    assert_eq!(status, 400, "{message}");
    let (status, message) = server.answer(body(vec![histogram])).await;
    assert_eq!(status, 400);
    assert!(message.contains("native histograms are not supported yet"), "{message}");
    let empty_label_set = TimeSeries { labels: Vec::new(), ..series("", &[(1, 1.0)]) };
    assert_eq!(server.answer(body(vec![empty_label_set])).await.0, 400);
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
