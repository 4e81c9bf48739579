//! What is in the bucket: which blocks, whose they are, and their samples by `promtool`'s judgement.
//! This reads with an S3 client of its own, never through a sidecar.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde_json::Value;

use crate::contents::Contents;
use crate::oracle;

/// A bucket to look into.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
}

/// A complete block: one whose meta.json is there.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its name.
    pub ulid: String,
    /// Its meta.json.
    pub meta: Value,
    /// All its objects, below its name.
    pub objects: Vec<String>,
}

impl Block {
    /// One of the external labels in the Thanos section.
    pub fn external_label(&self, name: &str) -> Option<&str> {
        self.meta["thanos"]["labels"][name].as_str()
    }

    /// `minTime` and `maxTime`, in milliseconds.
    pub fn range(&self) -> Result<(i64, i64)> {
        let time = |name: &str| self.meta[name].as_i64().with_context(|| format!("no {name}"));
        Ok((time("minTime")?, time("maxTime")?))
    }
}

impl Bucket {
    /// Looks into any store.
    pub fn new(store: impl ObjectStore) -> Self {
        Self { store: Arc::new(store) }
    }

    /// Writes, reads and deletes an object.
    pub async fn probe(&self) -> Result<()> {
        let key = Key::from("probe");
        self.store.put(&key, PutPayload::from_static(b"probe")).await?;
        self.store.get(&key).await?.bytes().await?;
        self.store.delete(&key).await?;
        Ok(())
    }

    /// Every object's name.
    pub async fn objects(&self) -> Result<Vec<String>> {
        let all: Vec<_> = self.store.list(None).try_collect().await?;
        Ok(all.into_iter().map(|object| object.location.to_string()).collect())
    }

    /// The complete blocks, by name. An object that belongs to no block directory is an error.
    pub async fn blocks(&self) -> Result<Vec<Block>> {
        let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for object in self.objects().await? {
            match object.split_once('/') {
                Some((ulid, rest)) if oracle::is_block(ulid) => {
                    folders.entry(ulid.to_owned()).or_default().push(rest.to_owned());
                }
                _ => bail!("the bucket holds {object}, which belongs to no block"),
            }
        }
        let mut blocks = Vec::new();
        for (ulid, mut objects) in folders {
            if objects.iter().any(|object| object == "meta.json") {
                let bytes = self.read(&format!("{ulid}/meta.json")).await?;
                let meta = serde_json::from_slice(&bytes).with_context(|| format!("{ulid}/meta.json"))?;
                objects.sort();
                blocks.push(Block { ulid, meta, objects });
            }
        }
        Ok(blocks)
    }

    async fn read(&self, key: &str) -> Result<Vec<u8>> {
        Ok(self.store.get(&Key::from(key)).await?.bytes().await?.to_vec())
    }

    /// Downloads blocks into `folder`, laid out as a TSDB without a head.
    pub async fn download(&self, blocks: &[Block], folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder.join("wal"))?;
        for block in blocks {
            for object in &block.objects {
                let key = format!("{}/{object}", block.ulid);
                let target = folder.join(&key);
                std::fs::create_dir_all(target.parent().unwrap_or(folder))?;
                std::fs::write(&target, self.read(&key).await?).with_context(|| key)?;
            }
        }
        Ok(())
    }

    /// The samples of the given blocks together. `folder` must not exist; it is removed again.
    pub async fn dump(&self, blocks: &[Block], folder: &Path) -> Result<Contents> {
        self.download(blocks, folder).await?;
        let contents = oracle::dump(folder)?;
        std::fs::remove_dir_all(folder)?;
        Ok(contents)
    }
}
