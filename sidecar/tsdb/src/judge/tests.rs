//! The judges on damaged files: a fixed seed, so that a failure comes again. The fuzz targets go on from there.

use super::*;
use crate::block::testing::cut_block;

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

fn judge_copies(good: &[u8], judge: fn(&[u8])) {
    judge(good);
    let mut random = Random(1);
    for _ in 0..COPIES {
        judge(&damage(good, &mut random));
    }
    for len in 0..64 {
        let noise: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        judge(&noise);
    }
}

#[test]
fn damaged_files_of_a_block() {
    let dir = tempfile::tempdir().unwrap();
    let block = cut_block(dir.path(), 40);
    let read = |name: &str| std::fs::read(block.join(name)).unwrap();
    judge_copies(&read("index"), index);
    judge_copies(&read("chunks/000001"), chunk_segment);
    judge_copies(&read("tombstones"), tombstones);
    judge_copies(&read("meta.json"), meta_json);
    let float = [&[1][..], &read("chunks/000001")[11..200]].concat();
    judge_copies(&float, chunk);
}

#[test]
fn damaged_segments() {
    let dir = tempfile::tempdir().unwrap();
    cut_block(dir.path(), 40);
    let segment = std::fs::read(dir.path().join("wal/00000000")).unwrap();
    assert!(segment.len() > 32 * 1024, "more than a page");
    judge_copies(&segment, wal_segment);
}

/// A whole file has the right checksums already; a damaged one gets others.
#[test]
fn sealed_files_are_left_as_they_are() {
    type Seal = fn(&[u8]) -> Vec<u8>;
    let dir = tempfile::tempdir().unwrap();
    let block = cut_block(dir.path(), 40);
    let files: [(PathBuf, Seal); 4] = [
        (block.join("index"), reseal::index),
        (block.join("chunks/000001"), reseal::chunk_segment),
        (block.join("tombstones"), reseal::tombstones),
        (dir.path().join("wal/00000000"), reseal::wal_segment),
    ];
    for (path, reseal) in files {
        let good = std::fs::read(&path).unwrap();
        // Behind magic and version; zeros may be padding.
        for at in [good.len() / 2, good.len() - 1, 50] {
            let mut damaged = good.clone();
            let Some(byte) = damaged.get_mut(at).filter(|byte| at > 4 && **byte != 0) else { continue };
            *byte ^= 1;
            let sealed = reseal(&damaged);
            assert!(sealed == good || sealed != damaged, "byte {at} of {}", path.display());
        }
        assert!(reseal(&good) == good, "{}", path.display());
    }
}
