//! Topology: a client → Envoy with the filter → three stand-ins for stock Thanos Receive ingestors, RF=3, over
//! HTTP/1.1. They answer with a status and words, and name no series.
//!
//! Every combination of their answers gives the verdict of a plain model, with any of them last; what the client reads
//! is an ingestor's own words; a replica that is gone is outvoted.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::contents::Labels;
use ringside_e2e::envoy::Envoy;
use ringside_e2e::generator::{Answer, Sender};
use ringside_e2e::receiver::{Receiver, Reply};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::wire_v2::{Data, Request};
use ringside_e2e::{wait, wire, wire_v2};
use ringside_proto::protocol::HEADERS_WRITTEN;
use serde_json::json;

const TENANT: &str = "team-a";
/// What makes an answer the last one.
const LATE: Duration = Duration::from_millis(30);

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
        expect_words(&answer, chosen.map(|one| one.1))?;
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
        let series: usize = receiver.take_parts().iter().map(|part| count_series(&part.body)).sum();
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

    let (old, new) = (Reply::new(200, ""), Reply { written: Some(2), ..Reply::new(204, "") });
    let (conflict, away) = (Reply { written: Some(1), ..Reply::new(409, "duplicate") }, Reply::new(503, ""));
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

fn count_series(body: &[u8]) -> usize {
    let raw = snap::raw::Decoder::new().decompress_vec(body).unwrap_or_default();
    ringside_proto::remote_write::time_series(&raw).count()
}

fn body() -> Result<Vec<u8>> {
    let labels = Labels::from([("__name__".to_owned(), "thanos".to_owned())]);
    let mut request = Vec::new();
    wire::series(&mut request, &labels, &[(clock::aligned(HOUR, MINUTE)?, 1.0)]);
    Ok(wire::snappy(&request))
}

/// A refusal has an ingestor's own words; what is worth a retry tells when.
fn expect_words(answer: &Answer, words: [&str; 3]) -> Result<()> {
    let Answer::Status { code, message } = answer else { bail!("{answer:?}") };
    let known = words.iter().any(|words| !words.is_empty() && message.contains(words.trim()));
    ensure!(known || matches!(code, 200), "{answer:?} has none of {words:?}");
    ensure!(*code != 200 || message.is_empty(), "{answer:?}");
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
