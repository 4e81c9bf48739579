//! Judges every reader of files on any bytes, for the fuzz targets (`fuzz/`) and for the tests here: a reader may
//! refuse the bytes, but never panics, and what it takes means the same when it is written and read again.
//!
//! Random bytes fail at the first checksum. So each judge looks at the bytes as they come and again with their
//! checksums made right (`reseal`).

mod reseal;
mod seeds;
mod tenant;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::block::{ChunkReader, Meta, Tombstones, to_json};
use crate::chunk::Chunk;
use crate::chunkenc::xor::XorAppender;
use crate::chunkenc::{ChunkIter, Encoding};
use crate::chunks_head::{self, HeadChunks};
use crate::error::Error;
use crate::fs::Fs;
use crate::fs::faults::FaultFs;
use crate::head::encode;
use crate::index::{self, IndexReader};
use crate::record::{self, Record, ValuesEncoder};
use crate::sample::Value;
use crate::{layout, wal};

pub use seeds::{seeds, write_seeds};
pub use tenant::tenant;

/// The range of blocks.
const RANGE: i64 = 7_200_000;

/// The bytes as a file in memory.
fn file(name: &str, bytes: &[u8]) -> (FaultFs, PathBuf) {
    let (fs, path) = (FaultFs::default(), Path::new("/").join(name));
    let written = fs.create_new(&path).and_then(|mut file| file.write_all(bytes));
    assert!(written.is_ok(), "memory takes every file: {written:?}");
    (fs, path)
}

/// Damage has a place in the file, or just behind it.
fn expect_place(error: &Error, len: usize) {
    if let Error::Corrupt { offset, .. } = error {
        assert!(
            *offset <= (len as u64).next_multiple_of(1 << 15)
                || error.to_string().contains("there can be no"),
            "{error}"
        );
    }
}

/// A segment of the WAL or the WBL: framing, compression, every record.
pub fn wal_segment(bytes: &[u8]) {
    for bytes in [bytes, &reseal::wal_segment(bytes)] {
        let (fs, _) = file("00000000", bytes);
        let mut faults = 0;
        let summary = wal::verify_wal(&fs, Path::new("/"), &mut |error| {
            faults += 1;
            expect_place(&error, bytes.len());
        });
        assert!(faults <= summary.records + 1);
        if let Some(torn) = summary.torn {
            expect_place(&torn, bytes.len());
        }
    }
}

/// The payload of one record of a log.
pub fn record(bytes: &[u8]) {
    // Which records are decoded is the summary's affair; that none panics is the point.
    let _ = wal::count(bytes, &mut wal::WalSummary::default());
}

/// An index: everything that readers ask of it, and its verification.
pub fn index(bytes: &[u8]) {
    for bytes in [bytes, &reseal::index(bytes)] {
        let (fs, path) = file("index", bytes);
        let index = match IndexReader::open(&fs, &path) {
            Ok(index) => index,
            Err(error) => {
                expect_place(&error, bytes.len());
                continue;
            }
        };
        let mut series = 0usize;
        index::verify(&index, &mut |_| {}, &mut |_, entry, _| {
            series += usize::from(!entry.chunks.is_empty())
        });
        assert!(series <= bytes.len() / 16);
        if let Err(error) = read_index(&index) {
            expect_place(&error, bytes.len());
        }
    }
}

/// Finds every label value by its name and text again.
fn read_index(index: &IndexReader) -> Result<(), Error> {
    for (name, values) in index.label_names() {
        assert!(values > 0);
        for value in index.label_values(name) {
            let value = value?;
            let listed = value.postings()?.collect::<Result<Vec<_>, _>>()?;
            let found = index.postings(name, &value.value)?.collect::<Result<Vec<_>, _>>()?;
            assert_eq!(listed, found);
        }
    }
    Ok(())
}

/// A chunk file of a block: the entries one behind the other from the first on.
pub fn chunk_segment(bytes: &[u8]) {
    for bytes in [bytes, &reseal::chunk_segment(bytes)] {
        let (fs, _) = file("000001", bytes);
        let chunks = match ChunkReader::open(&fs, Path::new("/")) {
            Ok(chunks) => chunks,
            Err(error) => {
                expect_place(&error, bytes.len());
                continue;
            }
        };
        for reference in reseal::chunk_offsets(bytes) {
            match chunks.chunk(reference as u64) {
                Ok(read) => samples(read.encoding, &read.data),
                Err(error) => expect_place(&error, bytes.len()),
            }
        }
    }
}

/// A head chunk file: what is loaded can be read by its reference, and once the damage is cut off there is none.
pub fn head_chunks(bytes: &[u8]) {
    for bytes in [bytes, &reseal::head_chunks(bytes)] {
        let (fs, path) = file(&layout::chunk_file_name(1), bytes);
        let fs: Arc<dyn Fs> = Arc::new(fs);
        let dir = Path::new("/");
        let mut loaded = Vec::new();
        let load = |loaded: &mut Vec<_>| {
            chunks_head::load(fs.as_ref(), dir, |entry| {
                loaded.push((entry.series, entry.reference, entry.chunk));
                Ok(())
            })
        };
        let damage = load(&mut loaded).map(|(_, damage)| damage);
        if let Ok(Some(error)) | Err(error) = &damage {
            expect_place(error, bytes.len());
        }
        let files = HeadChunks::new(&fs, dir, 2);
        for (_, reference, chunk) in &loaded {
            let read = files.read(*reference);
            assert!(read.as_ref().is_ok_and(|read| read.data == chunk.data), "{read:?}");
            samples(chunk.encoding, &chunk.data);
        }
        let mut again = Vec::new();
        let damage = load(&mut again);
        assert!(
            matches!(damage, Ok((_, None))) && again.len() == loaded.len(),
            "{}: {damage:?}",
            path.display()
        );
    }
}

/// Calls `each` with series, encoding and data of every chunk in a head chunk file.
fn each_head_chunk(bytes: &[u8], mut each: impl FnMut(u64, Encoding, &[u8])) {
    let (fs, _) = file(&layout::chunk_file_name(1), bytes);
    let loaded = chunks_head::load(&fs, Path::new("/"), |entry| {
        each(entry.series, entry.chunk.encoding, &entry.chunk.data);
        Ok(())
    });
    assert!(loaded.is_ok(), "{loaded:?}");
}

/// One chunk; the first byte says of which encoding.
pub fn chunk(bytes: &[u8]) {
    let Some((encoding, data)) = bytes.split_first() else { return };
    if let Ok(encoding) = Encoding::try_from(encoding % 4) {
        samples(encoding, data);
    }
}

/// What a chunk holds. Samples that can be read are the same when they are written and read again, as far as they are
/// valid.
fn samples(encoding: Encoding, data: &[u8]) {
    let read: Result<Vec<_>, _> = ChunkIter::new(encoding, data).collect();
    let Ok(read) = read else { return };
    if encoding != Encoding::Xor {
        return histograms(read);
    }
    let bits = |(t, value): &(i64, Value)| match value {
        Value::Float(v) => (*t, v.to_bits()),
        Value::Histogram(_) | Value::FloatHistogram(_) => unreachable!("a float chunk"),
    };
    let read: Vec<_> = read.iter().map(bits).collect();
    let mut again = XorAppender::default();
    for (t, v) in &read {
        again.append(*t, f64::from_bits(*v));
    }
    let again: Result<Vec<_>, _> = ChunkIter::new(Encoding::Xor, &again.copy()).collect();
    let again: Vec<_> = again.iter().flatten().map(bits).collect();
    assert_eq!(read, again);
}

/// A valid histogram off the wire: it is the same when it is stored and read again.
pub fn value(t_ms: i64, value: &Value) {
    let mut records = ValuesEncoder::default();
    records.push(7, t_ms, value);
    let mut read = Vec::new();
    for payload in records.payloads().into_iter().filter(|payload| !payload.is_empty()) {
        match record::decode(payload) {
            Record::Histograms(entries) => {
                read.extend(entries.flatten().map(|entry| (entry.t, Value::Histogram(entry.h))))
            }
            Record::FloatHistograms(entries) => {
                read.extend(entries.flatten().map(|entry| (entry.t, Value::FloatHistogram(entry.h))))
            }
            other => unreachable!("a record of histograms, not {other:?}"),
        }
    }
    assert!(matches!(&read[..], [(t, again)] if *t == t_ms && again.same(value)), "{read:?} of {value:?}");
    histograms(read);
}

/// Histograms that are valid and in order of time are the same when they are written and read again.
fn histograms(mut read: Vec<(i64, Value)>) {
    let is_valid = |value: &Value| match value {
        Value::Float(_) => true,
        Value::Histogram(h) => h.validate().is_ok(),
        Value::FloatHistogram(h) => h.validate().is_ok(),
    };
    let mut newest = None;
    read.retain(|(t, value)| is_valid(value) && newest.replace(*t).is_none_or(|before| before < *t));
    let again: Vec<_> = encode(read.clone(), RANGE).iter().flat_map(Chunk::samples).collect();
    assert_eq!(again.len(), read.len());
    for ((t, value), (again_t, again)) in read.iter().zip(&again) {
        assert!(t == again_t && value.same(again), "{again:?} at {again_t} instead of {value:?} at {t}");
    }
}

/// A block's meta.json.
pub fn meta_json(bytes: &[u8]) {
    if let Ok(meta) = serde_json::from_slice::<Meta>(bytes) {
        let again = to_json(&meta).map(|json| serde_json::from_slice::<Meta>(&json));
        assert!(matches!(&again, Ok(Ok(again)) if *again == meta), "{again:?} {meta:?}");
    }
}

/// A block's tombstones.
pub fn tombstones(bytes: &[u8]) {
    for bytes in [bytes, &reseal::tombstones(bytes)] {
        let (fs, path) = file("tombstones", bytes);
        match Tombstones::read(&fs, &path) {
            Ok(tombstones) => assert!(tombstones.count() <= bytes.len() as u64 / 3),
            Err(error) => expect_place(&error, bytes.len()),
        }
    }
}
