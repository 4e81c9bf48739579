//! What the shipper writes besides the block's own files: meta.json with Thanos' section, and the record of what
//! was uploaded. Keys and their order are Thanos'.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ringside_tsdb::Ulid;
use ringside_tsdb::block::{Meta, to_json};
use serde::{Deserialize, Serialize};

/// The record's name in a tenant's directory.
const RECORD_FILE: &str = "thanos.shipper.json";
const RECORD_VERSION: u32 = 1;

/// A file of the block, as listed in the uploaded meta.json.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct BlockFile {
    /// Path inside the block, with `/`.
    pub(super) rel_path: String,
    /// None for meta.json itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size_bytes: Option<u64>,
}

#[derive(Serialize)]
struct UploadedMeta<'a> {
    #[serde(flatten)]
    block: &'a Meta,
    thanos: Thanos<'a>,
}

#[derive(Serialize)]
struct Thanos<'a> {
    labels: &'a BTreeMap<String, String>,
    downsample: Downsample,
    source: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    segment_files: Vec<&'a str>,
    files: &'a [BlockFile],
    index_stats: IndexStats,
    upload_time: String,
}

#[derive(Serialize)]
struct Downsample {
    resolution: i64,
}

/// Empty: Thanos' readers fill in what they want to know of an index.
#[derive(Serialize)]
struct IndexStats {}

/// The meta.json to upload: the block's own, and Thanos' section. `files` are all files of the block.
pub(super) fn uploaded_meta(
    block: &Meta,
    labels: &BTreeMap<String, String>,
    files: &[BlockFile],
    upload_time: SystemTime,
) -> serde_json::Result<Vec<u8>> {
    let segment_files = files.iter().filter_map(|file| file.rel_path.strip_prefix("chunks/")).collect();
    let thanos = Thanos {
        labels,
        downsample: Downsample { resolution: 0 },
        source: "receive",
        segment_files,
        files,
        index_stats: IndexStats {},
        upload_time: humantime::format_rfc3339_nanos(upload_time).to_string(),
    };
    let mut json = to_json(&UploadedMeta { block, thanos })?;
    json.push(b'\n');
    Ok(json)
}

/// Which blocks of a tenant the bucket has.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) uploaded: BTreeSet<Ulid>,
}

impl Record {
    /// An empty record: what is not in it is looked for in the bucket before it is uploaded.
    pub(super) fn empty() -> Self {
        Self { version: RECORD_VERSION, uploaded: BTreeSet::new() }
    }

    /// Reads the tenant's record; `None` where there is none yet.
    pub(super) fn read(tenant_dir: &Path) -> io::Result<Option<Self>> {
        let bytes = match std::fs::read(Self::path(tenant_dir)) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let record: Self = serde_json::from_slice(&bytes).map_err(io::Error::from)?;
        if record.version != RECORD_VERSION {
            let what = format!("version {} is unknown", record.version);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Some(record))
    }

    /// Replaces the tenant's record, durably.
    pub(super) fn write(&self, tenant_dir: &Path) -> io::Result<()> {
        ringside_tsdb::fs::write_atomic(&Self::path(tenant_dir), &to_json(self)?)
    }

    pub(super) fn path(tenant_dir: &Path) -> PathBuf {
        tenant_dir.join(RECORD_FILE)
    }
}

/// The blocks of a tenant that are known to be in the bucket. None, where the record cannot be read.
pub(crate) fn uploaded_blocks(tenant_dir: &Path) -> BTreeSet<Ulid> {
    match Record::read(tenant_dir) {
        Ok(record) => record.map(|record| record.uploaded).unwrap_or_default(),
        Err(error) => {
            let path = Record::path(tenant_dir);
            tracing::warn!(path = %path.display(), %error, "the record of uploads cannot be read, no block is deleted");
            BTreeSet::new()
        }
    }
}

/// Thanos writes `null` for a list without entries.
fn null_is_empty<'de, D: serde::Deserializer<'de>>(de: D) -> Result<BTreeSet<Ulid>, D::Error> {
    Ok(Option::deserialize(de)?.unwrap_or_default())
}

#[cfg(test)]
#[path = "meta_tests.rs"]
mod tests;
