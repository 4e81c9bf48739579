//! Which blocks are to go: those that are too old, and the oldest where all of a tenant's data is too much.
//!
//! Owns no permission: whether a block may be deleted is the caller's to say, and what stays because of that still
//! counts.

use std::io;
use std::path::Path;

use ulid::Ulid;

use crate::block::Meta;
use crate::fs::Fs;
use crate::layout;

/// Bytes of a tenant's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskUsage {
    /// All blocks.
    pub blocks: u64,
    /// The write-ahead log with its checkpoint.
    pub wal: u64,
    /// The log of samples out of order.
    pub wbl: u64,
    /// Chunks of the head.
    pub chunks_head: u64,
}

/// Why a block is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// It is older than the retention.
    Time,
    /// The tenant has more bytes than it may.
    Size,
}

/// A block that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Which one.
    pub ulid: Ulid,
    /// Why.
    pub expiry: Expiry,
}

/// What may stay; 0 stands for everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Milliseconds behind the newest block.
    pub(crate) age_ms: i64,
    /// Bytes of blocks, logs and head chunks.
    pub(crate) bytes: u64,
}

/// The blocks to remove, oldest first. `head_bytes` are those of logs and head chunks, which always stay.
pub(crate) fn expired(blocks: &[(Meta, u64)], head_bytes: u64, bounds: Bounds) -> Vec<Removed> {
    let mut newest_first: Vec<_> = blocks.iter().collect();
    newest_first.sort_by_key(|(block, _)| std::cmp::Reverse((block.max_time, block.min_time, block.ulid)));
    let newest = newest_first.first().map_or(0, |(block, _)| block.max_time);
    let mut bytes = head_bytes;
    let mut removed: Vec<_> = newest_first
        .into_iter()
        .filter_map(|(block, size)| {
            bytes = bytes.saturating_add(*size);
            let expiry = if bounds.age_ms > 0 && newest.saturating_sub(block.max_time) >= bounds.age_ms {
                Expiry::Time
            } else if bounds.bytes > 0 && bytes > bounds.bytes {
                Expiry::Size
            } else {
                return None;
            };
            Some(Removed { ulid: block.ulid, expiry })
        })
        .collect();
    removed.reverse();
    removed
}

/// Bytes of a tenant's files now, as far as they can be read: files come and go meanwhile.
pub(crate) fn disk_usage(fs: &dyn Fs, dir: &Path, blocks: &[Meta]) -> DiskUsage {
    let size = |name: &str| tree_bytes(fs, &dir.join(name)).unwrap_or(0);
    DiskUsage {
        blocks: blocks.iter().map(|block| size(&block.ulid.to_string())).sum(),
        wal: size(layout::WAL),
        wbl: size(layout::WBL),
        chunks_head: size(layout::CHUNKS_HEAD),
    }
}

/// Bytes of all files below a directory.
pub(crate) fn tree_bytes(fs: &dyn Fs, dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs.list(dir)? {
        let path = dir.join(&entry.name);
        bytes += if entry.is_dir { tree_bytes(fs, &path)? } else { fs.size(&path)?.unwrap_or(0) };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Compaction;
    use crate::fs::RealFs;

    fn block(number: i64, bytes: u64) -> (Meta, u64) {
        let meta = Meta {
            ulid: Ulid::from_parts(number as u64, 0),
            min_time: number * 100,
            max_time: (number + 1) * 100,
            stats: Default::default(),
            compaction: Compaction::default(),
            version: 1,
            ringside: None,
        };
        (meta, bytes)
    }

    fn numbers(removed: &[Removed]) -> Vec<(u64, Expiry)> {
        removed.iter().map(|r| (r.ulid.timestamp_ms(), r.expiry)).collect()
    }

    #[test]
    fn by_age_and_by_size_the_oldest_first() {
        let blocks: Vec<_> = (1..=5).map(|n| block(n, 10)).collect();
        let expired = |age_ms, bytes| numbers(&expired(&blocks, 5, Bounds { age_ms, bytes }));
        assert_eq!(expired(0, 0), []);
        assert_eq!(expired(300, 0), [(1, Expiry::Time), (2, Expiry::Time)]);
        assert_eq!(expired(0, 55), []);
        assert_eq!(expired(0, 54), [(1, Expiry::Size)]);
        assert_eq!(expired(0, 1).len(), 5, "the head alone is too much");
        assert_eq!(expired(400, 40), [(1, Expiry::Time), (2, Expiry::Size)]);
        assert_eq!(numbers(&super::expired(&[], 5, Bounds { age_ms: 1, bytes: 1 })), []);
    }

    #[test]
    fn bytes_of_everything_below() {
        let dir = tempfile::tempdir().unwrap();
        let (meta, _) = block(1, 0);
        for (path, bytes) in [("wal/00000000", 10), ("wal/checkpoint.00000000/00000000", 5), ("wbl/0", 3)] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![0; bytes]).unwrap();
        }
        let chunks = dir.path().join(meta.ulid.to_string()).join("chunks");
        std::fs::create_dir_all(&chunks).unwrap();
        std::fs::write(chunks.join("000001"), [0; 7]).unwrap();
        let usage = disk_usage(&RealFs, dir.path(), &[meta]);
        assert_eq!(usage, DiskUsage { blocks: 7, wal: 15, wbl: 3, chunks_head: 0 });
    }
}
