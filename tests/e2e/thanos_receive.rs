//! Topology: a client → Envoy with the filter → three stand-ins for stock Thanos Receive ingestors, RF=3, over
//! HTTP/1.1; and five, to which bodies go split. They answer with a status and words, and name no series.
//!
//! Every combination of the answers of three gives the verdict of a plain model, with any of them last; what the client
//! reads is an ingestor's own words; a replica that is gone is outvoted. Of five, each series has the verdict of the
//! three that the ring names for it, and the request that of the worst of its series.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::contents::Labels;
use ringside_e2e::envoy::Envoy;
use ringside_e2e::generator::{Answer, Sender, series};
use ringside_e2e::receiver::{Receiver, Reply};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::wire_v2::{Data, Request};
use ringside_e2e::{wait, wire, wire_v2};
use ringside_hashring::{Hashrings, series_hash};
use ringside_proto::Protocol;
use ringside_proto::protocol::HEADERS_WRITTEN;
use serde_json::json;

const TENANT: &str = "team-a";
/// What makes an answer the last one.
const LATE: Duration = Duration::from_millis(30);
/// Of the test whose combinations are drawn.
const SEED: u64 = 20_260_822;
const COMBINATIONS: usize = 400;

/// How a Receive ingestor answers, and what that means for the series of the part.
const ANSWERS: [(u16, &str, Meaning); 9] = [
    (200, "", Meaning::Stored),
    (409, "store locally for endpoint : add 3 samples: out of order sample\n", Meaning::Refused),
    (409, "store locally for endpoint : add 1 samples: duplicate sample for timestamp\n", Meaning::Refused),
    (
        409,
        "store locally for endpoint : 2 errors: add 1 samples: out of bounds; add 1 samples: too old sample\n",
        Meaning::Refused,
    ),
    (400, "snappy decode error\n", Meaning::Refused),
    (413, "write request too large\n", Meaning::Refused),
    (429, "tenant is above active series limit\n", Meaning::Limited),
    (500, "store locally for endpoint : get appender: closed\n", Meaning::Unavailable),
    (503, "store locally for endpoint : TSDB not ready\n", Meaning::Unavailable),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Stored,
    /// No retry can help.
    Refused,
    Limited,
    Unavailable,
}

/// Two of three decide. Two that store make it stored. Two that refuse make it refused, by the status that both gave,
/// else 409. Two that limit make it 429, and everything else is worth a retry.
fn verdict(statuses: [u16; 3], meanings: [Meaning; 3]) -> u16 {
    let two = |meaning| meanings.iter().filter(|one| **one == meaning).count() >= 2;
    let both = |status| statuses.iter().filter(|one| **one == status).count() >= 2;
    match () {
        () if two(Meaning::Stored) => 200,
        () if two(Meaning::Refused) => [400, 413].into_iter().find(|status| both(*status)).unwrap_or(409),
        () if two(Meaning::Limited) => 429,
        () => 503,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ingestors_that_answer_by_status_make_a_verdict() -> Result<()> {
    let scratch = Scratch::new("thanos-receive")?;
    let receivers = [Receiver::start().await?, Receiver::start().await?, Receiver::start().await?];
    let hashrings = Receiver::hashrings(&receivers);
    let flags = ["--upstream=thanos-receive".to_owned()];
    let envoy = Envoy::start(&scratch.path().join("envoy"), &hashrings, &flags).await?;
    let sender = Sender::new(&envoy.write_url(), Some(TENANT));
    let body = body()?;

    let mut seen = BTreeSet::new();
    for number in 0..ANSWERS.len().pow(3) {
        let chosen = [number / 81, number / 9 % 9, number % 9].map(|at| ANSWERS[at]);
        for (place, (receiver, (status, words, _))) in receivers.iter().zip(chosen).enumerate() {
            let delay = if place == number % 3 { LATE } else { Duration::ZERO };
            receiver.answer(Reply { delay, ..Reply::new(status, words) });
        }
        let expected = verdict(chosen.map(|one| one.0), chosen.map(|one| one.2));
        let answer = sender.post(body.clone()).await;
        ensure!(answer.code() == Some(expected), "{chosen:?}: {answer:?} instead of {expected}");
        let Answer::Status { code, message } = &answer else { bail!("{answer:?}") };
        expect_words(*code, message, &chosen.map(|one| one.1))?;
        seen.insert(expected);
    }
    ensure!(seen == BTreeSet::from([200, 400, 409, 413, 429, 503]), "verdicts: {seen:?}");

    // What an ingestor gets: the body as it came, its tenant, and no second copy.
    envoy.wait_idle().await?;
    for receiver in &receivers {
        let parts = receiver.take_parts();
        ensure!(parts.len() == ANSWERS.len().pow(3), "{} parts", parts.len());
        for part in parts {
            ensure!(part.body == body && part.header("thanos-tenant") == TENANT, "{part:?}");
            ensure!(part.header("content-encoding") == "snappy", "{part:?}");
        }
        receiver.answer(Reply::default());
    }
    let [first, second, third] = receivers;
    drop(third);
    expect_soon(&sender, &body, 200).await?;
    second.answer(Reply::new(409, ANSWERS[1].1));
    expect_soon(&sender, &body, 503).await?;
    drop((first, second));
    expect_soon(&sender, &body, 503).await?;
    scratch.passed();
    Ok(())
}

/// One request of the test whose combinations are drawn, and what each of five ingestors answers.
#[derive(Debug)]
struct Combination {
    protocol: Protocol,
    sent: Range<usize>,
    chosen: [(u16, &'static str, Meaning); 5],
    /// Which of them is late; often none.
    late: usize,
}

impl Combination {
    fn draw(number: usize, series: usize, random: &mut fastrand::Rng) -> Self {
        // Few series have few replica sets, and many have all.
        let len = [1, 3, 20, 100][random.usize(..4)];
        let first = random.usize(..series - len);
        // Answers of many kinds agree on nothing; those of one kind or two beside successes do.
        let kinds = [ANSWERS[number / 2 % ANSWERS.len()], ANSWERS[random.usize(..ANSWERS.len())]];
        let chosen = [(); 5].map(|()| match random.usize(..5) {
            0 | 1 => ANSWERS[0],
            2 | 3 => kinds[0],
            _ => kinds[random.usize(..2)],
        });
        let protocol = [Protocol::V1, Protocol::V2][number % 2];
        Self { protocol, sent: first..first + len, chosen, late: random.usize(..4 * chosen.len()) }
    }

    /// The verdict: of each series that of its three replicas, and of these the worst, since what a retry may save comes
    /// first. And how many samples are stored for certain by two of the three.
    fn expected(&self, replicas: &[[usize; 3]]) -> (u16, u64) {
        let (mut verdicts, mut written) = (BTreeSet::new(), 0);
        for at in self.sent.clone() {
            let said = replicas[at].map(|replica| self.chosen[replica]);
            let verdict = verdict(said.map(|one| one.0), said.map(|one| one.2));
            written += if verdict == 200 { samples(at, 0).len() as u64 } else { 0 };
            verdicts.insert(verdict);
        }
        let worst = [503, 429, 400, 413, 409].into_iter().find(|status| verdicts.contains(status));
        (worst.unwrap_or(200), written)
    }

    /// The series that the ring names an ingestor for.
    fn part(&self, at: usize, replicas: &[[usize; 3]]) -> Vec<usize> {
        self.sent.clone().filter(|series| replicas[*series].contains(&at)).collect()
    }

    /// What an ingestor answers to its part. It says what is written of one of 2.0 where that is all of it.
    fn reply(&self, at: usize, part: &[usize]) -> Reply {
        let (status, words, meaning) = self.chosen[at];
        let delay = if at == self.late { LATE } else { Duration::ZERO };
        let written = part.iter().map(|series| samples(*series, 0).len() as u64).sum();
        let says = self.protocol == Protocol::V2 && meaning == Meaning::Stored;
        Reply { delay, written: says.then_some([written, 0, 0]), ..Reply::new(status, words) }
    }

    fn body(&self, series: &[Labels], now: i64) -> Vec<u8> {
        let (mut v1, mut v2) = (Vec::new(), Request::default());
        for at in self.sent.clone() {
            match self.protocol {
                Protocol::V1 => wire::series(&mut v1, &series[at], &samples(at, now)),
                Protocol::V2 => {
                    let labels: Vec<_> = series[at].clone().into_iter().collect();
                    v2.series(&labels, &Data { samples: samples(at, now), ..Data::default() });
                }
            }
        }
        wire::snappy(&if self.protocol == Protocol::V1 { v1 } else { v2.encode() })
    }
}

/// The samples of a series: one, two or three.
fn samples(series: usize, now: i64) -> Vec<(i64, f64)> {
    (0..=series as i64 % 3).map(|number| (now + number, 1.0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_write_has_the_verdict_of_its_worst_series() -> Result<()> {
    let scratch = Scratch::new("thanos-receive-split")?;
    let receivers = Receiver::start_many(5).await?;
    let hashrings = Receiver::hashrings(&receivers);
    let flags = ["--upstream=thanos-receive".to_owned()];
    let envoy = Envoy::start(&scratch.path().join("envoy"), &hashrings, &flags).await?;
    let (known, now) = (series("thanos", 300), clock::aligned(HOUR, MINUTE)?);
    let replicas = replicas(&hashrings, &known)?;

    let mut random = fastrand::Rng::with_seed(SEED);
    let mut seen = BTreeSet::new();
    let mut sent = vec![Vec::new(); receivers.len()];
    for number in 0..COMBINATIONS {
        let combination = Combination::draw(number, known.len(), &mut random);
        let protocol = combination.protocol;
        for (at, receiver) in receivers.iter().enumerate() {
            let part = combination.part(at, &replicas);
            receiver.answer(combination.reply(at, &part));
            if !part.is_empty() {
                sent[at].push((protocol.version(), part));
            }
        }
        // In another spelling than the one that ingestors take, and under the version of 1.0.
        let content_type = match protocol {
            Protocol::V1 => "application/x-protobuf; proto=prometheus.WriteRequest",
            Protocol::V2 => "Application/X-Protobuf; proto=\"io.prometheus.write.v2.Request\"",
        };
        let sender = Sender::new(&envoy.write_url(), Some(TENANT));
        let sender = sender.with_header("content-type", content_type.as_bytes());
        let (status, headers, message) = sender.exchange(combination.body(&known, now)).await?;

        let (verdict, written) = combination.expected(&replicas);
        let expected = match (protocol, verdict) {
            (Protocol::V2, 200) => 204,
            (Protocol::V2, 409) => 400,
            _ => verdict,
        };
        let context = || format!("number {number} of seed {SEED}, {hashrings}: {combination:?}");
        ensure!(status == expected, "{}: {status} {message} instead of {expected}", context());
        expect_words(status, &message, &combination.chosen.map(|one| one.1)).with_context(context)?;
        let said = headers.get(HEADERS_WRITTEN[0]).and_then(|value| value.to_str().ok());
        let written = (protocol == Protocol::V2).then(|| written.to_string());
        ensure!(said == written.as_deref(), "{}: {said:?} are written, not {written:?}", context());
        seen.insert((protocol.version(), verdict));
    }
    let verdicts = [200, 400, 409, 413, 429, 503];
    let all = verdicts.into_iter().flat_map(|verdict| ["0.1.0", "2.0.0"].map(|version| (version, verdict)));
    ensure!(seen == all.collect(), "verdicts: {seen:?}");
    for (receiver, sent) in receivers.iter().zip(sent) {
        expect_parts(receiver, sent, &known).await?;
    }
    scratch.passed();
    Ok(())
}

/// Each part has the series that the ring names its ingestor for, and the very headers by which an ingestor of remote
/// write 2.0 knows the version.
async fn expect_parts(
    receiver: &Receiver,
    mut sent: Vec<(&str, Vec<usize>)>,
    known: &[Labels],
) -> Result<()> {
    wait::eventually("the last part", async || {
        ensure!(receiver.parts() == sent.len(), "{} of {} parts", receiver.parts(), sent.len());
        Ok(())
    })
    .await?;
    let places: BTreeMap<_, _> = known.iter().zip(0..).collect();
    let parts = receiver.take_parts();
    let mut found = Vec::new();
    for part in &parts {
        let [version, content_type] =
            ["x-prometheus-remote-write-version", "content-type"].map(|name| part.headers.get_all(name));
        ensure!(version.iter().count() == 1 && content_type.iter().count() == 1, "{:?}", part.headers);
        let version = part.header("x-prometheus-remote-write-version");
        let expected = match version {
            "2.0.0" => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
            _ => "application/x-protobuf",
        };
        ensure!(part.header("content-type") == expected, "{version}: {:?}", part.headers);
        let series = part.series()?;
        let mut series = series.iter().map(|series| places.get(&series.labels).copied()).collect::<Vec<_>>();
        series.sort_unstable();
        found.push((version, series.into_iter().collect::<Option<Vec<_>>>().context("an unknown series")?));
    }
    // A part that no verdict waited for may have come after one of the next request.
    found.sort();
    sent.sort();
    let odd = found.iter().zip(&sent).find(|(found, sent)| found != sent);
    ensure!(odd.is_none(), "{}: found and sent: {odd:?}", receiver.address());
    Ok(())
}

/// The three receivers that the ring names for each series, as places in the ring.
fn replicas(hashrings: &str, series: &[Labels]) -> Result<Vec<[usize; 3]>> {
    let rings = Hashrings::parse(hashrings.as_bytes(), 3)?;
    let ring = rings.for_tenant(TENANT).context("no ring for the tenant")?;
    let of = |labels: &Labels| {
        let pairs = labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let replicas: Vec<_> = ring.replicas(series_hash(TENANT, pairs)).iter().map(|at| at.get()).collect();
        <[usize; 3]>::try_from(replicas).ok().context("not three replicas")
    };
    series.iter().map(of).collect()
}

/// Ingestors do not say how much they were sent, so the filter counts it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rate_holds_in_front_of_ingestors() -> Result<()> {
    let scratch = Scratch::new("thanos-receive-rate")?;
    let receivers = Receiver::start_many(4).await?;
    let addresses: Vec<String> = receivers.iter().map(|one| one.address().to_string()).collect();
    let hashrings = json!([
        {"hashring": "three", "tenants": ["unchanged"], "endpoints": addresses[..3]},
        {"hashring": "four", "endpoints": addresses},
    ]);
    let limits = scratch.path().join("limits.yaml");
    std::fs::write(&limits, "default: {samples_per_second: 1, burst: 1}")?;
    let flags = ["--upstream=thanos-receive".to_owned(), format!("--limits={}", limits.display())];
    let envoy = Envoy::start(&scratch.path().join("envoy"), &hashrings.to_string(), &flags).await?;

    let now = clock::aligned(HOUR, MINUTE)?;
    let samples: Vec<_> = (0..1000).map(|number| (now + number, 1.0)).collect();
    let mut request = Vec::new();
    wire::series(&mut request, &Labels::from([("__name__".to_owned(), "thanos".to_owned())]), &samples);
    let body = wire::snappy(&request);
    for tenant in ["unchanged", "split"] {
        let sender = Sender::new(&envoy.write_url(), Some(tenant));
        // What none of them takes is to come again, and costs nothing.
        for (reply, expected) in [(503, 503), (503, 503), (200, 200), (200, 429)] {
            receivers.iter().for_each(|receiver| receiver.answer(Reply::new(reply, "")));
            let answer = sender.post(body.clone()).await;
            ensure!(answer.code() == Some(expected), "{tenant}: {answer:?} instead of {expected}");
        }
    }
    envoy.wait_idle().await?;
    let lost = envoy.metrics().await?.sum("ringside_rate_charges_lost_total", &[]);
    ensure!(lost == 0.0, "{lost} charges lost");
    scratch.passed();
    Ok(())
}

/// They know nothing of the limits that the filter hands on to sidecars, so it judges itself also what it could send as it
/// came.
#[tokio::test]
async fn limits_hold_in_front_of_ingestors() -> Result<()> {
    let scratch = Scratch::new("thanos-receive-limits")?;
    let receivers = Receiver::start_many(3).await?;
    let limits = scratch.path().join("limits.yaml");
    std::fs::write(&limits, "default: {labels_per_series: 2, series_per_request: 2}")?;
    let flags = ["--upstream=thanos-receive".to_owned(), format!("--limits={}", limits.display())];
    let hashrings = Receiver::hashrings(&receivers);
    let envoy = Envoy::start(&scratch.path().join("envoy"), &hashrings, &flags).await?;

    let now = clock::aligned(HOUR, MINUTE)?;
    let request = |labels: &[usize]| {
        let mut request = Vec::new();
        for (number, labels) in labels.iter().enumerate() {
            let names = (0..*labels).map(|label| (format!("label_{label}"), number.to_string()));
            wire::series(&mut request, &names.collect(), &[(now, 1.0)]);
        }
        wire::snappy(&request)
    };
    let sender = Sender::new(&envoy.write_url(), None);
    for (labels, code, words) in
        [(&[2, 3][..], 400, "series 1: more than 2 labels"), (&[1, 1, 1], 413, "more than 2 series")]
    {
        let answer = sender.post(request(labels)).await;
        let Answer::Status { code: answered, message } = &answer else { bail!("{answer:?}") };
        ensure!(*answered == code && message.contains(words), "{answer:?}");
    }
    let answer = sender.post(request(&[2, 2])).await;
    ensure!(answer.code() == Some(200), "{answer:?}");
    envoy.wait_idle().await?;
    for receiver in &receivers {
        let mut series = 0;
        for part in receiver.take_parts() {
            series += part.series()?.len();
        }
        ensure!(series == 3, "{series} series instead of the one that may be stored and the two");
    }
    scratch.passed();
    Ok(())
}

/// An ingestor that knows remote write 2.0 says how much it has written; one that does not finds no series in a request of
/// it, and is glad.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_of_1_0_stores_nothing_of_2_0() -> Result<()> {
    let scratch = Scratch::new("thanos-receive-v2")?;
    let receivers = Receiver::start_many(3).await?;
    let hashrings = Receiver::hashrings(&receivers);
    let flags = ["--upstream=thanos-receive".to_owned()];
    let envoy = Envoy::start(&scratch.path().join("envoy"), &hashrings, &flags).await?;
    let mut request = Request::default();
    let samples = vec![(clock::aligned(HOUR, MINUTE)?, 1.0), (clock::aligned(HOUR, MINUTE)? + 1, 1.0)];
    let labels = [("__name__".to_owned(), "thanos".to_owned())];
    request.series(&labels, &Data { samples, ..Data::default() });
    let sender = Sender::new(&envoy.write_url(), Some(TENANT))
        .with_header("content-type", wire_v2::CONTENT_TYPE.as_bytes());

    let (old, new) = (Reply::new(200, ""), Reply { written: Some([2, 0, 0]), ..Reply::new(204, "") });
    let (conflict, away) =
        (Reply { written: Some([1, 0, 0]), ..Reply::new(409, "duplicate") }, Reply::new(503, ""));
    for (replies, status, written) in [
        ([&new, &new, &new], 204, "2"),
        ([&new, &old, &new], 204, "2"),
        ([&old, &new, &old], 415, "0"),
        ([&old, &old, &old], 415, "0"),
        ([&new, &conflict, &away], 503, "0"),
    ] {
        receivers.iter().zip(replies).for_each(|(receiver, reply)| receiver.answer(reply.clone()));
        let (answered, headers, message) = sender.exchange(wire::snappy(&request.encode())).await?;
        let said = headers.get(HEADERS_WRITTEN[0]).and_then(|value| value.to_str().ok());
        ensure!((answered, said) == (status, Some(written)), "{replies:?}: {answered}, {said:?}, {message}");
    }
    scratch.passed();
    Ok(())
}

fn body() -> Result<Vec<u8>> {
    let labels = Labels::from([("__name__".to_owned(), "thanos".to_owned())]);
    let mut request = Vec::new();
    wire::series(&mut request, &labels, &[(clock::aligned(HOUR, MINUTE)?, 1.0)]);
    Ok(wire::snappy(&request))
}

/// A refusal has an ingestor's own words, a success none.
fn expect_words(code: u16, message: &str, words: &[&str]) -> Result<()> {
    let known = words.iter().any(|words| !words.is_empty() && message.contains(words.trim()));
    let is_success = matches!(code, 200 | 204);
    ensure!(known || is_success, "{code}: {message:?} has none of {words:?}");
    ensure!(!is_success || message.is_empty(), "{code}: {message:?}");
    Ok(())
}

/// The answer, once Envoy knows that a connection is gone.
async fn expect_soon(sender: &Sender, body: &[u8], code: u16) -> Result<()> {
    wait::eventually(&format!("an answer of {code}"), async || {
        let answer = sender.post(body.to_vec()).await;
        ensure!(answer.code() == Some(code), "{answer:?}");
        Ok(())
    })
    .await
}
