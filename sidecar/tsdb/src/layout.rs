//! Names of files and directories in a tenant's data directory; Prometheus' own, see `docs/format/`.

use std::io;
use std::path::{Path, PathBuf};

use ulid::Ulid;

use crate::fs::{Entry, Fs};

/// Directory of the write-ahead log.
pub(crate) const WAL: &str = "wal";
/// Directory of the write-behind log: samples out of order.
pub(crate) const WBL: &str = "wbl";
/// Directory of the head chunk files.
pub(crate) const CHUNKS_HEAD: &str = "chunks_head";
/// Suffix of a block directory while it is written.
pub(crate) const TMP_CREATION: &str = ".tmp-for-creation";
/// Suffix of a block directory while it is removed.
pub(crate) const TMP_DELETION: &str = ".tmp-for-deletion";
/// Suffix of a checkpoint while it is written, and of any file replaced atomically.
pub(crate) const TMP: &str = ".tmp";
/// Extension of a copy of what was cut off a WAL segment.
pub(crate) const TORN: &str = "torn";
const CHECKPOINT: &str = "checkpoint.";

/// `00000012` for WAL segment 12.
pub(crate) fn segment_name(index: u64) -> String {
    format!("{index:08}")
}

/// `checkpoint.00000012` for the checkpoint that replaces all segments up to 12.
pub(crate) fn checkpoint_name(last: u64) -> String {
    format!("{CHECKPOINT}{last:08}")
}

/// The WAL segments of a directory by ascending index.
pub(crate) fn segments(fs: &dyn Fs, dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    listed(fs, dir, |name| name.parse().ok().filter(|_| name.bytes().all(|b| b.is_ascii_digit())))
}

/// `000012` for head chunk file 12.
pub(crate) fn chunk_file_name(number: u32) -> String {
    format!("{number:06}")
}

/// The head chunk files of a directory by ascending number.
pub(crate) fn chunk_files(fs: &dyn Fs, dir: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    listed(fs, dir, |name| name.parse().ok().filter(|_| name.bytes().all(|b| b.is_ascii_digit())))
}

/// The complete checkpoints of a WAL directory by ascending index.
pub(crate) fn checkpoints(fs: &dyn Fs, dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    listed(fs, dir, |name| name.strip_prefix(CHECKPOINT)?.parse().ok())
}

/// The copies of what was cut off segments of a WAL directory, by ascending index.
pub(crate) fn torn(fs: &dyn Fs, dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    listed(fs, dir, |name| name.strip_suffix(TORN)?.strip_suffix('.')?.parse().ok())
}

/// The block directories of a tenant, by ULID.
pub(crate) fn block_dirs(fs: &dyn Fs, dir: &Path) -> io::Result<Vec<(Ulid, PathBuf)>> {
    listed(fs, dir, |name| Ulid::from_string(name).ok().filter(|_| name.len() == 26))
}

/// Removes what an interrupted run left: blocks and checkpoints half written or half removed.
pub(crate) fn remove_leftovers(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    for folder in [dir.to_owned(), dir.join(WAL)] {
        let mut entries = fs.list(&folder)?;
        entries.retain(|entry| {
            [TMP_CREATION, TMP_DELETION, TMP].iter().any(|suffix| entry.name.ends_with(suffix))
        });
        if !entries.is_empty() {
            // The rename that made a leftover of it may not be durable yet, and must be before parts of it go.
            fs.sync_dir(&folder)?;
        }
        for Entry { name, is_dir } in entries {
            let path = folder.join(name);
            if is_dir { fs.remove_dir_all(&path)? } else { fs.remove_file(&path)? }
        }
    }
    Ok(())
}

fn listed<K: Ord>(
    fs: &dyn Fs,
    dir: &Path,
    parse: impl Fn(&str) -> Option<K>,
) -> io::Result<Vec<(K, PathBuf)>> {
    let entries = match fs.list(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let found = entries.iter().filter_map(|entry| Some((parse(&entry.name)?, dir.join(&entry.name))));
    let mut found: Vec<_> = found.collect();
    found.sort();
    Ok(found)
}
