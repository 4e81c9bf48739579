//! Topology: senders of two tenants → Envoy with the filter, which follows a file → five sidecars, RF=3. The ring of one
//! tenant has four of them or all five, by turns, and its bodies are split; the ring of the other always has the same
//! three, and its bodies go out unchanged.
//!
//! What full speed is, is measured: at first each request goes out when the one before is answered, and from then on half
//! as many in the same time. Every 20 seconds a sidecar is restarted, by turns killed and asked to end; every minute the
//! ring that changes grows or shrinks. No request fails, Envoy's memory stays where it is once it has settled, and what
//! was acknowledged is on two sidecars at least. A minute by default; `make soak` has ten.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{Display, Formatter};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::contents::Labels;
use ringside_e2e::envoy::Envoy;
use ringside_e2e::generator::{Answer, Sender, series, value};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::sidecar::{Setup, Sidecar};
use ringside_e2e::{oracle, tools, wait, wire};
use serde_json::json;

/// Requests under way at a time.
const CLIENTS: u32 = 4;
const SERIES_PER_REQUEST: usize = 500;
const STEP_MS: i64 = 10;
/// What a client writes to by turns. The ring of the second never changes.
const TENANTS: [&str; 2] = ["split", "unchanged"];
/// How many sidecars the first tenant's ring has by turns, and how many the second's.
const RINGS: [usize; 2] = [4, 5];
const RING_OF_THREE: usize = 3;
const RESTART_EVERY: Duration = Duration::from_secs(20);
const MINUTES: Duration = Duration::from_secs(60);
/// Full speed is measured for a twelfth of the time, and no longer than this: no sidecar is restarted meanwhile.
const FULL_SPEED_MAX: Duration = Duration::from_secs(10);
/// The least part of the requests that were due which has to be sent.
const SENT_MIN: f64 = 0.9;
/// What Envoy may still grow by once it has settled.
const GROWTH_MAX: u64 = 16 << 20;
/// Of each request these series are looked for in the end: those whose number leaves a remainder of 1 to this. All of
/// what a run of ten minutes writes would be hundreds of millions of lines.
const LOOKED_FOR: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn restarts_and_rings_fail_no_request_and_envoy_does_not_grow() -> Result<()> {
    let seconds = std::env::var("RINGSIDE_SOAK_SECONDS").unwrap_or_else(|_| "60".to_owned());
    let duration = Duration::from_secs(seconds.parse().context("RINGSIDE_SOAK_SECONDS")?);
    let scratch = Scratch::new("soak")?;
    let (mut stage, envoy) = Stage::start(scratch.path()).await?;
    let first = clock::aligned(HOUR, MINUTE)?;
    let clients = (0..CLIENTS).map(|number| Client::new(&envoy.write_url(), number, first)).collect();

    let run = Arc::new(Run::begin(duration));
    let changes = async {
        let result = stage.change(&envoy, &run).await;
        if result.is_err() {
            run.stop.store(true, Ordering::Relaxed);
        }
        result
    };
    let (sent, changes, memory) = tokio::join!(send(clients, &run), changes, watch(&envoy, &run));
    let (sent, memory) = (sent?, memory?);
    let failures = run.failures();
    eprintln!(
        "full speed {:.0} requests/s of {SERIES_PER_REQUEST} series, paced {:.0}/s: {} of {:.0} due sent and {} before, \
         {} failed; answers p50 {:?}, p99 {:?}; {memory}",
        sent.full_speed,
        sent.pace,
        sent.took.len(),
        sent.due,
        sent.before,
        failures.len(),
        quantile(&sent.took, 0.5),
        quantile(&sent.took, 0.99),
    );
    ensure!(failures.is_empty(), "{failures:?}");
    let restarts = changes?;
    ensure!(sent.took.len() as f64 >= SENT_MIN * sent.due, "{} of {:.0} sent", sent.took.len(), sent.due);
    memory.expect_flat()?;

    expect_forms(&envoy, &sent.clients).await?;
    // The first is the one that it began with.
    let rings = envoy.metrics().await?.sum("thanos_receive_hashrings_file_changes_total", &[]) - 1.0;
    ensure!(rings >= duration.div_duration_f64(MINUTES).floor(), "{rings} changes of the ring");
    // None is due at the very end.
    let due = duration.div_duration_f64(RESTART_EVERY).floor() - 1.0;
    ensure!(f64::from(restarts) >= due, "{restarts} restarts");

    envoy.wait_idle().await?;
    for (turn, tenant) in TENANTS.into_iter().enumerate() {
        let counted = copies(scratch.path(), &stage.sidecars, &sent.clients, turn)?;
        eprintln!("{tenant}: copies → samples: {counted:?}");
        ensure!(counted.keys().all(|copies| *copies >= 2), "{tenant}: copies → samples: {counted:?}");
    }
    scratch.passed();
    Ok(())
}

/// When it ends, and what has gone wrong so far.
struct Run {
    start: Instant,
    end: Instant,
    stop: AtomicBool,
    failures: Mutex<Vec<String>>,
}

impl Run {
    fn begin(duration: Duration) -> Self {
        let start = Instant::now();
        Self { start, end: start + duration, stop: AtomicBool::default(), failures: Mutex::default() }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || Instant::now() >= self.end
    }

    /// A request that failed ends the run.
    fn fail(&self, answer: &Answer) {
        let failure = format!("{:?} after the start: {answer:?}", self.start.elapsed());
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
        self.stop.store(true, Ordering::Relaxed);
    }

    fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Stage {
    sidecars: Vec<Sidecar>,
    hashrings: PathBuf,
}

impl Stage {
    async fn start(folder: &Path) -> Result<(Self, Envoy)> {
        let setup = Setup::default();
        let names: Vec<String> = (0..RINGS[1]).map(|number| format!("ringside-{number}")).collect();
        let starts = names.iter().map(|name| Sidecar::start(folder, name, &setup));
        let sidecars = futures::future::try_join_all(starts).await?;
        let stage = Self { sidecars, hashrings: folder.join("hashrings.json") };
        stage.write_rings(RINGS[0])?;
        let flags = [format!("--hashrings={}", stage.hashrings.display())];
        let envoy = Envoy::start_following(&folder.join("envoy"), &flags).await?;
        wait_all_healthy(&envoy).await?;
        Ok((stage, envoy))
    }

    /// Restarts sidecars and changes the ring until the run is over; the number of restarts.
    async fn change(&mut self, envoy: &Envoy, run: &Run) -> Result<u32> {
        let mut restarts = 0;
        // Two for each restart. A ring changes between two restarts.
        for half in 1_u32.. {
            let due = run.start + RESTART_EVERY / 2 * half;
            while Instant::now() < due && !run.is_over() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            if run.is_over() {
                break;
            }
            match half % 6 {
                0 | 2 | 4 => {
                    self.restart(half as usize / 2, envoy).await?;
                    restarts += 1;
                }
                3 => self.write_rings(RINGS[(half as usize / 6 + 1) % 2])?,
                _ => {}
            }
        }
        Ok(restarts)
    }

    async fn restart(&mut self, number: usize, envoy: &Envoy) -> Result<()> {
        let count = self.sidecars.len();
        let sidecar = &mut self.sidecars[number % count];
        if number.is_multiple_of(2) {
            sidecar.process.kill9()?;
        } else {
            sidecar.process.terminate().await?;
        }
        sidecar.restart().await?;
        wait_all_healthy(envoy).await
    }

    /// Replaces the file at once, as whoever changes a ring under load has to.
    fn write_rings(&self, changing: usize) -> Result<()> {
        let addresses: Vec<String> = self.sidecars.iter().map(|one| one.ring_address().to_string()).collect();
        let rings = json!([
            {"hashring": "three", "tenants": [TENANTS[1]], "endpoints": addresses[..RING_OF_THREE]},
            {"hashring": "default", "endpoints": addresses[..changing]},
        ]);
        let next = self.hashrings.with_extension("next");
        std::fs::write(&next, rings.to_string())?;
        #[expect(clippy::disallowed_methods, reason = "no crash is to be outlived here")]
        Ok(std::fs::rename(next, &self.hashrings)?)
    }
}

async fn wait_all_healthy(envoy: &Envoy) -> Result<()> {
    wait::eventually("Envoy to find all healthy", async || envoy.expect_all_healthy().await).await
}

/// One of those who send, with series of its own. Its requests go to the tenants by turns.
struct Client {
    senders: [Sender; 2],
    series: Vec<Labels>,
    first: i64,
    /// So many requests were answered 200, and none in any other way.
    acknowledged: usize,
}

/// What came of the senders.
struct Sent {
    clients: Vec<Client>,
    /// Requests at full speed, and how many that was in a second.
    before: usize,
    full_speed: f64,
    /// How many were to be sent in a second after that, and in all.
    pace: f64,
    due: f64,
    /// How long the answers took, in order, each from when its request was due: what a request had to wait because others
    /// were late is in it.
    took: Vec<Duration>,
}

/// Sends at full speed, then at half of it, until the run is over.
async fn send(clients: Vec<Client>, run: &Arc<Run>) -> Result<Sent> {
    let (from, time) = (Instant::now(), ((run.end - run.start) / 12).min(FULL_SPEED_MAX));
    let fast = clients.into_iter().map(|client| client.send_at_full_speed(Arc::clone(run), from + time));
    let clients = at_once(fast).await?;
    let before = clients.iter().map(|client| client.acknowledged).sum();
    let full_speed = before as f64 / from.elapsed().as_secs_f64();
    let (start, pace) = (Instant::now(), full_speed / 2.0);
    if run.is_over() {
        return Ok(Sent { clients, before, full_speed, pace, due: 0.0, took: Vec::new() });
    }
    let every = Duration::from_secs_f64(f64::from(CLIENTS) / pace);
    let paced = (0_u32..).zip(clients).map(|(number, client)| {
        // They begin one after the other.
        client.send_paced(Arc::clone(run), start + every / CLIENTS * number, every)
    });
    let (clients, took): (Vec<_>, Vec<_>) = at_once(paced).await?.into_iter().unzip();
    let mut took = took.concat();
    took.sort_unstable();
    let due = pace * (run.end - start).as_secs_f64();
    Ok(Sent { clients, before, full_speed, pace, due, took })
}

/// Each as a task, so that no client waits for the work of another.
async fn at_once<T: Send + 'static>(
    work: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Result<Vec<T>> {
    let tasks: Vec<_> = work.map(tokio::spawn).collect();
    futures::future::try_join_all(tasks).await.context("a client's task")
}

impl Client {
    fn new(url: &str, number: u32, first: i64) -> Self {
        Self {
            senders: TENANTS.map(|tenant| Sender::new(url, Some(tenant))),
            series: series(&format!("soak_{number}"), SERIES_PER_REQUEST),
            first,
            acknowledged: 0,
        }
    }

    async fn send_at_full_speed(mut self, run: Arc<Run>, until: Instant) -> Self {
        while Instant::now() < until && !run.is_over() {
            self.exchange(&run).await;
        }
        self
    }

    /// Sends a request at each multiple of `every` from the start on, whatever became of those before. While an answer is
    /// waited for the requests that come due wait too; once it is there they go out one after the other without any pause,
    /// at full speed, until the client is on time again. So a slow answer delays requests, and takes none away.
    async fn send_paced(mut self, run: Arc<Run>, start: Instant, every: Duration) -> (Self, Vec<Duration>) {
        let mut took = Vec::new();
        for number in 0_u32.. {
            let due = start + every * number;
            tokio::time::sleep_until(due.min(run.end).into()).await;
            if run.is_over() {
                break;
            }
            self.exchange(&run).await;
            took.push(due.elapsed());
        }
        (self, took)
    }

    async fn exchange(&mut self, run: &Run) {
        let (mut request, timestamp) = (Vec::new(), self.timestamp(self.acknowledged));
        for (index, labels) in self.series.iter().enumerate() {
            wire::series(&mut request, labels, &[(timestamp, value(index, timestamp))]);
        }
        match self.senders[self.acknowledged % TENANTS.len()].post(wire::snappy(&request)).await {
            Answer::Status { code: 200, .. } => self.acknowledged += 1,
            answer => run.fail(&answer),
        }
    }

    /// Of the samples in its request of this number.
    fn timestamp(&self, number: usize) -> i64 {
        self.first + number as i64 * STEP_MS
    }

    /// The numbers of the acknowledged requests to a tenant.
    fn acknowledged(&self, turn: usize) -> impl Iterator<Item = usize> {
        (turn..self.acknowledged).step_by(TENANTS.len())
    }
}

/// What stands at a part of what is sorted; nothing where there is nothing.
fn quantile<T: Copy + Default>(sorted: &[T], part: f64) -> T {
    let place = (sorted.len() as f64 * part) as usize;
    sorted.get(place).or(sorted.last()).copied().unwrap_or_default()
}

/// Envoy's resident memory in bytes, second by second, each with the time since the start.
struct Memory {
    duration: Duration,
    seen: Vec<(Duration, u64)>,
}

async fn watch(envoy: &Envoy, run: &Run) -> Result<Memory> {
    let mut seen = Vec::new();
    while !run.is_over() {
        seen.push((run.start.elapsed(), envoy.process.rss_bytes()?));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(Memory { duration: run.end - run.start, seen })
}

impl Memory {
    /// The medians of the sixth of the run after it has settled and of the last sixth. It has settled when a third of the
    /// run is over, or its first minute.
    fn settled_and_end(&self) -> [u64; 2] {
        let (settle, sixth) = ((self.duration / 3).min(MINUTES), self.duration / 6);
        [settle, self.duration - sixth].map(|from| self.median(from, from + sixth))
    }

    fn expect_flat(&self) -> Result<()> {
        let [settled, end] = self.settled_and_end();
        ensure!(settled > 0 && end > 0, "the run is too short");
        ensure!(end <= settled + GROWTH_MAX, "Envoy grew from {settled} to {end} bytes");
        Ok(())
    }

    fn median(&self, from: Duration, to: Duration) -> u64 {
        let within = self.seen.iter().filter(|(when, _)| (from..to).contains(when));
        let mut bytes: Vec<u64> = within.map(|(_, bytes)| *bytes).collect();
        bytes.sort_unstable();
        quantile(&bytes, 0.5)
    }
}

impl Display for Memory {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let bytes = || self.seen.iter().map(|(_, bytes)| *bytes);
        let (first, last) = (bytes().next().unwrap_or_default(), bytes().next_back().unwrap_or_default());
        let (median, max) = (self.median(Duration::ZERO, Duration::MAX), bytes().max().unwrap_or_default());
        let [first, median, last, max] = [first, median, last, max].map(|bytes| bytes >> 20);
        let [settled, end] = self.settled_and_end().map(|bytes| bytes >> 20);
        write!(f, "Envoy's MiB: first {first}, median {median}, last {last}, max {max}; ")?;
        write!(f, "{settled} when settled and {end} in the end, by the medians")
    }
}

/// The bodies of each tenant went out in the form that its ring asks for.
async fn expect_forms(envoy: &Envoy, clients: &[Client]) -> Result<()> {
    // A worker hands over what it has counted from time to time.
    wait::eventually("the requests to be counted by their form", async || {
        let metrics = envoy.metrics().await?;
        for (turn, form) in ["split", "unchanged"].into_iter().enumerate() {
            let sent: usize = clients.iter().map(|client| client.acknowledged(turn).count()).sum();
            let counted = metrics.sum("ringside_writes_total", &[&format!("form=\"{form}\"")]);
            ensure!(counted == sent as f64, "{counted} {form}, of {sent}");
        }
        Ok(())
    })
    .await
}

/// On how many sidecars the acknowledged samples of a tenant are, as copies → samples, of those series that are looked for.
/// A sample that was not sent, or has another value, is an error.
fn copies(
    folder: &Path,
    sidecars: &[Sidecar],
    clients: &[Client],
    turn: usize,
) -> Result<BTreeMap<u8, usize>> {
    let looked_for = || (0..SERIES_PER_REQUEST).filter(|index| index % LOOKED_FOR == 1);
    let mut found = HashMap::new();
    for client in clients {
        for index in looked_for() {
            let counts = vec![0_u8; client.acknowledged(turn).count()];
            found.insert(printed(&client.series[index]), (client, index, counts));
        }
    }
    let numbers: Vec<String> = looked_for().map(|index| index.to_string()).collect();
    let selector = format!("--match={{index=~\"{}\"}}", numbers.join("|"));
    for sidecar in sidecars {
        let (tenant, copy) = (sidecar.tenant_dir(TENANTS[turn]), folder.join("copy"));
        // The ring of three does not have all of them.
        if !tenant.exists() {
            continue;
        }
        oracle::copy_tsdb(&tenant, &copy)?;
        dump(&copy, &selector, |series, timestamp, stored| {
            let (client, index, counts) = found.get_mut(series).context("an odd series")?;
            let number = usize::try_from((timestamp - client.first) / STEP_MS)?;
            let as_sent = client.timestamp(number) == timestamp && number % TENANTS.len() == turn;
            ensure!(as_sent && value(*index, timestamp) == stored, "such a sample was not sent");
            *counts.get_mut(number / TENANTS.len()).context("its request was not acknowledged")? += 1;
            Ok(())
        })
        .with_context(|| sidecar.name().to_owned())?;
        std::fs::remove_dir_all(copy)?;
    }
    let mut counted = BTreeMap::new();
    for count in found.values().flat_map(|(_, _, counts)| counts) {
        *counted.entry(*count).or_default() += 1;
    }
    Ok(counted)
}

/// As promtool prints labels. Those that are looked for have nothing in them that it would escape.
fn printed(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// Shows each sample of the selected series in a TSDB that nobody uses, in the judgement of promtool.
fn dump(dir: &Path, selector: &str, visit: impl FnMut(&str, i64, f64) -> Result<()>) -> Result<()> {
    let mut child = Command::new(tools::promtool()?)
        .args(["tsdb", "dump", selector])
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()?;
    let read = read_lines(BufReader::new(child.stdout.take().context("no stdout")?), visit);
    let status = child.wait()?;
    // A reader that gave up closes the pipe, of which the program then complains.
    read?;
    ensure!(status.success(), "the dump of {}: {status}", dir.display());
    Ok(())
}

fn read_lines(mut lines: impl BufRead, mut visit: impl FnMut(&str, i64, f64) -> Result<()>) -> Result<()> {
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        let mut fields = line.trim_end().rsplitn(3, ' ');
        let (Some(timestamp), Some(value), Some(series)) = (fields.next(), fields.next(), fields.next())
        else {
            bail!("an odd line: {line:?}");
        };
        visit(series, timestamp.parse()?, value.parse()?).with_context(|| line.clone())?;
        line.clear();
    }
    Ok(())
}
