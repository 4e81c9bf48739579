//! Damage in the newest segment of a log: whether it is a torn write that was never acknowledged, and how that is cut off.
//!
//! After each sync the writer begins with a *sync mark*: a record of deleted ranges that holds none, which every reader
//! passes over. What stands in front of one was durable before it was written. So damage with such a mark behind it is no
//! torn write. A log of Prometheus has no marks; it is repaired as Prometheus does it.

use std::path::Path;

use super::page::{FULL, HEADER, KIND_MASK, LAST, PAGE, SNAPPY, ZSTD};
use super::records::Stopped;
use crate::encoding::crc;
use crate::error::Error;
use crate::fs::Fs;
use crate::layout;
use crate::record::SYNC_MARK;

/// Bytes kept of what is cut off a segment.
const TORN_BYTES_MAX: u64 = 16 << 20;
/// How many such copies are kept.
const TORN_MAX: usize = 4;

/// Judges why the newest segment could not be read to its end.
///
/// # Errors
/// The damage, where something behind it was acknowledged; whatever else stopped the reading.
pub(super) fn end(fs: &dyn Fs, path: &Path, stopped: Stopped) -> Result<Stopped, Error> {
    let Error::Corrupt { offset, what, .. } = &stopped.error else { return Err(stopped.error) };
    let from = stopped.taken.max(*offset);
    match has_mark_from(fs, path, from).map_err(Error::io("read", path))? {
        false => Ok(stopped),
        true => {
            let kept = stopped.taken;
            let what = format!(
                "{what}; acknowledged records follow, which cutting the file to {kept} bytes would give up"
            );
            Err(Error::corrupt(path, *offset, what))
        }
    }
}

/// Whether a sync mark stands behind the damage at `from`.
fn has_mark_from(fs: &dyn Fs, path: &Path, from: u64) -> std::io::Result<bool> {
    let file = fs.open(path)?;
    let mut page = vec![0; PAGE];
    let mut page_offset = from / PAGE as u64 * PAGE as u64;
    let mut at = (from - page_offset) as usize;
    loop {
        let filled = file.read_at(&mut page, page_offset)?;
        if filled == 0 {
            return Ok(false);
        }
        page.get_mut(filled..).unwrap_or_default().fill(0);
        if has_mark(&page, std::mem::take(&mut at)) {
            return Ok(true);
        }
        page_offset += filled as u64;
    }
}

/// Looks for a sync mark among the whole fragments of a page from `at` on. Behind what is no fragment one may begin at
/// any byte, since a damaged fragment's length may be what is damaged. A sender may have written a mark into a label; a
/// torn write of it is refused then, which loses nothing.
fn has_mark(page: &[u8], mut at: usize) -> bool {
    while let Some(rest) = page.get(at..).filter(|rest| rest.len() >= HEADER) {
        at += match fragment(rest) {
            // At the end of a page it may have been split behind an empty first fragment.
            Some((FULL | LAST, sum, SYNC_MARK)) if sum == crc(SYNC_MARK) => return true,
            Some((_, sum, payload)) if sum == crc(payload) => HEADER + payload.len(),
            _ => 1,
        };
    }
    false
}

/// Type, checksum and payload of the fragment that `bytes` may begin with.
fn fragment(bytes: &[u8]) -> Option<(u8, u32, &[u8])> {
    let (&[kind, len_hi, len_lo, c0, c1, c2, c3], rest) = bytes.split_first_chunk::<HEADER>()?;
    let is_known = (FULL..=LAST).contains(&(kind & KIND_MASK)) && kind & !(KIND_MASK | SNAPPY | ZSTD) == 0;
    let payload = rest.get(..u16::from_be_bytes([len_hi, len_lo]).into())?;
    is_known.then_some((kind, u32::from_be_bytes([c0, c1, c2, c3]), payload))
}

/// Cuts a segment after `len` bytes and makes that durable; returns how many bytes went. Should they be more than a
/// torn write, somebody may want them: a copy stays beside it, under a name that no reader takes for a segment.
pub(super) fn cut(fs: &dyn Fs, path: &Path, len: u64) -> Result<u64, Error> {
    let file = fs.open_write(path).map_err(Error::io("open", path))?;
    let before = file.size().map_err(Error::io("stat", path))?;
    let mut tail = vec![0; before.saturating_sub(len).min(TORN_BYTES_MAX) as usize];
    file.read_at(&mut tail, len).map_err(Error::io("read", path))?;
    if let Some(dir) = path.parent().filter(|_| tail.iter().any(|&b| b != 0)) {
        let copy = path.with_extension(layout::TORN);
        fs.write_atomic(&copy, &tail).map_err(Error::io("write", &copy))?;
        let copies = layout::torn(fs, dir).map_err(Error::io("list", dir))?;
        for (_, old) in copies.iter().rev().skip(TORN_MAX) {
            fs.remove_file(old).map_err(Error::io("remove", old))?;
        }
    }
    file.set_len(len).and_then(|()| file.sync_all()).map_err(Error::io("truncate", path))?;
    fs.sync_parent(path).map_err(Error::io("fsync", path))?;
    Ok(before.saturating_sub(len))
}

#[cfg(test)]
mod tests;
