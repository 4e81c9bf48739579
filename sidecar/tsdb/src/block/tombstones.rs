//! Reads a block's tombstones: which times of which series are deleted.
//!
//! ```text
//! 0130BA30 | version 1 | (series id uvarint, mint varint, maxt varint)… | CRC-32C of the entries alone
//! ```
//! The file may be missing. Nothing of ours deletes samples; blocks of Prometheus may have some deleted.

use std::io;
use std::path::Path;

use crate::error::Error;
use crate::fs::Fs;
use crate::read_at::ReadAt;

const MAGIC: u32 = 0x0130_ba30;
const VERSION: u8 = 1;
/// Tombstones are held in memory, so a file with more bytes is refused.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The deleted intervals of a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tombstones {
    /// Sorted.
    intervals: Vec<Interval>,
}

/// Deleted times of one series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    /// The series' id in the block.
    pub series: u32,
    /// The first deleted time, milliseconds.
    pub mint: i64,
    /// The last deleted time, milliseconds, inclusive.
    pub maxt: i64,
}

impl Interval {
    /// True if the time is deleted.
    pub fn covers(&self, t: i64) -> bool {
        (self.mint..=self.maxt).contains(&t)
    }
}

impl Tombstones {
    /// Reads the file; one that is missing deletes nothing.
    pub fn read(fs: &dyn Fs, path: &Path) -> Result<Self, Error> {
        let file = match ReadAt::open(fs, path) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            file => file?,
        };
        if file.len() > FILE_BYTES_MAX {
            return Err(file.corrupt(0, format!("{} bytes are more than are read", file.len())));
        }
        let mut header = file.cursor(0, file.len());
        if header.be32()? != MAGIC || header.byte()? != VERSION {
            return Err(file.corrupt(0, "it does not begin as tombstones of version 1 do"));
        }
        let start = header.at();
        let end = file.len().saturating_sub(4);
        if end < start || file.cursor(end, file.len()).be32()? != file.crc(start, end)? {
            return Err(file.corrupt(start, "the checksum of the tombstones does not match"));
        }
        let mut entries = file.cursor(start, end);
        let mut intervals = Vec::new();
        while !entries.is_empty() {
            let at = entries.at();
            let id = entries.uvarint()?;
            let series =
                u32::try_from(id).map_err(|_| file.corrupt(at, format!("there can be no series {id}")))?;
            intervals.push(Interval { series, mint: entries.varint()?, maxt: entries.varint()? });
        }
        intervals.sort_unstable();
        Ok(Self { intervals })
    }

    /// How many intervals there are.
    pub fn count(&self) -> u64 {
        self.intervals.len() as u64
    }

    /// The deleted intervals of a series, by their beginnings; they may overlap.
    pub fn of(&self, series: u32) -> &[Interval] {
        let start = self.intervals.partition_point(|interval| interval.series < series);
        let rest = self.intervals.get(start..).unwrap_or_default();
        let len = rest.partition_point(|interval| interval.series == series);
        rest.get(..len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::{crc, put_uvarint, put_varint};
    use crate::fs::RealFs;

    fn read(bytes: &[u8]) -> Result<Tombstones, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tombstones");
        std::fs::write(&path, bytes).unwrap();
        Tombstones::read(&RealFs, &path)
    }

    fn file(entries: &[(u64, i64, i64)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (id, mint, maxt) in entries {
            put_uvarint(&mut body, *id);
            put_varint(&mut body, *mint);
            put_varint(&mut body, *maxt);
        }
        [&[0x01, 0x30, 0xba, 0x30, 1], body.as_slice(), &crc(&body).to_be_bytes()].concat()
    }

    #[test]
    fn intervals_are_found_by_series() {
        let tombstones = read(&file(&[(7, -5, 5), (9, 0, 0), (7, 100, i64::MAX)])).unwrap();
        assert_eq!(tombstones.count(), 3);
        let covers = |series, t| tombstones.of(series).iter().any(|interval| interval.covers(t));
        assert!(covers(7, -5) && covers(7, 5) && covers(7, i64::MAX));
        assert!(!covers(7, 6) && !covers(8, 0));
        assert_eq!(read(&file(&[])).unwrap().count(), 0);
        let nowhere = Tombstones::read(&RealFs, Path::new("/does/not/exist")).unwrap();
        assert_eq!(nowhere, Tombstones::default());
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let good = file(&[(7, -5, 5), (9, 0, 1 << 40)]);
        for at in 0..good.len() {
            assert!(read(&good[..at]).is_err(), "cut to {at} bytes");
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(read(&bad).is_err(), "byte {at} changed");
        }
        let error = read(&file(&[(1 << 32, 0, 1)])).unwrap_err();
        assert!(error.to_string().contains("at byte 5: there can be no series 4294967296"), "{error}");
    }
}
