//! A whole block has no fault, and a damaged one has: every byte of every file is flipped in turn.

use super::*;
use crate::block::testing::cut_block;
use crate::fs::RealFs;

fn faults(dir: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    verify(&RealFs, dir, &mut |error| faults.push(error.to_string()));
    faults
}

#[test]
fn any_byte_that_is_not_padding_counts() {
    let dir = tempfile::tempdir().unwrap();
    let block = cut_block(dir.path(), 5);
    assert_eq!(faults(&block), [""; 0]);
    for name in ["index", "chunks/000001", "tombstones"] {
        let path = block.join(name);
        let good = std::fs::read(&path).unwrap();
        let mut unseen = 0;
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x11;
            std::fs::write(&path, &bad).unwrap();
            let found = faults(&block);
            if found.is_empty() {
                unseen += 1;
                assert_eq!(good[at], 0, "byte {at} of {name}");
            } else if !found[0].contains(" at byte ") {
                panic!("{found:?}");
            }
        }
        // Zeros between series and behind a chunk file's version.
        assert!(unseen < 6 * 16, "{unseen} bytes of {name} do not matter");
        std::fs::write(&path, &good).unwrap();
    }
    std::fs::remove_file(block.join("tombstones")).unwrap();
    assert_eq!(faults(&block), [""; 0]);
}

/// The faults after meta.json was changed.
fn faults_of_meta(block: &Path, change: impl Fn(&mut Meta)) -> Vec<String> {
    let good = std::fs::read(block.join(META_FILE)).unwrap();
    let mut meta = Meta::read(block).unwrap();
    change(&mut meta);
    std::fs::write(block.join(META_FILE), super::super::to_json(&meta).unwrap()).unwrap();
    let found = faults(block);
    std::fs::write(block.join(META_FILE), good).unwrap();
    found.into_iter().map(|fault| fault.split_once(": ").unwrap().1.to_owned()).collect()
}

#[test]
fn meta_json_must_say_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let block = cut_block(dir.path(), 3);
    assert_eq!(
        faults_of_meta(&block, |meta| meta.stats.num_samples += 1),
        ["numSamples is 361, the block has 360"]
    );
    assert_eq!(faults_of_meta(&block, |meta| meta.stats.num_series = 0), ["numSeries is 0, the block has 3"]);
    // As Prometheus 2.42 writes it.
    assert_eq!(faults_of_meta(&block, |meta| meta.stats.num_float_samples = 0), [""; 0]);
    assert_eq!(
        faults_of_meta(&block, |meta| meta.compaction.sources.clear()),
        ["the compaction has no level or no sources"]
    );
    let outside = faults_of_meta(&block, |meta| meta.max_time = 119 * 60_000);
    assert_eq!(outside.len(), 3, "{outside:?}");
    assert!(outside[0].ends_with("is not within the block's times"), "{outside:?}");
    std::fs::write(block.join(META_FILE), "{}").unwrap();
    assert!(faults(&block)[0].contains("meta.json is corrupt at byte"), "{:?}", faults(&block));
}

/// Changes the ids of the postings list of a label pair, and the list's checksum with them.
fn patch_postings(block: &Path, value: &str, change: impl Fn(&mut [u32])) -> Vec<String> {
    let path = block.join("index");
    let good = std::fs::read(&path).unwrap();
    let (start, len) = {
        let index = crate::index::IndexReader::open(&RealFs, &path).unwrap();
        let list = index.postings(b"i", value.as_bytes()).unwrap();
        (list.list_end() as usize - 4 - 4 * list.list_len() as usize, list.list_len() as usize)
    };
    let mut bad = good.clone();
    let mut ids: Vec<u32> =
        bad[start..start + 4 * len].chunks(4).map(|id| u32::from_be_bytes(id.try_into().unwrap())).collect();
    change(&mut ids);
    for (at, id) in ids.into_iter().enumerate() {
        bad[start + 4 * at..][..4].copy_from_slice(&id.to_be_bytes());
    }
    let sum = crate::encoding::crc(&bad[start - 4..start + 4 * len]);
    bad[start + 4 * len..][..4].copy_from_slice(&sum.to_be_bytes());
    std::fs::write(&path, &bad).unwrap();
    let found = faults(block);
    std::fs::write(&path, good).unwrap();
    found
}

#[test]
fn postings_must_name_the_right_series_and_all_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let block = cut_block(dir.path(), 3);
    let all: Vec<_> =
        Block::open(&RealFs, &block).unwrap().series().unwrap().map(|s| s.unwrap().id).collect();
    assert_eq!(patch_postings(&block, "2", |_| {}), [""; 0]);
    let wrong = patch_postings(&block, "2", |ids| ids[0] = all[0]);
    let what = format!("the postings of \"i\" = \"2\" have series {}, which lacks the label", all[0]);
    assert!(wrong[0].ends_with(&what), "{wrong:?}");
    assert!(wrong[1].ends_with("3 series have the label \"i\", its postings list 2"), "{wrong:?}");
    let nowhere = patch_postings(&block, "2", |ids| ids[0] = 1_000_000);
    assert!(nowhere[0].ends_with("there can be no series with id 1000000"), "{nowhere:?}");
}
