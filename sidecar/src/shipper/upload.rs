//! Uploads one block: chunk segments, index, and meta.json last.
//!
//! A block is in the bucket once its meta.json is; a break before leaves objects without one, which the next
//! attempt overwrites and Thanos' compactor would remove in time. Tombstones stay: no receiver has any.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use ringside_tsdb::block::{META_FILE, Meta};

use super::ShipError;
use super::meta::{BlockFile, uploaded_meta};
use crate::bucket::Bucket;

const INDEX_FILE: &str = "index";
const CHUNKS_DIR: &str = "chunks";

/// The key whose existence tells that the bucket has the block.
pub(super) fn meta_key(block: &Meta) -> String {
    format!("{}/{META_FILE}", block.ulid)
}

/// Uploads the block in `dir`; returns the bytes of its files.
pub(super) async fn upload_block(
    bucket: &Bucket,
    dir: &Path,
    block: &Meta,
    labels: &BTreeMap<String, String>,
) -> Result<u64, ShipError> {
    let mut files = list_files(dir).map_err(local("list", dir))?;
    for file in &files {
        let key = format!("{}/{}", block.ulid, file.rel_path);
        bucket.upload_file(&key, &dir.join(&file.rel_path)).await?;
    }
    let bytes = files.iter().filter_map(|file| file.size_bytes).sum();
    files.push(BlockFile { rel_path: META_FILE.to_owned(), size_bytes: None });
    let meta = uploaded_meta(block, labels, &files, SystemTime::now())
        .map_err(|e| local("describe", dir)(e.into()))?;
    bucket.put(&meta_key(block), meta.into()).await?;
    Ok(bytes)
}

pub(super) fn local(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ShipError {
    let path = path.display().to_string();
    move |source| ShipError::Local { action, path, source }
}

/// The block's files in the order of upload: chunk segments by name, then the index.
fn list_files(dir: &Path) -> io::Result<Vec<BlockFile>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir.join(CHUNKS_DIR))? {
        let name = entry?.file_name();
        match name.to_str() {
            Some(name) => names.push(format!("{CHUNKS_DIR}/{name}")),
            None => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("file name {name:?}"))),
        }
    }
    names.sort();
    names.push(INDEX_FILE.to_owned());
    names
        .into_iter()
        .map(|rel_path| {
            let size_bytes = Some(std::fs::metadata(dir.join(&rel_path))?.len());
            Ok(BlockFile { rel_path, size_bytes })
        })
        .collect()
}
