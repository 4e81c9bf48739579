//! Micro-benchmarks of what every sample goes through: `make bench-micro`. Criterion keeps the figures of the run
//! before below `target/criterion` and says what changed.
#![expect(clippy::unwrap_used, reason = "a benchmark ends where it fails")]

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringside_tsdb::fs::{Fs, RealFs};
use ringside_tsdb::{Options, Tsdb, WalSync, bench};
use tempfile::TempDir;

/// Series of one request.
const REQUEST: usize = 2_000;
const HOUR_MS: i64 = 3_600_000;

/// A directory in memory where there is one, so that no disk is measured.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn open(dir: &TempDir) -> Tsdb {
    Tsdb::open(dir.path(), Options { wal_sync: WalSync::None, ..Options::default() }).unwrap()
}

/// Some hours ago, where a block's range begins.
fn start_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let range = 2 * HOUR_MS;
    (now - 6 * HOUR_MS) / range * range
}

/// Remote-write label fields of series with ten labels, in requests' order.
fn label_fields(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|index| {
            let pod = format!("order-processor-7c9d8b6f5c-{:05}", index / 200);
            let instance = format!("10.42.{}.{}:8080", index / 200 % 250, index / 50_000);
            let name = format!("http_requests_{:03}_total", index % 200);
            let labels = [
                ("__name__", &*name),
                ("cluster", "production-eu-1"),
                ("container", "order-processor"),
                ("endpoint", "http-metrics"),
                ("instance", &instance),
                ("job", "order-processor"),
                ("namespace", "payments"),
                ("pod", &pod),
                ("service", "order-processor"),
                ("state", "succeeded"),
            ];
            let mut fields = Vec::new();
            for (name, value) in labels {
                let lengths = [name, value].map(|text| u8::try_from(text.len()).unwrap());
                fields.extend([0x0a, lengths[0] + lengths[1] + 4, 0x0a, lengths[0]]);
                fields.extend(name.as_bytes());
                fields.extend([0x12, lengths[1]]);
                fields.extend(value.as_bytes());
            }
            fields
        })
        .collect()
}

/// Appends one sample for each of the series.
fn append(tsdb: &Tsdb, series: &[Vec<u8>], t_ms: i64) {
    let mut appender = tsdb.appender().unwrap();
    for (index, labels) in series.iter().enumerate() {
        let found = appender.series(labels).unwrap();
        appender.float(found, t_ms, (t_ms % 1000 * (index as i64 % 7)) as f64).unwrap();
    }
    appender.commit().wait().unwrap();
}

/// 2,000 of 200,000 known series by their labels.
fn series_lookup(c: &mut Criterion) {
    let (dir, series) = (scratch(), label_fields(100 * REQUEST));
    let tsdb = open(&dir);
    append(&tsdb, &series, start_ms());
    let mut requests = series.chunks(REQUEST).cycle();
    let mut group = c.benchmark_group("series");
    group.throughput(Throughput::Elements(REQUEST as u64));
    group.bench_function("lookup", |b| {
        b.iter(|| {
            let mut appender = tsdb.appender().unwrap();
            for labels in requests.next().unwrap() {
                std::hint::black_box(appender.series(labels).unwrap());
            }
        });
    });
    group.finish();
}

/// A request of 2,000 known series, from their labels to the log's file.
fn append_request(c: &mut Criterion) {
    let (dir, series) = (scratch(), label_fields(REQUEST));
    let tsdb = open(&dir);
    let mut t_ms = start_ms();
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(REQUEST as u64));
    group.bench_function("request", |b| {
        b.iter(|| {
            // All iterations together must stay below the three hours at which a block is due.
            t_ms += 1;
            append(&tsdb, &series, t_ms);
        });
    });
    group.finish();
}

/// A chunk of 120 samples, 15 s apart.
fn xor_encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("xor");
    group.throughput(Throughput::Elements(120));
    let counter: Vec<_> = (0..120).map(|i| (i * 15_000, (i * 37 + i * i % 11) as f64)).collect();
    let gauge: Vec<_> = (0..120).map(|i| (i * 15_000 + i % 3, (i as f64).sin())).collect();
    group.bench_function("counter", |b| b.iter(|| bench::xor_chunk(&counter)));
    group.bench_function("gauge", |b| b.iter(|| bench::xor_chunk(&gauge)));
    group.finish();
}

/// A record of 2,000 samples, from the samples to the log's file.
fn wal_record(c: &mut Criterion) {
    let dir = scratch();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let mut log = bench::Log::create(&fs, dir.path()).unwrap();
    let mut t_ms = start_ms();
    let mut group = c.benchmark_group("wal");
    group.throughput(Throughput::Elements(REQUEST as u64));
    group.bench_function("record", |b| {
        b.iter(|| {
            t_ms += 15_000;
            log.samples(REQUEST as u64, t_ms, t_ms as f64).unwrap();
        });
    });
    group.finish();
}

/// A block of 100,000 series with two samples each: nearly all of it is the index.
fn index_write(c: &mut Criterion) {
    let series = label_fields(100_000);
    let start = start_ms();
    let due = || {
        let dir = scratch();
        let tsdb = open(&dir);
        append(&tsdb, &series, start);
        append(&tsdb, &series, start + 60_000);
        append(&tsdb, &series[..1], start + 3 * HOUR_MS + 60_000);
        (dir, tsdb)
    };
    let mut group = c.benchmark_group("index");
    group.throughput(Throughput::Elements(series.len() as u64)).sample_size(10);
    group.bench_function("cut", |b| {
        b.iter_batched(
            due,
            |(dir, tsdb)| {
                let block = tsdb.cut_block().unwrap().unwrap();
                assert_eq!(block.stats.num_series, 100_000);
                (dir, tsdb)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// The start of a storage whose log has 20,000 series with 60 samples each.
fn replay(c: &mut Criterion) {
    const SCRAPES: usize = 60;
    let (dir, series) = (scratch(), label_fields(20_000));
    let (tsdb, start) = (open(&dir), start_ms());
    for scrape in 0..SCRAPES as i64 {
        series.chunks(REQUEST).for_each(|some| append(&tsdb, some, start + scrape * 15_000));
    }
    tsdb.close().unwrap();
    drop(tsdb);
    let mut group = c.benchmark_group("replay");
    group.throughput(Throughput::Elements((series.len() * SCRAPES) as u64)).sample_size(10);
    group.bench_function("open", |b| {
        b.iter(|| assert_eq!(open(&dir).stats().series, 20_000));
    });
    group.finish();
}

criterion_group!(hot_path, series_lookup, append_request, xor_encode, wal_record, index_write, replay);
criterion_main!(hot_path);
