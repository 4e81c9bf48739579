//! Sends prepared requests over a few kept-alive HTTP/1.1 connections, and notes how long each took.
//!
//! A request's place in a scrape goes out again only after it was answered for the scrape before, so that the
//! samples of every series arrive in order. Any answer but 2xx ends the run: a benchmark of refusals is none.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::load::Load;

/// Requests under way at a time.
pub(crate) const CONNECTIONS: usize = 4;
/// A system that takes longer than this for one request has hung.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How long a connection waits before it looks again whether its turn has come.
const NAP: Duration = Duration::from_micros(50);

/// One answered request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    /// When it was sent, or, where there is a pace, was to be sent.
    pub(crate) start: Instant,
    pub(crate) took: Duration,
}

/// How fast to send, and until when.
#[derive(Clone, Copy)]
pub(crate) struct Pace<'a> {
    /// Between two requests; zero: as fast as answers come.
    pub(crate) every: Duration,
    /// Stops before the end of the range when this becomes true.
    pub(crate) stop: &'a AtomicBool,
}

/// Where to write.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
}

/// Sends the given scrapes as fast as answers come.
pub(crate) fn send(to: &Endpoint, load: &Load, scrapes: Range<usize>) -> Result<Vec<Exchange>> {
    let never = AtomicBool::new(false);
    send_paced(to, load, scrapes, Pace { every: Duration::ZERO, stop: &never })
}

/// Sends the given scrapes at a pace.
pub(crate) fn send_paced(
    to: &Endpoint,
    load: &Load,
    scrapes: Range<usize>,
    pace: Pace<'_>,
) -> Result<Vec<Exchange>> {
    let answered: Vec<AtomicUsize> = (0..load.places()).map(|_| AtomicUsize::new(scrapes.start)).collect();
    let queue = Queue { load, scrapes, pace, next: AtomicUsize::new(0), answered, start: Instant::now() };
    let sent: Vec<Result<Vec<Exchange>>> = std::thread::scope(|scope| {
        let connections: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(|| queue.work(to))).collect();
        connections.into_iter().map(|one| one.join().ok().context("a connection panicked")?).collect()
    });
    Ok(sent.into_iter().collect::<Result<Vec<_>>>()?.concat())
}

/// What the connections share.
struct Queue<'a> {
    load: &'a Load,
    scrapes: Range<usize>,
    pace: Pace<'a>,
    next: AtomicUsize,
    /// By place: the scrape that may go out.
    answered: Vec<AtomicUsize>,
    start: Instant,
}

impl Queue<'_> {
    fn work(&self, to: &Endpoint) -> Result<Vec<Exchange>> {
        let (mut connection, mut exchanges) = (Connection::open(to)?, Vec::new());
        let result = self.exchange_all(&mut connection, &mut exchanges);
        if result.is_err() {
            // The others may wait for what this one has not sent.
            self.next.store(usize::MAX / 2, Ordering::Release);
            self.answered.iter().for_each(|place| place.store(usize::MAX, Ordering::Release));
        }
        result.map(|()| exchanges)
    }

    fn exchange_all(&self, connection: &mut Connection, exchanges: &mut Vec<Exchange>) -> Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::AcqRel);
            let (scrape, place) =
                (self.scrapes.start + number / self.load.places(), number % self.load.places());
            if scrape >= self.scrapes.end || self.pace.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let due = self.start + self.pace.every * u32::try_from(number)?;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            while self.answered[place].load(Ordering::Acquire) < scrape {
                // What it waits for may have been given up.
                if self.pace.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                std::thread::sleep(NAP);
            }
            let start = if self.pace.every.is_zero() { Instant::now() } else { due };
            connection.post(self.load.body(place, scrape))?;
            exchanges.push(Exchange { start, took: start.elapsed() });
            self.answered[place].store(scrape + 1, Ordering::Release);
        }
    }
}

/// One kept-alive connection.
struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    head: String,
}

impl Connection {
    fn open(to: &Endpoint) -> Result<Self> {
        let stream = TcpStream::connect(to.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: \
             snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\nUser-Agent: \
             ringside-bench\r\nContent-Length: ",
            to.path, to.address
        );
        Ok(Self { stream, request: Vec::new(), answer: Vec::new(), head })
    }

    /// Sends one request and reads its answer to the end.
    fn post(&mut self, body: &[u8]) -> Result<()> {
        self.request.clear();
        write!(self.request, "{}{}\r\n\r\n", self.head, body.len())?;
        self.request.extend_from_slice(body);
        self.stream.write_all(&self.request)?;
        self.answer.clear();
        let end_of_head = loop {
            self.read_more()?;
            if let Some(at) = self.answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = String::from_utf8_lossy(&self.answer[..end_of_head]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.map_or(Ok(0), |text| text.trim().parse())?;
        while self.answer.len() < end_of_head + length {
            self.read_more()?;
        }
        match head.split(' ').nth(1) {
            Some(code) if code.starts_with('2') => Ok(()),
            _ => bail!("refused: {}", String::from_utf8_lossy(&self.answer)),
        }
    }

    fn read_more(&mut self) -> Result<()> {
        let mut some = [0; 4096];
        let count = self.stream.read(&mut some).context("no answer")?;
        if count == 0 {
            bail!("the connection was closed: {}", String::from_utf8_lossy(&self.answer));
        }
        self.answer.extend_from_slice(&some[..count]);
        Ok(())
    }
}
