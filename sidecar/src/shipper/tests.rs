//! The shipper's passes against a directory, and against a store that fails as told.
//!
//! Blocks here are files of the right names; what is in them is none of the shipper's business.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use ringside_tsdb::Ulid;
use ringside_tsdb::block::{Meta, to_json};

use super::meta::Record;
use super::*;

/// Part size of the tests: anything longer goes up in parts.
const PART_BYTES: usize = 1000;

/// Fails the calls of a range, counted from 0, and notes every object that was completed, in order.
#[derive(Debug)]
struct FlakyStore {
    inner: InMemory,
    failing: Range<usize>,
    calls: AtomicUsize,
    puts: Arc<Mutex<Vec<String>>>,
}

impl FlakyStore {
    fn failing(calls: Range<usize>) -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            failing: calls,
            calls: AtomicUsize::new(0),
            puts: Arc::default(),
        })
    }

    fn call(&self) -> Result<()> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if self.failing.contains(&call) {
            return Err(Error::Generic { store: "flaky", source: "injected".into() });
        }
        Ok(())
    }

    fn puts(&self) -> Vec<String> {
        self.puts.lock().unwrap().clone()
    }
}

impl fmt::Display for FlakyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FlakyStore")
    }
}

/// An upload in parts that is noted when it completes.
#[derive(Debug)]
struct NotedUpload {
    inner: Box<dyn MultipartUpload>,
    key: String,
    puts: Arc<Mutex<Vec<String>>>,
}

#[async_trait::async_trait]
impl MultipartUpload for NotedUpload {
    fn put_part(&mut self, data: PutPayload) -> object_store::UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let done = self.inner.complete().await?;
        self.puts.lock().unwrap().push(format!("{} in parts", self.key));
        Ok(done)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[async_trait::async_trait]
impl ObjectStore for FlakyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.call()?;
        let done = self.inner.put_opts(location, payload, opts).await?;
        self.puts.lock().unwrap().push(location.to_string());
        Ok(done)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.call()?;
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(NotedUpload { inner, key: location.to_string(), puts: Arc::clone(&self.puts) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.call()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A tenant's directory with blocks in it.
struct Fixture {
    dir: tempfile::TempDir,
    blocks: Vec<Meta>,
    tenant: TenantId,
    metrics: Arc<Metrics>,
}

impl Fixture {
    fn new() -> Self {
        let tenant = TenantId::parse("acme").unwrap();
        Self { dir: tempfile::tempdir().unwrap(), blocks: Vec::new(), tenant, metrics: Metrics::new().0 }
    }

    /// Adds a block with two segments, the second longer than a part.
    fn block(&mut self, number: u64) -> String {
        let ulid = Ulid::from_parts(number, 7);
        let range = i64::try_from(number).unwrap() * 7_200_000;
        let json = format!(
            r#"{{"ulid":"{ulid}","minTime":{range},"maxTime":{},"stats":{{"numSamples":1}},"compaction":{{"level":1}},"version":1}}"#,
            range + 7_200_000
        );
        let meta: Meta = serde_json::from_str(&json).unwrap();
        let dir = self.dir.path().join(ulid.to_string());
        std::fs::create_dir_all(dir.join("chunks")).unwrap();
        for (name, bytes) in
            [("chunks/000001", 10), ("chunks/000002", 2500), ("index", 30), ("tombstones", 9)]
        {
            std::fs::write(dir.join(name), vec![number as u8; bytes]).unwrap();
        }
        std::fs::write(dir.join("meta.json"), to_json(&meta).unwrap()).unwrap();
        self.blocks.push(meta);
        ulid.to_string()
    }

    fn bucket(&self, store: &Arc<FlakyStore>) -> Bucket {
        Bucket::over(Arc::clone(store) as Arc<dyn ObjectStore>, PART_BYTES, Arc::clone(&self.metrics))
    }

    async fn sync(&self, bucket: &Bucket) -> std::result::Result<(), ShipError> {
        let labels = BTreeMap::from([("tenant_id".to_owned(), "acme".to_owned())]);
        let blocks = self.blocks.clone();
        let (tenant, dir, metrics) = (&self.tenant, self.dir.path(), &*self.metrics);
        TenantSync { tenant, dir, blocks, labels, bucket, metrics }.run().await
    }

    fn record(&self) -> Vec<String> {
        let record = Record::read(self.dir.path()).unwrap();
        record.map(|r| r.uploaded.iter().map(ToString::to_string).collect()).unwrap_or_default()
    }
}

fn puts_of(ulid: &str) -> Vec<String> {
    ["chunks/000001", "chunks/000002 in parts", "index", "meta.json"]
        .map(|name| format!("{ulid}/{name}"))
        .to_vec()
}

#[tokio::test]
async fn oldest_first_and_meta_last_and_once() {
    let mut fixture = Fixture::new();
    let (old, new) = (fixture.block(1), fixture.block(2));
    let store = FlakyStore::failing(0..0);
    let bucket = fixture.bucket(&store);
    fixture.sync(&bucket).await.unwrap();
    let expected = [puts_of(&old), puts_of(&new)].concat();
    assert_eq!(store.puts(), expected);
    assert_eq!(fixture.record(), [old.clone(), new]);

    let calls = store.calls.load(Ordering::Relaxed);
    fixture.sync(&bucket).await.unwrap();
    assert_eq!(store.calls.load(Ordering::Relaxed), calls, "a shipped block costs no request");
    assert_eq!(store.puts(), expected);

    let segment = store.inner.get(&Path::from(format!("{old}/chunks/000002"))).await.unwrap();
    assert_eq!(segment.bytes().await.unwrap(), vec![1; 2500]);
}

/// Whichever request fails, the block is complete after the retry, and meta.json went last each time.
#[tokio::test]
async fn every_single_failure_is_survived() {
    let requests = 5;
    for failing in 0..requests {
        let mut fixture = Fixture::new();
        let ulid = fixture.block(1);
        let store = FlakyStore::failing(failing..failing + 1);
        let bucket = fixture.bucket(&store);
        fixture.sync(&bucket).await.unwrap_err();
        assert!(fixture.record().is_empty(), "nothing counts as uploaded after a failure");
        assert!(!store.puts().contains(&format!("{ulid}/meta.json")));
        fixture.sync(&bucket).await.unwrap();
        assert!(store.puts().ends_with(&puts_of(&ulid)), "request {failing}: {:?}", store.puts());
        assert_eq!(fixture.record(), [ulid]);
    }
}

#[tokio::test]
async fn a_bucket_that_is_away_for_long_gets_everything_once() {
    let mut fixture = Fixture::new();
    let ulids = [fixture.block(1), fixture.block(2), fixture.block(3)];
    let store = FlakyStore::failing(0..25);
    let bucket = fixture.bucket(&store);
    let mut failures = 0;
    while fixture.sync(&bucket).await.is_err() {
        failures += 1;
    }
    assert_eq!(failures, 25, "a pass ends with its first failure");
    let metas: Vec<_> = store.puts().into_iter().filter(|key| key.ends_with("meta.json")).collect();
    assert_eq!(metas, ulids.map(|ulid| format!("{ulid}/meta.json")));
}

#[tokio::test]
async fn what_the_bucket_has_is_only_noted() {
    let mut fixture = Fixture::new();
    let ulid = fixture.block(1);
    let store = FlakyStore::failing(0..0);
    store.inner.put(&Path::from(format!("{ulid}/meta.json")), PutPayload::from_static(b"{}")).await.unwrap();
    std::fs::write(Record::path(fixture.dir.path()), b"{ torn").unwrap();
    fixture.sync(&fixture.bucket(&store)).await.unwrap();
    assert!(store.puts().is_empty());
    assert_eq!(fixture.record(), [ulid]);
}

#[tokio::test]
async fn the_record_forgets_blocks_that_are_gone() {
    let mut fixture = Fixture::new();
    fixture.block(1);
    let kept = fixture.block(2);
    let store = FlakyStore::failing(0..0);
    let bucket = fixture.bucket(&store);
    fixture.sync(&bucket).await.unwrap();
    fixture.blocks.remove(0);
    fixture.sync(&bucket).await.unwrap();
    assert_eq!(fixture.record(), [kept]);
}

#[tokio::test]
async fn empty_and_compacted_blocks_stay() {
    let mut fixture = Fixture::new();
    fixture.block(1);
    fixture.block(2);
    fixture.blocks[0].stats.num_samples = 0;
    fixture.blocks[1].compaction.level = 2;
    let store = FlakyStore::failing(0..0);
    fixture.sync(&fixture.bucket(&store)).await.unwrap();
    assert_eq!(store.calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_block_that_cannot_be_read_is_no_fault_of_the_bucket() {
    let mut fixture = Fixture::new();
    let ulid = fixture.block(1);
    std::fs::remove_file(fixture.dir.path().join(&ulid).join("index")).unwrap();
    let store = FlakyStore::failing(0..0);
    let error = fixture.sync(&fixture.bucket(&store)).await.unwrap_err();
    assert!(matches!(error, ShipError::Local { .. }), "{error}");
    assert!(store.puts().is_empty());
}

#[tokio::test]
async fn a_directory_as_bucket_gets_thanos_layout() {
    let mut fixture = Fixture::new();
    let ulid = fixture.block(1);
    let root = tempfile::tempdir().unwrap();
    let local = LocalFileSystem::new_with_prefix(root.path()).unwrap();
    let bucket = Bucket::over(Arc::new(local), PART_BYTES, Arc::clone(&fixture.metrics));
    fixture.sync(&bucket).await.unwrap();
    let block = root.path().join(&ulid);
    assert_eq!(names(&block), ["chunks", "index", "meta.json"]);
    assert_eq!(names(&block.join("chunks")), ["000001", "000002"]);
    assert_eq!(std::fs::read(block.join("chunks/000002")).unwrap(), vec![1; 2500]);
    let meta: serde_json::Value =
        serde_json::from_slice(&std::fs::read(block.join("meta.json")).unwrap()).unwrap();
    assert_eq!(meta["ulid"], ulid);
    assert_eq!(meta["thanos"]["labels"]["tenant_id"], "acme");
    assert_eq!(meta["thanos"]["files"][1]["size_bytes"], 2500);
    assert_eq!(meta["thanos"]["files"][3]["rel_path"], "meta.json");
}

fn names(dir: &FilePath) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
