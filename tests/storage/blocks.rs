//! Blocks: cut when due, whole, readable, retained.

use ringside_tsdb::block::Meta;
use ringside_tsdb::{Options, Tsdb};

use crate::{RANGE, Store};

#[test]
fn blocks_are_cut_when_due_and_hold_exactly_their_range() {
    let mut store = Store::new("cut", Options::default());
    let start = 1_700_000_000_000 / RANGE * RANGE + 1234;
    store.fill(50, start, start + 5 * 3_600_000 + 1_800_000, 15_000);
    assert_eq!(store.cut_all(), 2);
    let blocks = store.tsdb.blocks();
    assert_eq!(blocks[0].min_time, start);
    assert_eq!((blocks[0].max_time, blocks[1].max_time), (start - 1234 + RANGE, start - 1234 + 2 * RANGE));
    assert_eq!((blocks[0].stats.num_series, blocks[0].stats.num_samples), (50, 50 * 480));
    assert_eq!((blocks[0].compaction.level, blocks[0].compaction.sources[0]), (1, blocks[0].ulid));
    assert_eq!(Meta::read(&store.dir.join(blocks[1].ulid.to_string())).unwrap(), blocks[1]);
    store.check("after cutting");
    let mut store = store.crash();
    assert_eq!(store.tsdb.blocks(), blocks);
    assert_eq!(store.cut_all(), 0);
    store.check("after cutting and a kill");
    store.scratch.passed();
}

#[test]
fn a_kill_between_a_block_and_the_truncation_repeats_nothing() {
    let mut store = Store::new("cut-kill", Options::default());
    store.fill(20, 0, 4 * 3_600_000, 15_000);
    let wal = store.scratch.path().join("wal-before");
    ringside_e2e::oracle::copy_tree(&store.dir.join("wal"), &wal).unwrap();
    assert_eq!(store.cut_all(), 1);
    std::fs::remove_dir_all(store.dir.join("wal")).unwrap();
    ringside_e2e::oracle::copy_tree(&wal, &store.dir.join("wal")).unwrap();
    let mut store = store.crash();
    assert_eq!(store.tsdb.stats().head_time_range.unwrap().0, RANGE);
    assert_eq!(store.tsdb.blocks().len(), 1);
    store.check("with the log as it was before the truncation");
    store.scratch.passed();
}

#[test]
fn what_an_interrupted_cut_left_is_removed() {
    let mut store = Store::new("leftovers", Options::default());
    store.fill(3, 0, 60_000, 15_000);
    for leftover in [
        "01ARZ3NDEKTSV4RRFFQ69G5FAV.tmp-for-creation/chunks",
        "01ARZ3NDEKTSV4RRFFQ69G5FAW.tmp-for-deletion",
        "wal/checkpoint.00000007.tmp",
    ] {
        std::fs::create_dir_all(store.dir.join(leftover)).unwrap();
    }
    std::fs::create_dir_all(store.dir.join("01ARZ3NDEKTSV4RRFFQ69G5FAX")).unwrap();
    let mut store = store.crash();
    let mut names: Vec<_> = std::fs::read_dir(&store.dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["01ARZ3NDEKTSV4RRFFQ69G5FAX", "wal"],
        "a directory that only looks like a block is left alone"
    );
    assert_eq!(store.tsdb.bad_blocks().len(), 1);
    std::fs::remove_dir(store.dir.join("01ARZ3NDEKTSV4RRFFQ69G5FAX")).unwrap();
    store.check("leftovers");
    store.scratch.passed();
}

#[test]
fn retention_removes_old_blocks_that_may_go_and_no_other() {
    let options = Options { retention_ms: 2 * RANGE, ..Options::default() };
    let mut store = Store::new("retention", options);
    store.fill(5, 0, 11 * 3_600_000 + 1_800_000, 30_000);
    assert_eq!(store.cut_all(), 5);
    let blocks = store.tsdb.blocks();
    let kept = blocks[1].ulid;
    let removed = store.tsdb.apply_retention(&|ulid| *ulid != kept).unwrap();
    let removed: Vec<_> = removed.iter().map(|block| block.ulid).collect();
    assert_eq!(removed, [blocks[0].ulid, blocks[2].ulid]);
    let reopened = Tsdb::open(&store.dir, store.options.clone()).unwrap();
    assert_eq!(
        reopened.blocks().iter().map(|b| b.ulid).collect::<Vec<_>>(),
        [kept, blocks[3].ulid, blocks[4].ulid]
    );
    store.expected = store.expected.filter(|_, t| t >= 3 * RANGE || (RANGE..2 * RANGE).contains(&t));
    store.check("after retention");
    store.scratch.passed();
}
