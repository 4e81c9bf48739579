//! Integers of a variable number of bits: the fewer leading ones in the prefix, the smaller the number.

use super::bstream::{BitReader, BitWriter};

/// Bits behind the prefixes of one to seven ones and a zero. Eight ones stand before 64 bits, a single zero for 0.
const WIDTHS: [u32; 7] = [3, 6, 9, 12, 18, 25, 56];

/// Appends a signed integer. A width of n bits holds −2^(n−1)+1 to 2^(n−1).
pub(crate) fn put_int(out: &mut BitWriter, v: i64) {
    let fits = |width: u32| -(1i64 << (width - 1)) < v && v <= 1i64 << (width - 1);
    put(out, v as u64, fits);
}

/// Appends an unsigned integer.
pub(crate) fn put_uint(out: &mut BitWriter, v: u64) {
    put(out, v, |width| v >> width == 0);
}

fn put(out: &mut BitWriter, v: u64, fits: impl Fn(u32) -> bool) {
    if v == 0 {
        out.put(0, 1);
        return;
    }
    match (1u32..).zip(WIDTHS).find(|(_, width)| fits(*width)) {
        Some((ones, width)) => {
            out.put((1 << (ones + 1)) - 2, ones + 1);
            out.put(v, width);
        }
        None => {
            out.put(0xff, 8);
            out.put(v, 64);
        }
    }
}

/// Reads what [`put_int`] wrote.
pub(crate) fn read_int(bits: &mut BitReader<'_>) -> Option<i64> {
    let (raw, width) = read(bits)?;
    let raw = raw as i64;
    Some(if width < 64 && raw > (1i64 << width) >> 1 { raw - (1i64 << width) } else { raw })
}

/// Reads what [`put_uint`] wrote.
pub(crate) fn read_uint(bits: &mut BitReader<'_>) -> Option<u64> {
    read(bits).map(|(raw, _)| raw)
}

fn read(bits: &mut BitReader<'_>) -> Option<(u64, u32)> {
    if !bits.bit()? {
        return Some((0, 0));
    }
    for width in WIDTHS {
        if !bits.bit()? {
            return Some((bits.bits(width)?, width));
        }
    }
    Some((bits.bits(64)?, 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_round_trip(ints in proptest::collection::vec((any::<i64>(), 0u32..64), 1..50)) {
            let mut out = BitWriter::default();
            for &(v, shift) in &ints {
                put_int(&mut out, v >> shift);
                put_uint(&mut out, v as u64 >> shift);
            }
            let mut bits = BitReader::new(&out.bytes);
            for &(v, shift) in &ints {
                prop_assert_eq!(read_int(&mut bits), Some(v >> shift));
                prop_assert_eq!(read_uint(&mut bits), Some(v as u64 >> shift));
            }
        }
    }

    #[test]
    fn every_number_takes_the_narrowest_width() {
        for (ones, width) in (1..).zip(WIDTHS) {
            let half = 1i64 << (width - 1);
            for (v, fits) in [(half, true), (half + 1, false), (1 - half, true), (-half, false)] {
                let mut out = BitWriter::default();
                put_int(&mut out, v);
                let prefix = out.bytes[0].leading_ones();
                assert!(if fits { prefix == ones } else { prefix > ones }, "{v} has {prefix} ones");
                assert_eq!(read_int(&mut BitReader::new(&out.bytes)), Some(v));
            }
        }
        for v in [i64::MAX, i64::MIN] {
            let mut out = BitWriter::default();
            put_int(&mut out, v);
            assert_eq!((out.bytes.len(), read_int(&mut BitReader::new(&out.bytes))), (9, Some(v)));
        }
    }
}
