use super::*;
use crate::fs::RealFs;

fn chunk(mint: i64, len: usize) -> Chunk {
    Chunk { mint, maxt: mint + 10, encoding: Encoding::Xor, data: vec![mint as u8; len].into() }
}

fn loaded(dir: &Path) -> (Vec<(u64, ChunkRef, i64)>, u32, Option<Error>) {
    let mut found = Vec::new();
    let (next, damage) = load(&RealFs, dir, |entry| {
        found.push((entry.series, entry.reference, entry.chunk.mint));
        Ok(())
    })
    .unwrap();
    (found, next, damage)
}

#[test]
fn chunks_come_back_by_reference_and_by_loading() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("chunks_head");
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let head = HeadChunks::new(&fs, &dir, 1);
    let sizes = [3, 100, 5000, READ_BYTES - ENTRY_HEAD, 70_000];
    let mut written = Vec::new();
    for (i, len) in sizes.into_iter().enumerate() {
        let references =
            head.write(i as u64 + 1, &[chunk(i as i64, len), chunk(100 + i as i64, 40)]).unwrap();
        written.push((i as u64 + 1, references[0], i as i64));
        written.push((i as u64 + 1, references[1], 100 + i as i64));
    }
    head.flush().unwrap();
    for (i, (_, reference, mint)) in written.iter().enumerate() {
        let back = head.read(*reference).unwrap();
        assert_eq!((back.mint, back.maxt), (*mint, mint + 10));
        assert_eq!(back.data.len(), if i % 2 == 0 { sizes[i / 2] } else { 40 });
    }
    assert_eq!(loaded(&dir).0, written);
    // A later run adds a file of its own, and truncation leaves the files from the oldest in use on.
    let later = HeadChunks::new(&fs, &dir, 2);
    let reference = later.write(9, &[chunk(500, 10)]).unwrap()[0];
    later.flush().unwrap();
    assert_eq!((reference.file(), loaded(&dir).1), (2, 3));
    later.truncate(Some(2)).unwrap();
    assert_eq!(loaded(&dir).0, [(9, reference, 500)]);
    later.truncate(None).unwrap();
    assert_eq!(loaded(&dir).0, []);
    assert_eq!(later.write(9, &[chunk(500, 10)]).unwrap()[0].file(), 3);
}

#[test]
fn damage_is_named_and_cut_off_with_all_that_came_later() {
    let scratch = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let write = |number| {
        let head = HeadChunks::new(&fs, scratch.path(), number);
        let references = head.write(1, &[chunk(1, 50), chunk(20, 50)]).unwrap();
        head.flush().unwrap();
        references
    };
    write(1);
    let references = write(2);
    write(3);
    let path = scratch.path().join(layout::chunk_file_name(2));
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let head = HeadChunks::new(&fs, scratch.path(), 4);
    let error = head.read(references[1]).unwrap_err();
    assert!(matches!(&error, Error::Corrupt { offset, .. } if *offset == u64::from(references[1].offset())));
    assert!(head.read(references[0]).is_ok());
    let (found, next, damage) = loaded(scratch.path());
    assert_eq!((found.len(), next), (3, 4));
    assert!(matches!(damage, Some(Error::Corrupt { .. })));
    assert!(!scratch.path().join(layout::chunk_file_name(3)).exists());
    assert!(matches!(loaded(scratch.path()), (found, 3, None) if found.len() == 3));
}

#[test]
fn zeros_behind_the_last_chunk_are_its_end() {
    let scratch = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let head = HeadChunks::new(&fs, scratch.path(), 1);
    head.write(1, &[chunk(1, 50)]).unwrap();
    head.flush().unwrap();
    let path = scratch.path().join(layout::chunk_file_name(1));
    for zeros in [1, 33, 4096] {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.resize(bytes.len() + zeros, 0);
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(loaded(scratch.path()), (found, 2, None) if found.len() == 1));
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_end(garbage in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join(layout::chunk_file_name(1));
        std::fs::write(&path, [&HEADER[..], &garbage].concat()).unwrap();
        let head = HeadChunks::new(&(Arc::new(RealFs) as Arc<dyn Fs>), scratch.path(), 2);
        let _ = head.read(ChunkRef::new(1, 8));
        loaded(scratch.path());
    }
}
