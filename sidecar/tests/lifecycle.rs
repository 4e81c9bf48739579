//! The binary as a process: start, write, stop, crash, restart. One sidecar on loopback, its bucket a directory.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use ringside_proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};

/// A running sidecar. Killed on drop.
struct Sidecar {
    child: Child,
    http: String,
    write: String,
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringside"));
    command
        .args(["sidecar", "--label", "replica=\"0\"", "--tsdb.path"])
        .arg(dir.join("data"))
        .args(["--http-address", "127.0.0.1:0", "--grpc-address", "127.0.0.1:0"])
        .args(["--remote-write.address", "127.0.0.1:0", "--objstore.config"])
        .arg(format!("type: FILESYSTEM\nconfig:\n  directory: {}", dir.join("bucket").display()))
        .stderr(Stdio::piped());
    command
}

impl Sidecar {
    /// Starts it and waits until it is ready. Its log tells the ports.
    fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    fn start_with(dir: &Path, flags: &[&str]) -> Self {
        let mut child = command(dir).args(flags).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut http, mut write) = (String::new(), String::new());
        for line in log.by_ref() {
            let line = line.unwrap();
            let address =
                line.rsplit_once("address=").map(|(_, address)| address.to_owned()).unwrap_or_default();
            if line.contains("flag=--http-address") {
                http = address;
            } else if line.contains("flag=--remote-write.address") {
                write = address;
            } else if line.contains("msg=ready") {
                break;
            }
        }
        // The rest of the log must not fill the pipe.
        std::thread::spawn(move || log.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        assert!(!http.is_empty() && !write.is_empty(), "the sidecar ended before it was ready");
        Self { child, http, write }
    }

    fn write(&self, series: Vec<TimeSeries>) -> u16 {
        let body = body(series);
        let mut stream = TcpStream::connect(&self.write).unwrap();
        stream.write_all(head(body.len()).as_bytes()).unwrap();
        // A request that is refused by its headers is answered before its body is read.
        let _ = stream.write_all(&body);
        status(&mut stream)
    }

    /// A sample of `/metrics` without labels.
    fn metric(&self, name: &str) -> f64 {
        let metrics = self.get("/metrics");
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} is not in {metrics}")).parse().unwrap()
    }

    /// The most memory that was ever resident, in bytes.
    fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn head(length: usize) -> String {
    format!("POST /api/v1/receive HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n")
}

fn status(stream: &mut TcpStream) -> u16 {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

fn body(series: Vec<TimeSeries>) -> Vec<u8> {
    let message = WriteRequest { timeseries: series, metadata: Vec::new() }.encode_to_vec();
    snap::raw::Encoder::new().compress_vec(&message).unwrap()
}

/// One sample of each of a hundred series.
fn scrape(timestamp: i64, value: f64) -> Vec<TimeSeries> {
    samples_of(0..100, timestamp, value)
}

fn samples_of(series: std::ops::Range<u32>, timestamp: i64, value: f64) -> Vec<TimeSeries> {
    series
        .map(|n| TimeSeries {
            labels: vec![Label { name: "__name__".to_owned(), value: format!("metric_{n}") }],
            samples: vec![Sample { value, timestamp }],
            ..TimeSeries::default()
        })
        .collect()
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1200 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{what} did not happen");
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let start = now_ms();
    for round in 0..4 {
        let sidecar = Sidecar::start(dir.path());
        for earlier in 0..round {
            // What is stored is a success when sent again, and a conflict when changed.
            assert_eq!(sidecar.write(scrape(start + earlier, earlier as f64)), 200);
            assert_eq!(sidecar.write(scrape(start + earlier, -1.0)), 409);
        }
        assert_eq!(sidecar.write(scrape(start + round, round as f64)), 200);
        if round % 2 == 0 {
            sidecar.signal("-KILL");
            sidecar.wait();
        } else {
            sidecar.signal("-TERM");
            assert!(sidecar.wait().success());
        }
    }
}

#[test]
fn a_data_directory_is_for_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Sidecar::start(dir.path());
    let second = command(dir.path()).output().unwrap();
    assert!(!second.status.success());
    let message = String::from_utf8_lossy(&second.stderr);
    assert!(message.contains("--tsdb.path") && message.contains("held by another process"), "{message}");
}

#[test]
fn a_request_under_way_is_answered_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(dir.path());
    let body = body(scrape(now_ms(), 1.0));
    let mut stream = TcpStream::connect(&sidecar.write).unwrap();
    stream.write_all(head(body.len()).as_bytes()).unwrap();
    stream.write_all(&body[..10]).unwrap();
    // Half a body is held once its request is being served.
    eventually("reading the body", || {
        !sidecar.get("/metrics").contains("ringside_receive_in_flight_bytes 0")
    });
    sidecar.signal("-TERM");
    eventually("closing the listener", || TcpStream::connect(&sidecar.write).is_err());
    stream.write_all(&body[10..]).unwrap();
    assert_eq!(status(&mut stream), 200);
    assert!(sidecar.wait().success());
}

#[test]
fn old_samples_become_blocks_in_the_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(dir.path());
    let now = now_ms();
    for minute in (0..300).rev().step_by(5) {
        assert_eq!(sidecar.write(scrape(now - minute * 60_000, 1.0)), 200);
    }
    let shipped = || {
        let blocks = std::fs::read_dir(dir.path().join("bucket")).into_iter().flatten();
        blocks.filter(|block| block.as_ref().unwrap().path().join("meta.json").is_file()).count()
    };
    eventually("a shipped block", || shipped() >= 1);
    let metrics = sidecar.get("/metrics");
    for line in [
        "prometheus_tsdb_head_series{tenant=\"default-tenant\"} 100.0",
        "prometheus_tsdb_head_samples_appended_total{tenant=\"default-tenant\",type=\"float\"} 6000.0",
        "http_requests_total{code=\"200\",handler=\"receive\",method=\"post\"} 60",
        "ringside_ready 1",
        "ringside_head_series 100",
        "prometheus_tsdb_compactions_triggered_total{tenant=\"default-tenant\"} ",
        "prometheus_tsdb_retention_limit_seconds{tenant=\"default-tenant\"} 1296000.0",
        "prometheus_tsdb_storage_blocks_bytes{tenant=\"default-tenant\"} ",
        "prometheus_tsdb_wal_storage_size_bytes{tenant=\"default-tenant\"} ",
        "thanos_receive_write_limits{tenant=\"default-tenant\",limit=\"series\"} 0",
        "process_resident_memory_bytes ",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert!(sidecar.get("/-/ready").starts_with("HTTP/1.1 200"));
}

#[test]
fn limits_change_while_it_runs_and_a_mistake_in_them_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let limits = dir.path().join("limits.yaml");
    std::fs::write(&limits, "write: {default: {head_series_limit: 50}}").unwrap();
    let flag = format!("--receive.limits-config-file={}", limits.display());
    let sidecar = Sidecar::start_with(dir.path(), &[&flag, "--receive.limits-config-reload-timer=20ms"]);
    let now = now_ms();
    assert_eq!(sidecar.write(scrape(now, 1.0)), 429);
    assert_eq!(sidecar.write(samples_of(0..50, now + 1, 1.0)), 200, "known series are taken");
    assert!(sidecar.get("/api/v1/status/tsdb").contains(r#""numSeries":50"#));

    std::fs::write(&limits, "write: {default: {head_series_limit: 10, typo: 1}}").unwrap();
    let errors = "thanos_receive_limits_config_reload_err_total";
    eventually("a refused file", || sidecar.metric(errors) >= 1.0);
    assert_eq!(sidecar.write(samples_of(0..50, now + 2, 1.0)), 200);
    assert_eq!(sidecar.write(scrape(now + 3, 1.0)), 429, "the last good limits stay");

    std::fs::write(&limits, "write: {default: {head_series_limit: 100}}").unwrap();
    let limit = "thanos_receive_head_series_limit{tenant=\"default-tenant\"}";
    eventually("the new limit", || sidecar.metric(limit) == 100.0);
    assert_eq!(sidecar.write(scrape(now + 4, 1.0)), 200);
}

#[test]
fn a_disk_without_room_refuses_writes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start_with(dir.path(), &["--storage.min-free=100%"]);
    assert_eq!(sidecar.write(scrape(now_ms(), 1.0)), 503);
    assert_eq!(sidecar.metric("ringside_read_only"), 1.0);
    assert!(
        sidecar.metric("ringside_storage_free_bytes") < sidecar.metric("ringside_storage_min_free_bytes")
    );
    assert!(sidecar.get("/-/ready").starts_with("HTTP/1.1 200"));
    assert!(sidecar.get("/api/v1/status/tsdb").starts_with("HTTP/1.1 200"));
    sidecar.signal("-TERM");
    assert!(sidecar.wait().success());

    let sidecar = Sidecar::start_with(dir.path(), &["--storage.min-free=0"]);
    assert_eq!(sidecar.write(scrape(now_ms(), 1.0)), 200);
    assert_eq!(sidecar.metric("ringside_read_only"), 0.0);
}

/// A flood of new series ends in refusals, not in the arms of the kernel; who was there before is served.
#[test]
fn memory_stays_below_its_ceiling() {
    const CEILING: u64 = 128 << 20;
    const PER_REQUEST: u32 = 2000;
    let dir = tempfile::tempdir().unwrap();
    let ceiling = format!("--receive.memory-max={CEILING}");
    let sidecar = Sidecar::start_with(dir.path(), &[&ceiling]);
    let now = now_ms();
    let flood =
        |first: u32| sidecar.write(samples_of(first * PER_REQUEST..(first + 1) * PER_REQUEST, now, 1.0));
    let refused_from = (0..1000).find(|&n| flood(n) == 429).expect("the flood is refused at last");
    assert!(refused_from > 0);
    for n in 0..200 {
        assert_eq!(
            sidecar.write(samples_of(0..PER_REQUEST, now + 1 + n, 1.0)),
            200,
            "known series are taken"
        );
        assert_eq!(flood(1000 + u32::try_from(n).unwrap()), 429);
    }
    assert_eq!(sidecar.metric("ringside_memory_new_series_refused"), 1.0);
    assert_eq!(sidecar.metric("ringside_memory_writes_refused"), 0.0);
    let peak = sidecar.peak_memory();
    assert!(peak < CEILING, "{peak}");
    println!("{} MiB at most, of {}", peak >> 20, CEILING >> 20);
}

#[test]
fn wrong_flags_are_named() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ringside")).args(args).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(run(&["sidecar"]).contains("--label"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let message = run(&["sidecar", "--label=a=\"b\"", "--tsdb.path", path, "--http-address", &address]);
    assert!(message.contains("--http-address") && message.contains(&address), "{message}");
}
