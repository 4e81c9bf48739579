//! The judges on damaged files: a fixed seed, so that a failure comes again. The fuzz targets go on from there.

use super::*;

/// Damaged copies of each file.
const COPIES: usize = 400;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Changes a few places: a bit, a byte, a run of one byte, a piece moved, inserted or cut out, the end cut off.
fn damage(good: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        let end = bytes.len().min(at + 1 + random.below(12));
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            3 => bytes[at..end].fill([0, 0xff, 0x80, 0x7f][random.below(4)]),
            4 => bytes[at] = random.next() as u8,
            _ => bytes[at] ^= 1 << random.below(8),
        }
        if bytes.is_empty() {
            return bytes;
        }
    }
    bytes
}

fn judge_copies(good: &[u8], copies: usize, judge: fn(&[u8])) {
    judge(good);
    let mut random = Random(1);
    for _ in 0..copies {
        judge(&damage(good, &mut random));
    }
    for len in 0..64 {
        let noise: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        judge(&noise);
    }
}

fn judge_seeds(target: &str, judge: fn(&[u8])) {
    judge_some(target, COPIES, judge);
}

fn judge_some(target: &str, copies: usize, judge: fn(&[u8])) {
    let seeds: Vec<_> = seeds().unwrap().into_iter().filter(|(of, _)| *of == target).collect();
    assert!(!seeds.is_empty(), "{target}");
    for (_, seed) in seeds {
        judge_copies(&seed, copies, judge);
    }
}

#[test]
fn damaged_files_of_a_block() {
    judge_seeds("index", index);
    judge_seeds("chunk_segment", chunk_segment);
    judge_seeds("tombstones", tombstones);
    judge_seeds("meta_json", meta_json);
    judge_seeds("chunk", chunk);
}

#[test]
fn damaged_segments() {
    assert!(seeds::files().unwrap().wal.len() > 32 * 1024, "more than a page");
    judge_seeds("wal_segment", wal_segment);
    judge_seeds("record", record);
}

#[test]
fn damaged_head_chunks() {
    judge_seeds("head_chunks", head_chunks);
}

#[test]
fn a_tenant_with_a_damaged_file() {
    judge_some("tenant", COPIES / 8, tenant);
}

/// A whole file has the right checksums already; a damaged one gets others.
#[test]
fn sealed_files_are_left_as_they_are() {
    type Seal = fn(&[u8]) -> Vec<u8>;
    let files = seeds::files().unwrap();
    let files: [(&str, Vec<u8>, Seal); 5] = [
        ("index", files.index, reseal::index),
        ("chunks", files.chunks, reseal::chunk_segment),
        ("tombstones", files.tombstones, reseal::tombstones),
        ("wal", files.wal, reseal::wal_segment),
        ("head chunks", files.head_chunks, reseal::head_chunks),
    ];
    for (name, good, reseal) in files {
        // Behind magic and version; zeros may be padding.
        for at in [good.len() / 2, good.len() - 1, 50] {
            let mut damaged = good.clone();
            let Some(byte) = damaged.get_mut(at).filter(|byte| at > 4 && **byte != 0) else { continue };
            *byte ^= 1;
            let sealed = reseal(&damaged);
            assert!(sealed == good || sealed != damaged, "byte {at} of {name}");
        }
        assert!(reseal(&good) == good, "{name}");
    }
}
