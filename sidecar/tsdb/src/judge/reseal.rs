//! Makes the checksums of damaged files right, as far as their structure can still be followed, so that damage is
//! seen by what comes behind the checksum.

use crate::encoding::{Decoder, crc};

/// Writes the checksum of `[start, end)` behind it, if the file goes so far.
fn seal(bytes: &mut [u8], start: usize, end: usize) {
    let Some(sum) = bytes.get(start..end).map(crc) else { return };
    if let Some(stored) = bytes.get_mut(end..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *stored = sum.to_be_bytes();
    }
}

/// A big-endian integer of 4 bytes.
fn be32(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk().map(|field| u32::from_be_bytes(*field) as usize)
}

/// A section with its length in front; returns its bytes' place.
fn seal_section(bytes: &mut [u8], at: usize) -> Option<(usize, usize)> {
    let start = at.checked_add(4)?;
    let end = start.checked_add(be32(bytes, at)?)?;
    seal(bytes, start, end);
    Some((start, end))
}

/// Every fragment of every page; its checksum stands in front of the payload.
pub(super) fn wal_segment(bytes: &[u8]) -> Vec<u8> {
    const PAGE: usize = 32 * 1024;
    const HEADER: usize = 7;
    let mut bytes = bytes.to_vec();
    for page in bytes.chunks_mut(PAGE) {
        let mut at = 0;
        while let Some(&[kind, hi, lo, ..]) = page.get(at..).and_then(|rest| rest.first_chunk::<HEADER>()) {
            let end = at + HEADER + usize::from(u16::from_be_bytes([hi, lo]));
            let Some(payload) = page.get(at + HEADER..end).filter(|_| kind & 7 != 0) else { break };
            let sum = crc(payload).to_be_bytes();
            if let Some(stored) = page.get_mut(at + 3..at + HEADER) {
                stored.copy_from_slice(&sum);
            }
            at = end;
        }
    }
    bytes
}

/// The TOC, the symbols, every series, the postings table and every list that it names.
pub(super) fn index(bytes: &[u8]) -> Vec<u8> {
    const TOC: usize = 52;
    let mut bytes = bytes.to_vec();
    let Some(toc) = bytes.len().checked_sub(TOC) else { return bytes };
    seal(&mut bytes, toc, toc + TOC - 4);
    let mut fields = Decoder::new(bytes.get(toc..).unwrap_or_default());
    let mut offsets = [0usize; 6];
    for offset in &mut offsets {
        *offset = fields.be64().map_or(0, |field| usize::try_from(field).unwrap_or(0));
    }
    let [symbols, series, series_end, _, _, table] = offsets;
    seal_section(&mut bytes, symbols);
    let mut at = series.checked_next_multiple_of(16).unwrap_or(toc);
    while at < series_end.min(toc) {
        let Some((start, end)) = prefixed(&bytes, at, 0) else { break };
        seal(&mut bytes, start, end);
        at = (end + 4).next_multiple_of(16);
    }
    if let Some((start, end)) = seal_section(&mut bytes, table) {
        let entries = bytes.get(start..end).unwrap_or_default().to_vec();
        for list in lists(&entries) {
            seal_section(&mut bytes, list);
        }
    }
    bytes
}

/// The offsets that a postings table names.
fn lists(table: &[u8]) -> Vec<usize> {
    let mut entries = Decoder::new(table);
    let count = entries.be32().unwrap_or(0);
    let mut list = || {
        entries.byte().ok()?;
        entries.string().ok()?;
        entries.string().ok()?;
        usize::try_from(entries.uvarint().ok()?).ok()
    };
    (0..count).map_while(|_| list()).collect()
}

/// Where the bytes are whose length stands at `at`, with `more` bytes that the length does not count.
fn prefixed(bytes: &[u8], at: usize, more: usize) -> Option<(usize, usize)> {
    let mut length = Decoder::new(bytes.get(at..)?);
    let len = usize::try_from(length.uvarint().ok()?).ok()?;
    let start = at + length.offset();
    Some((start, start.checked_add(len)?.checked_add(more).filter(|&end| end <= bytes.len())?))
}

/// Where the entries of a chunk file begin, as far as their lengths lead.
pub(super) fn chunk_offsets(bytes: &[u8]) -> Vec<usize> {
    let mut offsets = vec![8];
    while let Some((_, end)) = offsets.last().and_then(|&at| prefixed(bytes, at, 1)) {
        offsets.push(end + 4);
    }
    offsets
}

/// Every entry of a chunk file.
pub(super) fn chunk_segment(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    for at in chunk_offsets(bytes) {
        if let Some((start, end)) = prefixed(bytes, at, 1) {
            seal(&mut sealed, start, end);
        }
    }
    sealed
}

/// Every entry of a head chunk file, whose length stands behind a head.
pub(super) fn head_chunks(bytes: &[u8]) -> Vec<u8> {
    const HEAD: usize = 25;
    let mut bytes = bytes.to_vec();
    let mut at = 8;
    while let Some((_, end)) = prefixed(&bytes, at + HEAD, 0) {
        seal(&mut bytes, at, end);
        at = end + 4;
    }
    bytes
}

/// The entries behind magic and version.
pub(super) fn tombstones(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let end = bytes.len().saturating_sub(4);
    seal(&mut bytes, 5, end);
    bytes
}
