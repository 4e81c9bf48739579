//! Judges a whole tenant with one file of any content.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::seeds::{Files, files};
use super::{expect_place, reseal};
use crate::error::Error;
use crate::fs::Fs;
use crate::fs::faults::FaultFs;
use crate::{Options, Tsdb, layout};

/// Blocks cut of one tenant: times may be as far apart as they can be.
const CUTS_MAX: usize = 4;

/// A tenant's directory where one file is `bytes` but for the first, which says which file: a segment of the write-ahead
/// log, of the write-behind log, or a head chunk file; the others are whole. The tenant is refused, or it opens, cuts its
/// blocks and opens again.
pub fn tenant(bytes: &[u8]) {
    static WHOLE: OnceLock<Option<Files>> = OnceLock::new();
    let (Some((which, bytes)), Some(whole)) = (bytes.split_first(), WHOLE.get_or_init(|| files().ok()))
    else {
        return;
    };
    let which = usize::from(which % 3);
    let sealed = if which == 2 { reseal::head_chunks(bytes) } else { reseal::wal_segment(bytes) };
    for bytes in [bytes, &sealed] {
        let mut contents = [&whole.wal[..], &whole.wbl, &whole.head_chunks];
        if let Some(content) = contents.get_mut(which) {
            *content = bytes;
        }
        match live(&write(contents)) {
            Ok(()) => {}
            Err(error) => expect_place(&error, bytes.len()),
        }
    }
}

/// A directory with these logs and this head chunk file.
fn write(contents: [&[u8]; 3]) -> Arc<dyn Fs> {
    let fs = FaultFs::default();
    let files = [
        (layout::WAL, layout::segment_name(0)),
        (layout::WBL, layout::segment_name(0)),
        (layout::CHUNKS_HEAD, layout::chunk_file_name(1)),
    ];
    for ((folder, name), content) in files.into_iter().zip(contents) {
        let folder = dir().join(folder);
        let written = fs_of(&fs).create_dir_durable(&folder).and_then(|()| {
            let mut file = fs.create_new(&folder.join(name))?;
            file.write_all(content)
        });
        assert!(written.is_ok(), "memory takes every file: {written:?}");
    }
    Arc::new(fs)
}

fn fs_of(fs: &FaultFs) -> &dyn Fs {
    fs
}

fn dir() -> PathBuf {
    Path::new("/tenant").to_owned()
}

/// Opens the tenant, has it do what it does beside the writes, and opens it again. Only the first opening may fail, and a
/// cut that finds a chunk damaged.
fn live(fs: &Arc<dyn Fs>) -> Result<(), Error> {
    let options = Options { fs: Arc::clone(fs), exemplars_max: 10, ..Options::default() };
    let tsdb = Tsdb::open(&dir(), options.clone())?;
    let mapped = tsdb.map_chunks();
    assert!(mapped.is_ok(), "{mapped:?}");
    for _ in 0..CUTS_MAX {
        match tsdb.cut_block() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => {
                expect_place(&error, usize::MAX);
                break;
            }
        }
    }
    let (series, closed) = (tsdb.stats().series, tsdb.close());
    assert!(closed.is_ok(), "{closed:?}");
    drop(tsdb);
    let again = Tsdb::open(&dir(), options);
    assert!(
        again.as_ref().is_ok_and(|again| again.stats().series <= series),
        "{series} series, then {again:?}"
    );
    Ok(())
}
