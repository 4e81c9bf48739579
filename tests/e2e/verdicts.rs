//! Topology: a client → Envoy with the filter → receivers in this process that answer as sidecars do, RF=3: three, to
//! which bodies go unchanged, and five.
//!
//! Lists of refused series that differ from each other are put together series by series. A list counts by the places
//! that series have in the part of its receiver; the client hears of places in its own request. The verdict comes as
//! soon as it is fixed, and a sender of remote write 2.0 is told exactly how much is written.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::http::HeaderMap;
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::contents::Labels;
use ringside_e2e::envoy::Envoy;
use ringside_e2e::generator::Sender;
use ringside_e2e::receiver::{Part, Receiver, Reply, Series};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::wire::Histogram;
use ringside_e2e::wire_v2::{Data, Request};
use ringside_e2e::{wait, wire};
use ringside_proto::protocol::HEADERS_WRITTEN;
use ringside_proto::remote_write_v2::Contents;
use ringside_proto::ringside::{Reason, RefusedSeries};
use ringside_proto::{HEADER_REFUSALS, Protocol};

const TENANT: &str = "team-a";
const SERIES: usize = 80;
/// The label that tells the place of a series in the client's request.
const PLACE: &str = "place";
/// Longer than a client waits for the filter: an answer that came did not wait for a receiver.
const WRITE_TIMEOUT: &str = "--write-timeout=60s";
const FOR_LONG: Duration = Duration::from_secs(120);
const NOT_READY: &str = "the storage is not ready";

/// What one receiver makes of its part.
#[derive(Clone, Copy, Debug)]
enum Says {
    Takes,
    Refuses(&'static [Line]),
    /// 409 in words, as a sidecar answers whose list would be too long: it counts for all series of the part.
    RefusesInWords,
    /// 503.
    IsNotReady,
    /// Nothing, as long as the client waits.
    Nothing,
}

/// One line of a list.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// Which of the two series that a case is about.
    series: usize,
    reason: Reason,
    /// How many samples are not stored; `None` for all that the series holds.
    samples_missing: Option<u32>,
}

/// What three receivers say that hold the same two series, and what follows.
#[derive(Debug)]
struct Case {
    says: [Says; 3],
    /// The status of an answer to remote write 1.0, and to 2.0.
    status: [u16; 2],
    /// Whom the answer may name as the cause, and of which series.
    blames: Option<(&'static [usize], usize)>,
}

const fn line(series: usize, reason: Reason) -> Line {
    Line { series, reason, samples_missing: None }
}

const fn partly(series: usize, reason: Reason, samples: u32) -> Line {
    Line { series, reason, samples_missing: Some(samples) }
}

const fn case(says: [Says; 3], status: [u16; 2], blames: Option<(&'static [usize], usize)>) -> Case {
    Case { says, status, blames }
}

const LATE: Line = line(0, Reason::OutOfOrder);
const LATE_TOO: Line = line(1, Reason::TooOld);
const TWICE: Line = line(0, Reason::DuplicateTimestamp);
const AHEAD: Line = line(1, Reason::OutOfBounds);
const BAD: Line = line(0, Reason::Invalid);
const FULL: Line = line(0, Reason::Limit);
const FULL_TOO: Line = line(1, Reason::Limit);
const UNKNOWN: Line = line(0, Reason::Unavailable);
const ONE_TWICE: Line = partly(0, Reason::DuplicateTimestamp, 1);
const TWO_TWICE: Line = partly(0, Reason::DuplicateTimestamp, 2);

const CASES: [Case; 21] = {
    use Says::{IsNotReady, Nothing, Refuses, RefusesInWords, Takes};
    [
        // Each series that one refuses, two take.
        case([Refuses(&[LATE]), Refuses(&[AHEAD]), Takes], [200, 204], None),
        case([Refuses(&[LATE]), Refuses(&[LATE_TOO]), IsNotReady], [503, 503], Some((&[2], 0))),
        case([Refuses(&[LATE]), Takes, Takes], [200, 204], None),
        case([RefusesInWords, Takes, Takes], [200, 204], None),
        // Two refuse the same one: what the third would say does not matter.
        case([Refuses(&[LATE]), Refuses(&[LATE]), Nothing], [409, 400], Some((&[0, 1], 0))),
        case([Refuses(&[LATE]), Refuses(&[TWICE]), Nothing], [409, 400], Some((&[0, 1], 0))),
        case([Refuses(&[LATE, AHEAD]), Refuses(&[AHEAD]), Takes], [409, 400], Some((&[0, 1], 1))),
        case([Refuses(&[BAD]), Refuses(&[BAD]), Nothing], [400, 400], Some((&[0, 1], 0))),
        case([Refuses(&[BAD]), Refuses(&[LATE]), Takes], [409, 400], Some((&[1], 0))),
        case([Refuses(&[LATE]), Refuses(&[LATE]), IsNotReady], [409, 400], Some((&[0, 1], 0))),
        case([Refuses(&[LATE]), RefusesInWords, Takes], [409, 400], Some((&[0, 1], 0))),
        // What is stored of a refused series counts as written where two have it.
        case([Refuses(&[ONE_TWICE]), Refuses(&[TWO_TWICE]), Takes], [409, 400], Some((&[0, 1], 0))),
        case([Refuses(&[ONE_TWICE]), Refuses(&[TWO_TWICE]), IsNotReady], [409, 400], Some((&[0, 1], 0))),
        // Limits: later there may be room.
        case([Refuses(&[FULL]), Refuses(&[FULL]), Takes], [429, 429], Some((&[0, 1], 0))),
        case([Refuses(&[FULL]), Refuses(&[FULL]), Nothing], [429, 429], Some((&[0, 1], 0))),
        case([Refuses(&[FULL]), Refuses(&[FULL_TOO]), Takes], [200, 204], None),
        case([Refuses(&[LATE, FULL_TOO]), Refuses(&[LATE, FULL_TOO]), Takes], [429, 429], Some((&[0, 1], 1))),
        // No two agree, so that a retry may help.
        case([Refuses(&[LATE]), Refuses(&[FULL]), IsNotReady], [503, 503], Some((&[2], 0))),
        case([Refuses(&[LATE]), Refuses(&[FULL_TOO]), IsNotReady], [503, 503], Some((&[2], 0))),
        case([Refuses(&[LATE]), Refuses(&[FULL]), Takes], [503, 503], Some((&[1], 0))),
        case([Refuses(&[UNKNOWN]), Refuses(&[LATE]), Takes], [503, 503], Some((&[0], 0))),
    ]
};

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_differ_make_a_verdict() -> Result<()> {
    for number in [3, 5] {
        let scratch = Scratch::new(&format!("verdicts-{number}"))?;
        let receivers = Receiver::start_many(number).await?;
        let hashrings = Receiver::hashrings(&receivers);
        let flags = [WRITE_TIMEOUT.to_owned()];
        let envoy = Envoy::start(&scratch.path().join("envoy"), &hashrings, &flags).await?;
        wait::eventually("healthy receivers", async || envoy.expect_all_healthy().await).await?;
        for protocol in [Protocol::V1, Protocol::V2] {
            let stage = Stage::prepare(&envoy, &receivers, protocol).await?;
            for case in &CASES {
                // Each of the three has each role.
                for turn in 0..3 {
                    let mut roles = stage.holders;
                    roles.rotate_left(turn);
                    let context = || format!("{number} receivers, {protocol:?}, turn {turn}: {case:?}");
                    stage.expect(case, roles).await.with_context(context)?;
                }
            }
        }
        scratch.passed();
    }
    Ok(())
}

/// A request, and where its series go.
struct Stage<'a> {
    envoy: &'a Envoy,
    receivers: &'a [Receiver],
    protocol: Protocol,
    sender: Sender,
    body: Vec<u8>,
    parts: Vec<Got>,
    /// Three receivers that hold the two series that the cases are about.
    holders: [usize; 3],
    /// The places of these in the client's request, ascending.
    places: [usize; 2],
}

/// What one receiver gets of the request.
struct Got {
    part: Part,
    series: Vec<Series>,
    /// From the place of a series in the client's request to the place in the part.
    places: BTreeMap<usize, usize>,
}

impl Got {
    fn read(receiver: &Receiver) -> Result<Self> {
        let part = receiver.take_parts().pop().context("no part")?;
        let series = part.series()?;
        let mut places = BTreeMap::new();
        for (at, one) in series.iter().enumerate() {
            places.insert(one.labels.get(PLACE).context("a series without its place")?.parse()?, at);
        }
        ensure!(places.len() == series.len(), "a series comes twice");
        Ok(Self { part, series, places })
    }

    fn total(&self) -> Contents {
        sum(self.series.iter().map(|series| series.contents))
    }
}

impl<'a> Stage<'a> {
    /// Sends the request once, to see what each receiver gets.
    async fn prepare(envoy: &'a Envoy, receivers: &'a [Receiver], protocol: Protocol) -> Result<Self> {
        let sender = Sender::new(&envoy.write_url(), Some(TENANT))
            .with_header("content-type", protocol.content_type().as_bytes())
            .with_header("x-prometheus-remote-write-version", protocol.version().as_bytes());
        let body = body(protocol)?;
        let takes = Reply { written: Some([0; 3]), ..Reply::new(protocol.success(), "") };
        receivers.iter().for_each(|receiver| receiver.answer(takes.clone()));
        let (status, _, message) = sender.exchange(body.clone()).await?;
        ensure!(status == protocol.success(), "{status}: {message}");
        expect_parts(envoy, receivers).await?;
        let parts = receivers.iter().map(Got::read).collect::<Result<Vec<_>>>()?;

        let mut sets: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
        for place in 0..SERIES {
            let holders = (0..parts.len()).filter(|at| parts[*at].places.contains_key(&place));
            sets.entry(holders.collect()).or_default().push(place);
        }
        ensure!(sets.keys().all(|holders| holders.len() == 3), "{sets:?}");
        let is_split = receivers.len() > 3;
        ensure!((sets.len() > 1) == is_split, "{} replica sets", sets.len());
        // In a part of a split body a series has another place than in the client's, or the test would not tell them apart.
        let chosen = sets.iter().find_map(|(holders, places)| {
            let is_moved = |place| holders.iter().all(|at| parts[*at].places.get(&place) != Some(&place));
            let is_fit = |place: &&usize| contents(**place).samples == 3 && is_moved(**place) == is_split;
            let fit: Vec<_> = places.iter().filter(is_fit).copied().collect();
            Some((<[usize; 3]>::try_from(&**holders).ok()?, *fit.last_chunk()?))
        });
        let (holders, places) = chosen.context("no two series are fit for the cases")?;
        Ok(Self { envoy, receivers, protocol, sender, body, parts, holders, places })
    }

    /// Plays a case, in which the receivers at `roles` say what it has them say and all others take everything.
    async fn expect(&self, case: &Case, roles: [usize; 3]) -> Result<()> {
        let says =
            |at: usize| roles.iter().position(|role| *role == at).map_or(Says::Takes, |role| case.says[role]);
        for (at, receiver) in self.receivers.iter().enumerate() {
            receiver.answer(self.reply(at, says(at)));
        }
        let answered: Vec<_> = self.receivers.iter().map(Receiver::answered).collect();
        let (status, headers, message) = self.sender.exchange(self.body.clone()).await?;
        for at in roles.into_iter().filter(|at| matches!(says(*at), Says::Nothing)) {
            ensure!(self.receivers[at].answered() == answered[at], "the client waited for the silent one");
        }
        let expected = case.status[usize::from(self.protocol == Protocol::V2)];
        ensure!(status == expected, "{status} instead of {expected}: {message}");
        ensure!(message.is_empty() == (status < 300), "{status}: {message:?}");
        let waits = headers.get("retry-after").is_some_and(|seconds| seconds == "1");
        ensure!(waits == matches!(status, 429 | 503), "{status}: {headers:?}");
        self.expect_written(&headers, says)?;
        if let Some((blamed, series)) = case.blames {
            let causes: Vec<_> =
                blamed.iter().map(|role| self.cause(roles[*role], case.says[*role], series)).collect();
            ensure!(
                causes.iter().any(|cause| message.trim().ends_with(cause)),
                "{message} names none of {causes:?}"
            );
        }

        self.receivers.iter().for_each(|receiver| receiver.answer(Reply::default()));
        expect_parts(self.envoy, self.receivers).await?;
        for (receiver, got) in self.receivers.iter().zip(&self.parts) {
            let parts = receiver.take_parts();
            // The places that its list named are those of this very part.
            ensure!(
                parts.len() == 1 && parts[0].body == got.part.body,
                "another part than before: {parts:?}"
            );
            ensure!(parts[0].header(HEADER_REFUSALS) == "1", "nobody asks for a list: {parts:?}");
        }
        Ok(())
    }

    /// The answer of the receiver at `at`, in the form that a sidecar's has.
    fn reply(&self, at: usize, says: Says) -> Reply {
        let got = &self.parts[at];
        let (all, series) = (got.total(), got.series.len());
        let takes = Reply {
            written: Some([all.samples, all.histograms, all.exemplars]),
            series: Some(series as u64),
            ..Reply::new(self.protocol.success(), "")
        };
        let written = Some([0; 3]);
        match says {
            Says::Takes => takes,
            Says::Nothing => Reply { delay: FOR_LONG, ..takes },
            Says::IsNotReady => Reply { written, ..Reply::new(503, NOT_READY) },
            Says::RefusesInWords => {
                let message = format!("{series} of {series} series refused: out of order");
                Reply { written, series: takes.series, ..Reply::new(409, &message) }
            }
            Says::Refuses(lines) => {
                let stored = all.saturating_sub(sum(lines.iter().map(|line| self.missing(line))));
                let message = format!("{} of {series} series refused, the others are stored", lines.len());
                let refused = lines.iter().filter_map(|line| {
                    let missing = self.missing(line);
                    Some(RefusedSeries {
                        index: *got.places.get(&self.places[line.series])? as u32,
                        reason: line.reason as i32,
                        samples_missing: missing.samples as u32,
                        histograms_missing: missing.histograms as u32,
                        exemplars_missing: missing.exemplars as u32,
                    })
                });
                Reply {
                    message,
                    status: lines.iter().map(|line| status(line.reason)).max().unwrap_or(503),
                    written: Some([stored.samples, stored.histograms, stored.exemplars]),
                    refused: refused.collect(),
                    ..takes
                }
            }
        }
    }

    fn missing(&self, line: &Line) -> Contents {
        match line.samples_missing {
            None => contents(self.places[line.series]),
            Some(samples) => Contents { samples: samples.into(), ..Contents::default() },
        }
    }

    /// Of each series that is written which two of its three receivers have; whoever says nothing of it has nothing.
    fn expect_written(&self, headers: &HeaderMap, says: impl Fn(usize) -> Says) -> Result<()> {
        let mut written = Contents::default();
        for place in 0..SERIES {
            let holders = (0..self.parts.len()).filter(|at| self.parts[*at].places.contains_key(&place));
            let held: Vec<_> = holders.map(|at| self.held(place, says(at))).collect();
            let second = |kind: fn(&Contents) -> u64| {
                let mut held: Vec<_> = held.iter().map(kind).collect();
                held.sort_unstable();
                held[1]
            };
            written += Contents {
                samples: second(|held| held.samples),
                histograms: second(|held| held.histograms),
                exemplars: second(|held| held.exemplars),
            };
        }
        let said = HEADERS_WRITTEN.map(|name| headers.get(name).and_then(|value| value.to_str().ok()));
        let expected =
            [written.samples, written.histograms, written.exemplars].map(|count| count.to_string());
        let expected = expected.each_ref().map(|count| (self.protocol == Protocol::V2).then_some(&**count));
        ensure!(said == expected, "{said:?} are written instead of {expected:?}");
        Ok(())
    }

    /// What is stored of a series by a receiver that says so.
    fn held(&self, place: usize, says: Says) -> Contents {
        match says {
            Says::Takes => contents(place),
            Says::Nothing | Says::IsNotReady | Says::RefusesInWords => Contents::default(),
            Says::Refuses(lines) => {
                let listed = lines.iter().find(|line| self.places[line.series] == place);
                contents(place).saturating_sub(listed.map(|line| self.missing(line)).unwrap_or_default())
            }
        }
    }

    /// How a message ends that names the receiver at `at` as the cause.
    fn cause(&self, at: usize, says: Says, series: usize) -> String {
        let listed = match says {
            Says::Refuses(lines) => lines.iter().find(|line| line.series == series),
            _ => None,
        };
        let reason = listed.map(|line| format!(" ({})", words(line.reason))).unwrap_or_default();
        let (place, address) = (self.places[series], self.receivers[at].address());
        let message = self.reply(at, says).message;
        format!(", the first of them at index {place}{reason}, by {address}: {message}")
    }
}

/// Waits until each receiver has its part and has answered it.
async fn expect_parts(envoy: &Envoy, receivers: &[Receiver]) -> Result<()> {
    wait::eventually("a part for each receiver", async || {
        let parts: Vec<_> = receivers.iter().map(Receiver::parts).collect();
        ensure!(parts.iter().all(|number| *number == 1), "{parts:?}");
        Ok(())
    })
    .await?;
    envoy.wait_idle().await
}

/// What the series at a place of the client's request holds: samples or histograms, and some exemplars.
fn contents(place: usize) -> Contents {
    let (samples, histograms) = match place % 4 {
        0 => (1, 0),
        3 => (0, 2),
        _ => (3, 0),
    };
    Contents { samples, histograms, exemplars: place as u64 % 3 }
}

/// The client's request, compressed.
fn body(protocol: Protocol) -> Result<Vec<u8>> {
    let now = clock::aligned(HOUR, MINUTE)?;
    let (mut v1, mut v2) = (Vec::new(), Request::default());
    for place in 0..SERIES {
        let labels = [("__name__", "verdicts".to_owned()), (PLACE, place.to_string())];
        let labels = Labels::from(labels.map(|(name, value)| (name.to_owned(), value)));
        let trace = Labels::from([("trace_id".to_owned(), place.to_string())]);
        let Contents { samples, histograms, exemplars } = contents(place);
        let times = |count: u64| (0..count as i64).map(|number| now + number);
        match protocol {
            Protocol::V1 => {
                let mut series = Vec::new();
                for (name, value) in &labels {
                    wire::label(&mut series, name.as_bytes(), value.as_bytes());
                }
                times(samples).for_each(|timestamp| wire::sample(&mut series, timestamp, 1.0));
                for timestamp in times(histograms) {
                    wire::histogram(&mut series, &Histogram { timestamp, ..Histogram::default() });
                }
                times(exemplars).for_each(|timestamp| wire::exemplar(&mut series, &trace, 1.0, timestamp));
                wire::bytes_field(&mut v1, 1, &series);
            }
            Protocol::V2 => {
                let trace: Vec<_> = trace.into_iter().collect();
                let data = Data {
                    samples: times(samples).map(|timestamp| (timestamp, 1.0)).collect(),
                    histograms: times(histograms)
                        .map(|timestamp| Histogram { timestamp, ..Histogram::default() })
                        .collect(),
                    exemplars: times(exemplars).map(|timestamp| (trace.clone(), 1.0, timestamp)).collect(),
                    ..Data::default()
                };
                v2.series(&labels.into_iter().collect::<Vec<_>>(), &data);
            }
        }
    }
    Ok(wire::snappy(&if protocol == Protocol::V1 { v1 } else { v2.encode() }))
}

fn sum(all: impl Iterator<Item = Contents>) -> Contents {
    all.fold(Contents::default(), |mut sum, one| {
        sum += one;
        sum
    })
}

/// The status that a sidecar gives for one reason; for several, the highest of those that occur together here.
fn status(reason: Reason) -> u16 {
    match reason {
        Reason::Invalid => 400,
        Reason::OutOfOrder | Reason::DuplicateTimestamp | Reason::OutOfBounds | Reason::TooOld => 409,
        Reason::Limit => 429,
        Reason::Unspecified | Reason::Unavailable => 503,
    }
}

fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::Unspecified => "refused without a reason",
        Reason::Invalid => "invalid",
        Reason::OutOfOrder => "out of order",
        Reason::DuplicateTimestamp => "duplicate timestamp with another value",
        Reason::OutOfBounds => "out of bounds",
        Reason::TooOld => "too old",
        Reason::Limit => "over a limit",
        Reason::Unavailable => "unavailable",
    }
}
