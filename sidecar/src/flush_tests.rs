//! Cuts and retention of a real storage, filled with samples of hours ago.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use ringside_proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
use ringside_tsdb::{Options, Ulid};

use super::*;
use crate::append;
use crate::limits::Limits;

const HOUR_MS: i64 = 3_600_000;

fn tenant() -> TenantId {
    TenantId::parse("acme").unwrap()
}

/// A storage that holds a sample per minute of the last `hours`.
fn filled(dir: &std::path::Path, hours: i64, retention_ms: i64) -> Arc<Tsdb> {
    let options = Options { retention_ms, ..Options::default() };
    let tsdb = Tsdb::open(dir, options).unwrap();
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let samples = (0..hours * 60)
        .map(|minute| Sample { value: 1.0, timestamp: now - hours * HOUR_MS + minute * 60_000 })
        .collect();
    let labels = vec![Label { name: "__name__".to_owned(), value: "m".to_owned() }];
    let series = TimeSeries { labels, samples, ..TimeSeries::default() };
    let body = WriteRequest { timeseries: vec![series], metadata: Vec::new() }.encode_to_vec();
    assert!(append::store(&body, &tsdb).unwrap().refused.is_empty());
    Arc::new(tsdb)
}

fn ulids(tsdb: &Tsdb) -> Vec<Ulid> {
    tsdb.blocks().iter().map(|block| block.ulid).collect()
}

#[tokio::test]
async fn finished_chunks_go_to_files() {
    let dir = tempfile::tempdir().unwrap();
    let tsdb = filled(dir.path(), 5, HOUR_MS);
    tidy(&tenant(), &tsdb).await;
    assert!(tsdb.stats().chunks_mapped > 0);
    assert!(dir.path().join("chunks_head/000001").exists());
}

#[tokio::test]
async fn every_due_block_is_cut_and_only_uploaded_ones_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let tsdb = filled(dir.path(), 9, HOUR_MS);
    let (metrics, _) = Metrics::new();
    let cut = cut_all(&tenant(), &tsdb, &metrics, &CancellationToken::new()).await.unwrap();
    assert!((3..=4).contains(&cut) && !tsdb.due(), "{cut} blocks");
    let blocks = ulids(&tsdb);
    assert_eq!(blocks.len(), cut);

    apply_retention(&tenant(), &tsdb, Retention::Off, &metrics).await;
    apply_retention(&tenant(), &tsdb, Retention::Uploaded, &metrics).await;
    assert_eq!(ulids(&tsdb), blocks, "nothing is uploaded, nothing deleted");

    let record = format!(r#"{{"version":1,"uploaded":["{}"]}}"#, blocks[1]);
    std::fs::write(dir.path().join("thanos.shipper.json"), record).unwrap();
    apply_retention(&tenant(), &tsdb, Retention::Uploaded, &metrics).await;
    let mut kept = blocks.clone();
    kept.remove(1);
    assert_eq!(ulids(&tsdb), kept);

    apply_retention(&tenant(), &tsdb, Retention::All, &metrics).await;
    assert_eq!(ulids(&tsdb), blocks[cut - 1..], "without a bucket only the newest is young enough");
}

/// The loop as a whole: it cuts, and wakes the shipper.
#[tokio::test]
async fn a_cut_wakes_the_shipper() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(&dir.path().join("acme"), 5, 0));
    let (metrics, _) = Metrics::new();
    let data = crate::data_dir::DataDir::lock(dir.path()).unwrap();
    let tenants =
        Tenants::start(data, Options::default(), tenant(), Limits::none(&metrics), Arc::clone(&metrics))
            .unwrap();
    let wake = Arc::new(Notify::new());
    let flush = Flush::new(Arc::clone(&tenants), Retention::Off, Arc::clone(&wake), Arc::clone(&metrics));
    let stop = CancellationToken::new();
    let running = tokio::spawn(flush.run(stop.clone()));
    wake.notified().await;
    assert!(!tenants.open()[0].1.blocks().is_empty());
    stop.cancel();
    running.await.unwrap();
}

/// A log that could not be written is opened anew, and writes go on, without a restart.
#[tokio::test]
async fn a_failed_storage_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (metrics, _) = Metrics::new();
    let data = crate::data_dir::DataDir::lock(dir.path()).unwrap();
    let options = Options { wal_segment_bytes: 1, ..Options::default() };
    let tenants =
        Tenants::start(data, options, tenant(), Limits::none(&metrics), Arc::clone(&metrics)).unwrap();
    tenants.replayed().await;
    let broken = Arc::clone(&tenants.open()[0].1);
    // Where the next segment belongs stands a directory.
    let obstacle = dir.path().join("acme/wal/00000001");
    std::fs::create_dir(&obstacle).unwrap();
    let noise = |t: i64| {
        let label = |name: &str, value: String| Label { name: name.to_owned(), value };
        let labels = (0..300).map(|n| label(&format!("n{n}"), format!("{:x}", n * 7919 * (t + 3)))).collect();
        let samples = vec![Sample { value: 1.0, timestamp: 1000 + t }];
        let series = TimeSeries { labels, samples, ..TimeSeries::default() };
        WriteRequest { timeseries: vec![series], metadata: Vec::new() }.encode_to_vec()
    };
    assert!((0..200).any(|t| append::store(&noise(t), &broken).is_err()));
    std::fs::remove_dir(&obstacle).unwrap();

    let flush =
        Flush::new(Arc::clone(&tenants), Retention::Off, Arc::new(Notify::new()), Arc::clone(&metrics));
    let stop = CancellationToken::new();
    let running = tokio::spawn(flush.run(stop.clone()));
    let mended = loop {
        match tenants.open().first() {
            Some((_, tsdb)) if !Arc::ptr_eq(tsdb, &broken) => break Arc::clone(tsdb),
            _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    assert!(append::store(&noise(1000), &mended).unwrap().refused.is_empty());
    stop.cancel();
    running.await.unwrap();
    tenants.close().await;
}
