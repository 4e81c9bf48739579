//! Topology: a client → Envoy with the filter → three receivers in this process, RF=3, which get bodies as they came,
//! or four, for which they are taken apart.
//!
//! A body may come in any form that HTTP has, up to the limit of 32 MiB; beyond it, and in another encoding, it is
//! refused without being waited for. Memory is bounded however many come at once, and serves the next ones.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use axum::body::Bytes;
use axum::http::HeaderMap;
use http_body_util::{BodyExt, Full};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::contents::Labels;
use ringside_e2e::envoy::Envoy;
use ringside_e2e::receiver::{Receiver, Reply};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::{wait, wire, wire_v2};
use ringside_proto::protocol::HEADERS_WRITTEN;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

const LIMIT: usize = 32 << 20;
const PIECE: usize = 100_000;
const REPLICAS: usize = 3;
const HEADERS: [(&str, &str); 4] = [
    ("content-type", "application/x-protobuf"),
    ("content-encoding", "snappy"),
    ("x-prometheus-remote-write-version", "0.1.0"),
    ("thanos-tenant", "team-a"),
];

struct Stage {
    scratch: Scratch,
    envoy: Envoy,
    receivers: Vec<Receiver>,
}

impl Stage {
    async fn start(name: &str, receivers: usize, flags: &[String]) -> Result<Self> {
        let scratch = Scratch::new(name)?;
        let starts = (0..receivers).map(|_| Receiver::start());
        let receivers = futures::future::try_join_all(starts).await?;
        let hashrings = Receiver::hashrings(&receivers);
        let envoy = Envoy::start(&scratch.path().join("envoy"), &hashrings, flags).await?;
        wait::eventually("Envoy to find the receivers healthy", async || envoy.expect_all_healthy().await)
            .await?;
        Ok(Self { scratch, envoy, receivers })
    }

    /// The decoded sizes of all parts that came, the largest first.
    async fn parts(&self) -> Result<Vec<usize>> {
        self.envoy.wait_idle().await?;
        let parts = self.receivers.iter().flat_map(Receiver::take_parts);
        let mut sizes: Vec<usize> = parts
            .map(|part| Ok(snap::raw::Decoder::new().decompress_vec(&part.body)?.len()))
            .collect::<Result<_>>()?;
        sizes.sort_unstable_by_key(|size| std::cmp::Reverse(*size));
        Ok(sizes)
    }

    fn request(&self, client: &reqwest::Client) -> reqwest::RequestBuilder {
        let request = client.post(self.envoy.write_url());
        HEADERS.into_iter().fold(request, |request, (name, value)| request.header(name, value))
    }
}

/// A request of so many bytes, of text that no compression makes shorter.
fn request_of(bytes: usize) -> Result<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(bytes as u64);
    let (mut request, now) = (Vec::with_capacity(bytes), clock::aligned(HOUR, MINUTE)?);
    let mut number = 0;
    while request.len() + 200 < bytes {
        let value: String =
            (0..(bytes - request.len() - 150).min(1 << 18)).map(|_| random.alphanumeric()).collect();
        let labels = Labels::from([
            ("__name__".to_owned(), "large".to_owned()),
            ("number".to_owned(), number.to_string()),
            ("value".to_owned(), value),
        ]);
        wire::series(&mut request, &labels, &[(now, 1.0)]);
        number += 1;
    }
    Ok(request)
}

/// The largest body that is taken, compressed, and its size decoded.
fn largest() -> Result<(Bytes, usize)> {
    let request = request_of(LIMIT - (16 << 10))?;
    let body = wire::snappy(&request);
    ensure!(body.len() <= LIMIT && body.len() > LIMIT - (64 << 10), "{} bytes", body.len());
    Ok((Bytes::from(body), request.len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_every_form_arrive_unchanged() -> Result<()> {
    every_form("bodies-unchanged", REPLICAS).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_every_form_arrive_split() -> Result<()> {
    every_form("bodies-split", REPLICAS + 1).await
}

async fn every_form(name: &str, receivers: usize) -> Result<()> {
    let stage = Stage::start(name, receivers, &["--write-timeout=30s".to_owned()]).await?;
    let http1 = reqwest::Client::new();
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build()?;
    let small = request_of(5_000)?;
    let small = (Bytes::from(wire::snappy(&small)), small.len());
    for (body, decoded) in [small, largest()?] {
        for (form, client) in [("HTTP/1.1", &http1), ("HTTP/2", &http2)] {
            let answer = stage.request(client).body(body.clone()).send().await?;
            arrived(&stage, &format!("{form}, length declared"), answer.status().as_u16(), decoded).await?;
            let answer = stage.request(client).body(in_pieces(&body)).send().await?;
            arrived(&stage, &format!("{form}, in pieces"), answer.status().as_u16(), decoded).await?;
        }
        let trailers = HeaderMap::from_iter([("x-checksum".parse()?, "1".parse()?)]);
        let with_trailers = Full::new(body.clone()).with_trailers(async { Some(Ok(trailers)) });
        let answer = stage.request(&http2).body(reqwest::Body::wrap(with_trailers)).send().await?;
        arrived(&stage, "HTTP/2, trailers", answer.status().as_u16(), decoded).await?;

        let mut raw = Raw::connect(&stage, &["transfer-encoding: chunked", "trailer: x-checksum"]).await?;
        raw.send(&chunked(&body, "x-checksum: 1\r\n")).await?;
        arrived(&stage, "HTTP/1.1, trailers", raw.status().await?, decoded).await?;

        let length = format!("content-length: {}", body.len());
        let mut raw = Raw::connect(&stage, &[&length, "expect: 100-continue"]).await?;
        ensure!(raw.status().await? == 100, "the body was not asked for");
        raw.send(&body).await?;
        arrived(&stage, "Expect", raw.status().await?, decoded).await?;
    }
    stage.scratch.passed();
    Ok(())
}

/// Each byte of the request is at each of its replicas, once.
async fn arrived(stage: &Stage, form: &str, status: u16, decoded: usize) -> Result<()> {
    ensure!(status == 200, "{form}, {decoded} bytes: {status}");
    let parts = stage.parts().await?;
    ensure!(parts.iter().sum::<usize>() == REPLICAS * decoded, "{form}, {decoded} bytes: parts of {parts:?}");
    ensure!(parts.len() <= stage.receivers.len(), "{form}: {} parts", parts.len());
    Ok(())
}

fn in_pieces(body: &Bytes) -> reqwest::Body {
    let body = body.clone();
    let starts = (0..body.len()).step_by(PIECE);
    let pieces =
        starts.map(move |start| Ok::<_, std::io::Error>(body.slice(start..body.len().min(start + PIECE))));
    reqwest::Body::wrap_stream(futures::stream::iter(pieces))
}

fn chunked(body: &[u8], trailers: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in body.chunks(PIECE) {
        out.extend(format!("{:x}\r\n", piece.len()).bytes());
        out.extend([piece, b"\r\n"].concat());
    }
    out.extend(format!("0\r\n{trailers}\r\n").bytes());
    out
}

/// A connection on which a request is written by hand.
struct Raw(BufStream<TcpStream>);

impl Raw {
    /// Sends the head of a write with further headers.
    async fn connect(stage: &Stage, further: &[&str]) -> Result<Self> {
        let url = stage.envoy.write_url();
        let (address, path) = url.trim_start_matches("http://").split_once('/').context("no path")?;
        let mut head = format!("POST /{path} HTTP/1.1\r\nhost: {address}\r\n");
        let known =
            HEADERS.into_iter().filter(|(name, _)| !further.iter().any(|line| line.starts_with(name)));
        known.for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        further.iter().for_each(|line| head.push_str(&format!("{line}\r\n")));
        let mut raw = Self(BufStream::new(TcpStream::connect(address).await?));
        raw.send(format!("{head}\r\n").as_bytes()).await?;
        Ok(raw)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(bytes).await?;
        Ok(self.0.flush().await?)
    }

    /// Reads one answer to its end.
    async fn status(&mut self) -> Result<u16> {
        Ok(self.answer().await?.0)
    }

    /// The same, with the lines of its head in lower case.
    async fn answer(&mut self) -> Result<(u16, Vec<String>)> {
        tokio::time::timeout(wait::PATIENCE, self.read_answer()).await.context("no answer")?
    }

    async fn read_answer(&mut self) -> Result<(u16, Vec<String>)> {
        let (mut status, mut length, mut head) = (None, 0, Vec::new());
        loop {
            let mut line = String::new();
            ensure!(self.0.read_line(&mut line).await? > 0, "the connection ended");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            match status {
                None => status = Some(line.split(' ').nth(1).context("no status")?.parse()?),
                Some(status) if line.is_empty() => {
                    self.0.read_exact(&mut vec![0; length]).await?;
                    return Ok((status, head));
                }
                Some(_) => head.push(line),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_refused_are_not_waited_for() -> Result<()> {
    let stage = Stage::start("bodies-refused", REPLICAS, &[]).await?;
    // None of these has sent a byte of its body when it is answered.
    let over = format!("content-length: {}", LIMIT + 1);
    for (lines, expected) in [
        (vec!["content-encoding: gzip", "content-length: 1000"], 415),
        (vec!["content-encoding: gzip", "transfer-encoding: chunked"], 415),
        (vec!["content-encoding: gzip", over.as_str()], 415),
        (vec![over.as_str()], 413),
        (vec!["content-length: 0"], 400),
    ] {
        let mut raw = Raw::connect(&stage, &lines).await?;
        let status = raw.status().await?;
        ensure!(status == expected, "{lines:?}: {status}");
    }
    // Envoy asks for the body before the filter sees the request.
    let mut raw = Raw::connect(&stage, &[&over, "expect: 100-continue"]).await?;
    let statuses = (raw.status().await?, raw.status().await?);
    ensure!(statuses == (100, 413), "{statuses:?}");

    let http2 = reqwest::Client::builder().http2_prior_knowledge().build()?;
    for (what, body) in [("a byte", vec![0; LIMIT + 1]), ("a lot", vec![0; 2 * LIMIT])] {
        let answer = stage.request(&http2).body(in_pieces(&body.into())).send().await?;
        ensure!(answer.status() == 413, "{what} too much: {}", answer.status());
        ensure!(answer.text().await?.contains("more than 33554432 bytes"), "{what}: no reason");
    }
    ensure!(stage.parts().await?.is_empty(), "a body that was refused went on");
    stage.scratch.passed();
    Ok(())
}

/// Senders drop their data at a 408, which is what Envoy itself says of a request that stops half way. Its answer counts, and
/// has the headers that one of 2.0 is owed.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stalls_is_asked_for_again() -> Result<()> {
    let stage = Stage::start("bodies-stalled", REPLICAS, &["--write-timeout=10ms".to_owned()]).await?;
    let v2 = format!("content-type: {}", wire_v2::CONTENT_TYPE);
    let cases = [["content-length: 1000", &v2], ["transfer-encoding: chunked", "x-other: 1"]];
    for lines in cases {
        let mut raw = Raw::connect(&stage, &lines).await?;
        raw.send(b"1f4\r\nhalf a body").await?;
        let (status, head) = raw.answer().await?;
        ensure!(status == 503 && head.contains(&"retry-after: 1".to_owned()), "{lines:?}: {status} {head:?}");
        let zeros = HEADERS_WRITTEN.iter().filter(|name| head.contains(&format!("{name}: 0"))).count();
        ensure!(zeros == if lines.contains(&&*v2) { 3 } else { 0 }, "{lines:?}: {head:?}");
    }
    ensure!(stage.parts().await?.is_empty(), "half a body went on");
    wait::eventually("the answers to be counted", async || {
        let counted = stage.envoy.metrics().await?.sum("http_requests_total", &["503", "receive"]);
        ensure!(counted == cases.len() as f64, "{counted} answers of 503");
        Ok(())
    })
    .await?;
    stage.scratch.passed();
    Ok(())
}

/// Half of a body is in memory like a whole one.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_arrive_are_bounded() -> Result<()> {
    let scratch = Scratch::new("bodies-arriving")?;
    let receivers = Receiver::start_many(REPLICAS).await?;
    let hashrings = Receiver::hashrings(&receivers);
    let flags = ["--write-timeout=30s", "--in-flight-bytes-max=1048576"].map(str::to_owned);
    let envoy = Envoy::start_with_workers(&scratch.path().join("envoy"), &hashrings, &flags, 1).await?;
    wait::eventually("healthy receivers", async || envoy.expect_all_healthy().await).await?;
    let stage = Stage { scratch, envoy, receivers };
    let arriving = async |expected: usize| {
        wait::eventually("the bytes that arrived", async || {
            let bytes = stage.envoy.metrics().await?.sum("ringside_arriving_bytes", &[]);
            ensure!(bytes == expected as f64, "{bytes} of {expected} bytes");
            Ok(())
        })
        .await
    };

    let body = wire::snappy(&request_of(800 << 10)?);
    let (half, rest) = body.split_at(600 << 10);
    let length = format!("content-length: {}", body.len());
    let mut first = Raw::connect(&stage, &[&length]).await?;
    first.send(half).await?;
    arriving(half.len()).await?;
    let mut second = Raw::connect(&stage, &[&length]).await?;
    second.send(half).await?;
    let (status, head) = second.answer().await?;
    ensure!(status == 503 && head.contains(&"retry-after: 1".to_owned()), "{status} {head:?}");
    let mut whole = Raw::connect(&stage, &["content-length: 5"]).await?;
    whole.send(b"\x03abcd").await?;
    ensure!(whole.status().await? == 200, "what is whole waits for nobody");
    first.send(rest).await?;
    ensure!(first.status().await? == 200, "the first was not let through");
    let mut gone = Raw::connect(&stage, &[&length]).await?;
    gone.send(half).await?;
    arriving(half.len()).await?;
    drop(gone);
    arriving(0).await?;
    stage.scratch.passed();
    Ok(())
}

/// What Envoy may take; four of the largest bodies, each with a part for every replica.
const HEAP_MAX: u64 = 512 << 20;
/// What each worker lets be under way, and as much of bodies that arrive: a body by itself may be larger. Envoy judges its heap
/// by what is there when a request begins, so that many which begin at once are the filter's to bound.
const IN_FLIGHT_MAX: u64 = 64 << 20;
/// Of both workers: what their modules need for the largest bodies, and what Envoy takes beyond its heap.
const BESIDE_HEAP_MAX: u64 = 768 << 20;
/// What caches and fragmentation may add in later rounds.
const GROWTH_MAX: u64 = 192 << 20;
const AT_ONCE: usize = 6;
const ROUNDS: (usize, usize) = (2, 2);

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_and_used_again() -> Result<()> {
    bounded("memory-unchanged", REPLICAS).await
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_of_the_module_is_bounded_and_used_again() -> Result<()> {
    bounded("memory-split", REPLICAS + 1).await
}

/// More of the largest bodies at once than memory is there for, to receivers that take their time: what cannot be held
/// is answered 503 and comes again.
async fn bounded(name: &str, receivers: usize) -> Result<()> {
    let flags = [
        "--write-timeout=30s".to_owned(),
        format!("--heap-bytes-max={HEAP_MAX}"),
        format!("--in-flight-bytes-max={IN_FLIGHT_MAX}"),
    ];
    let stage = Stage::start(name, receivers, &flags).await?;
    let (body, _) = largest()?;
    for receiver in &stage.receivers {
        receiver.forget();
        receiver.answer(Reply { delay: Duration::from_millis(200), ..Reply::default() });
    }
    let process = &stage.envoy.process;
    let (rss, allocated) = (process.rss_bytes()?, stage.envoy.allocated_bytes().await?);
    let mut settled = 0;
    for round in 0..ROUNDS.0 + ROUNDS.1 {
        futures::future::try_join_all((0..AT_ONCE).map(|_| until_taken(&stage, &body))).await?;
        stage.envoy.wait_idle().await?;
        if round + 1 == ROUNDS.0 {
            settled = process.peak_rss_bytes()?;
        }
    }
    let peak = process.peak_rss_bytes()?;
    eprintln!("{name}: {} MiB, then {} MiB, in the end {} MiB at most", rss >> 20, settled >> 20, peak >> 20);
    ensure!(peak < rss + HEAP_MAX + BESIDE_HEAP_MAX, "Envoy took {} MiB", peak >> 20);
    ensure!(peak < settled + GROWTH_MAX, "Envoy grew from {} MiB to {} MiB", settled >> 20, peak >> 20);
    wait::eventually("Envoy to give its memory back", async || {
        let now = stage.envoy.allocated_bytes().await?;
        ensure!(now < allocated + GROWTH_MAX, "{} MiB in use, {} MiB before", now >> 20, allocated >> 20);
        Ok(())
    })
    .await?;
    stage.scratch.passed();
    Ok(())
}

/// Sends a body on a connection of its own until it is taken, with pauses that grow as Prometheus' do.
async fn until_taken(stage: &Stage, body: &Bytes) -> Result<()> {
    let (client, start) = (reqwest::Client::new(), Instant::now());
    let mut pause = Duration::from_millis(30);
    loop {
        let answer = stage.request(&client).body(body.clone()).send().await?;
        let (status, message) = (answer.status(), answer.text().await?);
        match status.as_u16() {
            200 => return Ok(()),
            503 => ensure!(start.elapsed() < wait::PATIENCE * 2, "there was never room: {message}"),
            _ => bail!("{status}: {message}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}
