//! Topologies: a client → Envoy with the filter → three sidecars, RF=3, where bodies pass through
//! unchanged and the sidecars judge them; four sidecars, RF=3, where the filter takes them apart; and a
//! client → one sidecar directly.
//!
//! Garbage of every kind gets a 4xx with a message; good writes go on; the filter's VM never restarts;
//! memory does not grow however often the garbage comes.

use anyhow::{Result, bail, ensure};
use reqwest::Method;
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::cluster::{Cluster, Layout};
use ringside_e2e::contents::{Contents, Labels};
use ringside_e2e::envoy::Envoy;
use ringside_e2e::generator::{Answer, Generator, Load, Sender, series};
use ringside_e2e::process::Process;
use ringside_e2e::scratch::Scratch;
use ringside_e2e::sidecar::{Setup, Sidecar};
use ringside_e2e::{wait, wire, wire_v2};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TENANT: &str = "team-a";
/// Rounds before memory is measured, and after.
const ROUNDS: (usize, usize) = (4, 8);
/// What caches and fragmentation may add in the later rounds.
const GROWTH_MAX: u64 = 64 << 20;
/// Bodies of so many bytes, as they come or decompressed, come so often in each round that keeping one kind of
/// them would be seen.
const LARGE: (usize, usize) = (1 << 20, 6);

/// A request that nobody should take.
struct Garbage {
    name: String,
    sender: Sender,
    method: Method,
    body: Vec<u8>,
    /// The only right answer, where the protocol fixes it; any 4xx otherwise.
    code: Option<u16>,
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_bodies_of_garbage_are_refused() -> Result<()> {
    through_envoy("garbage-unchanged", 3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn split_bodies_of_garbage_are_refused() -> Result<()> {
    through_envoy("garbage-split", 4).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_refuses_garbage() -> Result<()> {
    let scratch = Scratch::new("garbage-sidecar")?;
    let sidecar = Sidecar::start(scratch.path(), "ringside-0", &Setup::default()).await?;
    let good = Good::new(&sidecar.write_url());
    bombard(&sidecar.write_url(), &good, &[&sidecar.process], async || Ok(())).await?;
    sidecar.expect_exactly(TENANT, &good.acknowledged()?).await?;
    ensure!(sidecar.tenants()? == ["default-tenant", TENANT], "tenants: {:?}", sidecar.tenants()?);
    scratch.passed();
    Ok(())
}

async fn through_envoy(name: &str, sidecars: usize) -> Result<()> {
    let scratch = Scratch::new(name)?;
    let cluster = Cluster::start(scratch.path(), &Layout { sidecars, ..Layout::default() }).await?;
    let good = Good::new(&cluster.envoy.write_url());
    let mut processes = vec![&cluster.envoy.process];
    processes.extend(cluster.sidecars.iter().map(|sidecar| &sidecar.process));
    let vms = vms_created(&cluster.envoy).await?;
    bombard(&cluster.envoy.write_url(), &good, &processes, async || {
        let now = vms_created(&cluster.envoy).await?;
        ensure!(now == vms, "the filter's VMs: {vms} created before, {now} now");
        Ok(())
    })
    .await?;

    let acknowledged = good.acknowledged()?;
    for (index, sidecar) in cluster.sidecars.iter().enumerate() {
        let mut placed = Contents::default();
        for (labels, timestamp, value) in acknowledged.iter() {
            if cluster.owners(TENANT, labels)?.contains(&index) {
                placed.add(labels, timestamp, value)?;
            }
        }
        sidecar.expect_exactly(TENANT, &placed).await?;
    }
    scratch.passed();
    Ok(())
}

/// VMs that were ever made for the filter: one more after a trap.
async fn vms_created(envoy: &Envoy) -> Result<f64> {
    let metrics = envoy.metrics().await?;
    let created = metrics.sum("envoy_wasm_envoy_wasm_runtime_v8_created", &[]);
    ensure!(created > 0.0, "Envoy does not count its VMs");
    Ok(created)
}

/// Sends all the garbage round after round, each time followed by a good write and the caller's check.
async fn bombard(
    url: &str,
    good: &Good,
    processes: &[&Process],
    check: impl AsyncFn() -> Result<()>,
) -> Result<()> {
    let garbage = garbage(url)?;
    good.write().await?;
    let mut before = Vec::new();
    for round in 0..ROUNDS.0 + ROUNDS.1 {
        if round == ROUNDS.0 {
            before = processes.iter().map(|process| process.rss_bytes()).collect::<Result<_>>()?;
        }
        for one in &garbage {
            let declared = snap::raw::decompress_len(&one.body).unwrap_or(0);
            let times = if one.body.len().max(declared) >= LARGE.0 { LARGE.1 } else { 1 };
            for _ in 0..times {
                let answer = one.sender.request(one.method.clone(), one.body.clone()).await;
                judge(one, &answer)?;
            }
        }
        not_even_http(url).await?;
        good.write().await?;
        check().await?;
    }
    for (process, before) in processes.iter().zip(before) {
        let after = process.rss_bytes()?;
        eprintln!("{}: {} MiB, then {} MiB", process.name(), before >> 20, after >> 20);
        let growth = after.saturating_sub(before);
        ensure!(growth < GROWTH_MAX, "{} grew by {} MiB", process.name(), growth >> 20);
    }
    Ok(())
}

fn judge(garbage: &Garbage, answer: &Answer) -> Result<()> {
    let name = &garbage.name;
    let Answer::Status { code, message } = answer else { bail!("{name}: {answer:?}") };
    ensure!((400..500).contains(code), "{name}: {answer:?}");
    ensure!(garbage.code.is_none_or(|right| right == *code), "{name}: {code} instead of {:?}", garbage.code);
    ensure!(!message.trim().is_empty() || garbage.method == Method::HEAD, "{name}: {code} without a message");
    Ok(())
}

/// Bytes that are no HTTP: whatever comes back, the connection ends.
async fn not_even_http(url: &str) -> Result<()> {
    let address = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no TLS here"[..], b"\0\0\0\0\r\n\r\n\r\n"] {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        // A reset is as good an end as any.
        drop(tokio::time::timeout(wait::PATIENCE, stream.read_to_end(&mut answer)).await?);
        ensure!(!answer.starts_with(b"HTTP/1.1 2"), "2xx for {bytes:?}");
    }
    Ok(())
}

/// The good writes in between.
struct Good {
    generator: Generator,
    next: std::cell::Cell<i64>,
}

impl Good {
    fn new(url: &str) -> Self {
        let start = clock::aligned(HOUR, MINUTE).unwrap_or_default();
        Self { generator: Generator::new(url, Load::new(TENANT, "load", 64)), next: start.into() }
    }

    async fn write(&self) -> Result<()> {
        self.generator.send(&[self.next.get()]).await?;
        self.next.set(self.next.get() + 1_000);
        self.generator.ledger().expect_no_failure()
    }

    fn acknowledged(&self) -> Result<Contents> {
        Ok(self.generator.ledger().everything_acknowledged().clone())
    }
}

/// Every kind of garbage.
fn garbage(url: &str) -> Result<Vec<Garbage>> {
    let now = clock::aligned(HOUR, MINUTE)?;
    let mut all = Vec::new();
    let sender = Sender::new(url, Some(TENANT));
    let mut add = |name: String, sender: &Sender, method: Method, body: Vec<u8>, code: Option<u16>| {
        all.push(Garbage { name, sender: sender.clone(), method, body, code });
    };

    let good = good_request(now);
    let compressed = wire::snappy(&good);
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
        add(format!("method {method}"), &sender, method, compressed.clone(), Some(405));
    }
    for kind in
        ["application/json", "text/plain", "application/x-protobuf;proto=some.other.Message", "image/png"]
    {
        let sender = sender.clone().with_header("content-type", kind.as_bytes());
        add(format!("type {kind}"), &sender, Method::POST, compressed.clone(), Some(415));
    }
    for encoding in ["gzip", "deflate", "zstd", "br"] {
        let sender = sender.clone().with_header("content-encoding", encoding.as_bytes());
        add(format!("encoding {encoding}"), &sender, Method::POST, compressed.clone(), Some(415));
    }
    for tenant in ["..", ".", "a/b", "a b", "ü", "a\\b", "a%2fb", &"t".repeat(151)] {
        let sender = Sender::new(url, Some(tenant));
        add(format!("tenant {tenant:?}"), &sender, Method::POST, compressed.clone(), Some(400));
    }
    for (name, body) in not_snappy(&compressed) {
        add(name, &sender, Method::POST, body, Some(400));
    }
    for (name, body) in too_much_declared(&compressed) {
        add(name, &sender, Method::POST, body, Some(413));
    }
    for (name, request) in not_protobuf(&good) {
        add(name, &sender, Method::POST, wire::snappy(&request), Some(400));
    }
    for (name, request) in not_series(now) {
        add(name, &sender, Method::POST, wire::snappy(&request), Some(400));
    }
    let v2 = sender.clone().with_header("content-type", wire_v2::CONTENT_TYPE.as_bytes());
    for (name, request, code) in not_series_of_2_0(now) {
        add(name, &v2, Method::POST, wire::snappy(&request), Some(code));
    }
    let mut future = Vec::new();
    wire::series(&mut future, &series("future", 1)[0], &[(now + 30 * 24 * HOUR, 1.0)]);
    add("a sample of next month".to_owned(), &sender, Method::POST, wire::snappy(&future), None);
    // Answered before the body is there, which HTTP/1 clients may see as a broken connection.
    add("33 MiB".to_owned(), &sender.over_http2()?, Method::POST, vec![0; 33 << 20], Some(413));
    Ok(all)
}

fn good_request(now: i64) -> Vec<u8> {
    let mut request = Vec::new();
    for labels in series("garbage", 3) {
        wire::series(&mut request, &labels, &[(now, 1.5), (now + 1, 2.5)]);
    }
    request
}

/// Bodies that no decompressor may take.
fn not_snappy(compressed: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![
        ("empty body".to_owned(), Vec::new()),
        ("text".to_owned(), b"this is not snappy at all".to_vec()),
        ("gzip".to_owned(), b"\x1f\x8b\x08\0\0\0\0\0\0\x03".repeat(20)),
        ("zeros".to_owned(), vec![0; 1000]),
        ("0xff".to_owned(), vec![0xff; 1000]),
        ("a length beyond 32 bits".to_owned(), vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
    ];
    for cut in [1, 2, 3, 10, compressed.len() / 2, compressed.len() - 1] {
        all.push((format!("snappy cut at {cut}"), compressed[..cut].to_vec()));
    }
    // A copy that points before the beginning.
    all.push(("snappy with a wild copy".to_owned(), vec![0x80, 0x01, 0xfe, 0xff, 0xff, 0x00]));
    all
}

/// A few bytes that claim to become very many.
fn too_much_declared(compressed: &[u8]) -> Vec<(String, Vec<u8>)> {
    let declare = |declared: u64| {
        let mut body = Vec::new();
        wire::varint(&mut body, declared);
        body.extend_from_slice(&compressed[2..]);
        (format!("declared {declared} bytes"), body)
    };
    [u64::from(u32::MAX), 1 << 30, (32 << 20) + 1].map(declare).into()
}

/// Well compressed, and no protobuf of the right kind.
fn not_protobuf(good: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    // Each series of the good request ends where a cut leaves a valid request; those cuts are left out.
    let ends = series_ends(good);
    for cut in (1..good.len()).step_by(7).filter(|cut| !ends.contains(cut)) {
        all.push((format!("protobuf cut at {cut}"), good[..cut].to_vec()));
    }
    all.push(("text in snappy".to_owned(), b"this is not protobuf, only text".to_vec()));
    all.push(("series as varint".to_owned(), vec![0x08, 0x01]));
    all.push(("field 0".to_owned(), vec![0x02, 0x01, 0x00]));
    all.push(("wire type 7".to_owned(), vec![0x0f, 0x01]));
    all.push(("endless varint".to_owned(), vec![0xff; 40]));
    let mut long = vec![0x0a];
    wire::varint(&mut long, u64::MAX);
    all.push(("a length of 2^64-1".to_owned(), long));
    let mut groups = vec![0x0b; 5_000];
    groups.extend_from_slice(good);
    all.push(("5000 open groups".to_owned(), groups));
    all
}

fn series_ends(request: &[u8]) -> Vec<usize> {
    let (mut ends, mut at) = (Vec::new(), 0);
    while at < request.len() {
        let (mut length, mut shift) = (0_usize, 0);
        at += 1;
        loop {
            let byte = request[at];
            at += 1;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        at += length;
        ends.push(at);
    }
    ends
}

/// Protobuf of the right kind, and no series that a store may have.
fn not_series(now: i64) -> Vec<(String, Vec<u8>)> {
    let with = |labels: &[(&[u8], &[u8])]| {
        let mut body = Vec::new();
        for (name, value) in labels {
            wire::label(&mut body, name, value);
        }
        wire::sample(&mut body, now, 1.0);
        let mut request = Vec::new();
        wire::bytes_field(&mut request, 1, &body);
        request
    };
    let name: (&[u8], &[u8]) = (b"__name__", b"garbage");
    let big = vec![b'x'; 4 << 20];
    let many: Vec<(Vec<u8>, Vec<u8>)> =
        (0..200_000).map(|n| (format!("l{n:06}").into_bytes(), b"v".to_vec())).collect();
    let mut bomb: Vec<(&[u8], &[u8])> = vec![name];
    bomb.extend(many.iter().map(|(name, value)| (name.as_slice(), value.as_slice())));

    let mut all = vec![
        ("duplicate label names".to_owned(), with(&[name, (b"a", b"1"), (b"a", b"2")])),
        ("the same label twice".to_owned(), with(&[name, (b"a", b"1"), (b"a", b"1")])),
        ("duplicate names apart".to_owned(), with(&[(b"a", b"1"), name, (b"a", b"2")])),
        ("two metric names".to_owned(), with(&[name, name])),
        ("no labels".to_owned(), with(&[])),
        ("only empty values".to_owned(), with(&[(b"a", b""), (b"b", b"")])),
        ("an empty label name".to_owned(), with(&[name, (b"", b"v")])),
        ("a label value that is no UTF-8".to_owned(), with(&[name, (b"a", b"\xff\xfe")])),
        ("a label name that is no UTF-8".to_owned(), with(&[name, (b"\xff", b"v")])),
        ("200000 labels".to_owned(), with(&bomb)),
        ("a million empty labels, unsorted".to_owned(), empty_labels(now, 1_000_000)),
        ("a label name of 4 MiB".to_owned(), with(&[name, (&big, b"v")])),
        ("a label value of 4 MiB".to_owned(), with(&[name, (b"a", &big)])),
    ];
    let mut good_and_bad = Vec::new();
    wire::series(&mut good_and_bad, &Labels::new(), &[(now, 1.0)]);
    all.push(("a series of nothing".to_owned(), good_and_bad));
    all
}

/// Requests of 2.0 whose references stand for very much more than they are: none of them may cost what it asks for.
fn not_series_of_2_0(now: i64) -> Vec<(String, Vec<u8>, u16)> {
    let with = |symbol_bytes: usize, series: usize, references: &[u8]| {
        let mut request = wire_v2::Request::default();
        request.symbol("__name__");
        request.symbol(&"x".repeat(symbol_bytes));
        let data = wire_v2::Data { samples: vec![(now, 1.0)], ..wire_v2::Data::default() };
        for _ in 0..series {
            request.series_of(references, &data);
        }
        request.encode()
    };
    vec![
        ("2 million labels of 2 MiB".to_owned(), with(2 << 20, 1, &[2; 4 << 20]), 400),
        ("a symbol of 2 MiB in each of 20000 series".to_owned(), with(2 << 20, 20_000, &[1, 2]), 400),
        ("a symbol of 900 KiB in each of 20000 series".to_owned(), with(900 << 10, 20_000, &[1, 2]), 413),
    ]
}

/// One series with a label and then very many without a name or a value, two bytes each.
fn empty_labels(now: i64, count: usize) -> Vec<u8> {
    let mut body = Vec::new();
    wire::label(&mut body, b"b", b"1");
    body.extend_from_slice(&[0x0a, 0x00].repeat(count));
    // Without a sample there would be nothing to store, and so nothing to refuse.
    wire::sample(&mut body, now, 1.0);
    let mut request = Vec::new();
    wire::bytes_field(&mut request, 1, &body);
    request
}
