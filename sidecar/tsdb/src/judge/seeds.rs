//! Real files for the judges to begin with: what one small tenant leaves in a file system in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chunkenc::Encoding;
use crate::encoding::put_varint;
use crate::error::Error;
use crate::fs::Fs;
use crate::fs::faults::FaultFs;
use crate::histogram::{FloatHistogram, Histogram, Span};
use crate::{Options, Tsdb, layout};

const MINUTE: i64 = 60_000;
/// So long that a block is due and chunks are finished.
const MINUTES: i64 = 4 * 60;
const SERIES: i64 = 16;

/// The files of a tenant before and after a block is cut.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) wal: Vec<u8>,
    pub(super) wbl: Vec<u8>,
    pub(super) head_chunks: Vec<u8>,
    pub(super) index: Vec<u8>,
    pub(super) chunks: Vec<u8>,
    pub(super) tombstones: Vec<u8>,
    pub(super) meta_json: Vec<u8>,
}

/// Files as the fuzz targets take them, by target.
///
/// # Errors
/// None unless the storage is broken.
pub fn seeds() -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
    let files = files()?;
    let mut seeds = vec![
        ("wal_segment", files.wal.clone()),
        ("wal_segment", files.wbl.clone()),
        ("head_chunks", files.head_chunks.clone()),
        ("index", files.index),
        ("chunk_segment", files.chunks.clone()),
        ("tombstones", files.tombstones),
        ("meta_json", files.meta_json),
    ];
    let tenant = [&files.wal, &files.wbl, &files.head_chunks];
    seeds.extend((0u8..).zip(tenant).map(|(which, bytes)| ("tenant", [&[which][..], bytes].concat())));
    seeds.extend(messages().into_iter().map(|message| ("histogram", message)));
    seeds.extend(bodies().into_iter().map(|body| ("write_body", body)));
    seeds.extend(chunks(&files.head_chunks).into_iter().map(|chunk| ("chunk", chunk)));
    seeds.extend(records().into_iter().map(|record| ("record", record)));
    Ok(seeds)
}

/// Writes the files for a fuzz target to the directory that `RINGSIDE_FUZZ_SEEDS` names, if it names one.
pub fn write_seeds(target: &str) {
    let Some(dir) = std::env::var_os("RINGSIDE_FUZZ_SEEDS").map(PathBuf::from) else { return };
    let seeds = seeds().unwrap_or_default().into_iter().filter(|(of, _)| *of == target);
    for (number, (_, seed)) in seeds.enumerate() {
        if let Err(error) = std::fs::write(dir.join(format!("seed-{number}")), seed) {
            eprintln!("no seeds in {}: {error}", dir.display());
        }
    }
}

/// Lets a tenant live for some hours.
pub(super) fn files() -> Result<Files, Error> {
    let fs: Arc<dyn Fs> = Arc::new(FaultFs::default());
    let dir = Path::new("/tenant");
    let options = Options { fs: Arc::clone(&fs), exemplars_max: 100, ..Options::default() };
    let tsdb = Tsdb::open(dir, options)?;
    for minute in 0..=MINUTES {
        append(&tsdb, minute)?;
    }
    tsdb.map_chunks()?;
    let read = |path: PathBuf| fs.read(&path).map_err(Error::io("read", &path));
    let wal = read(dir.join(layout::WAL).join(layout::segment_name(0)))?;
    let wbl = read(dir.join(layout::WBL).join(layout::segment_name(0)))?;
    let head_chunks = read(dir.join(layout::CHUNKS_HEAD).join(layout::chunk_file_name(1)))?;
    let block = tsdb.cut_block()?.map(|meta| dir.join(meta.ulid.to_string())).unwrap_or_default();
    Ok(Files {
        wal,
        wbl,
        head_chunks,
        index: read(block.join("index"))?,
        chunks: read(block.join("chunks/000001"))?,
        tombstones: read(block.join("tombstones"))?,
        meta_json: read(block.join("meta.json"))?,
    })
}

/// One sample of each series, and now and then a late one.
fn append(tsdb: &Tsdb, minute: i64) -> Result<(), Error> {
    let mut appender = tsdb.appender()?;
    for i in 0..SERIES {
        let late = if minute % 10 == 7 && i % 3 == 0 { MINUTE / 2 + 5 * MINUTE } else { 0 };
        let t = minute * MINUTE - late;
        let (number, value) = (i.to_string(), (i * minute) as f64);
        let labels = label_bytes(&[("__name__", ["up", "down"][usize::from(i % 2 == 1)]), ("i", &number)]);
        let Ok(series) = appender.series(&labels) else { continue };
        let stored = match i % 4 {
            0 | 1 => appender.float(series, t, value),
            2 => appender.histogram(series, t, histogram(minute.cast_unsigned())),
            _ => appender.float_histogram(series, t, float_histogram(minute as f64)),
        };
        assert!(stored.is_ok(), "{stored:?}");
        appender.metadata(series, 1, b"seconds", number.as_bytes());
        if minute % 20 == i {
            let exemplar = appender.exemplar(series, t, value, &[(b"trace_id", number.as_bytes())]);
            assert!(exemplar.is_ok(), "{exemplar:?}");
        }
    }
    appender.commit().wait()
}

/// Labels as a sender encodes them.
fn label_bytes(labels: &[(&str, &str)]) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number, bytes.len() as u8], bytes].concat();
    let label = |(name, value): &(&str, &str)| {
        field(0x0a, &[field(0x0a, name.as_bytes()), field(0x12, value.as_bytes())].concat())
    };
    labels.iter().flat_map(label).collect()
}

/// It gains a bucket every half an hour; now and then its bounds are its own.
fn histogram(minute: u64) -> Histogram {
    let is_custom = minute % 90 > 80;
    let buckets = minute / 30 + 1;
    Histogram {
        schema: if is_custom { crate::histogram::CUSTOM_BUCKETS_SCHEMA } else { 3 },
        custom_values: if is_custom { (0..buckets).map(|bound| bound as f64).collect() } else { Vec::new() },
        count: buckets * minute,
        sum: minute as f64,
        positive_spans: vec![Span { offset: 0, length: buckets as u32 }],
        positive_buckets: (0..buckets).map(|i| if i == 0 { minute.cast_signed() } else { 0 }).collect(),
        ..Histogram::default()
    }
}

fn float_histogram(minute: f64) -> FloatHistogram {
    FloatHistogram {
        schema: 1,
        zero_threshold: 0.001,
        zero_count: 0.5,
        count: minute + 0.5,
        sum: minute,
        negative_spans: vec![Span { offset: -2, length: 1 }],
        negative_buckets: vec![minute],
        ..FloatHistogram::default()
    }
}

/// The chunks of a head chunk file, each with its encoding in front.
fn chunks(head_chunks: &[u8]) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let each = |_: u64, encoding: Encoding, data: &[u8]| {
        // Some of each encoding.
        if found.iter().filter(|chunk| chunk.first() == Some(&(encoding as u8))).count() < 3 {
            found.push([&[encoding as u8][..], data].concat());
        }
    };
    super::each_head_chunk(head_chunks, each);
    found
}

/// Histograms as remote write encodes them.
fn messages() -> Vec<Vec<u8>> {
    // Count, sum, schema, zero threshold and count, one span, two buckets, hint, time.
    let whole = [
        &[0x08, 7, 0x19][..],
        &1.5f64.to_le_bytes(),
        &[0x20, 6, 0x29],
        &0.001f64.to_le_bytes(),
        &[0x30, 1, 0x5a, 4, 0x08, 2, 0x10, 2, 0x62, 2, 4, 4, 0x70, 1, 0x78, 60],
    ];
    let custom =
        [&[0x08, 5, 0x20, 105, 0x5a, 2, 0x10, 2, 0x62, 2, 4, 2][..], &[0x82, 1, 8], &1f64.to_le_bytes()];
    let float = [
        &[0x11][..],
        &2.5f64.to_le_bytes(),
        &[0x39],
        &0.5f64.to_le_bytes(),
        &[0x42, 4, 0x08, 5, 0x10, 1, 0x52, 8],
        &2f64.to_le_bytes(),
    ];
    vec![whole.concat(), custom.concat(), float.concat()]
}

/// Bodies of remote write with all that a series can have, the version in front.
fn bodies() -> Vec<Vec<u8>> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let sample = [&[0x09][..], &1f64.to_le_bytes(), &[0x10, 100]].concat();
    let mut bodies = Vec::new();
    for histogram in messages() {
        let exemplar = [field(1, &[field(1, b"trace"), field(2, b"1")].concat()), sample.clone()].concat();
        let label = |name: &[u8], value: &[u8]| field(1, &[field(1, name), field(2, value)].concat());
        let labels = [label(b"__name__", b"up"), label(b"job", b"x")].concat();
        let series = [labels, field(2, &sample), field(3, &exemplar), field(4, &histogram)].concat();
        bodies.push([&[0][..], &field(1, &series), &field(1, &series)].concat());

        let symbols = ["", "__name__", "up", "job", "x"].map(|symbol| field(4, symbol.as_bytes()));
        let value = [&[0x11][..], &1f64.to_le_bytes(), &[0x18, 100]].concat();
        let exemplar = [field(1, &[3, 4]), value].concat();
        let series = [
            field(1, &[1, 2, 3, 4]),
            field(2, &sample),
            field(3, &histogram),
            field(4, &exemplar),
            field(5, &[0x08, 1, 0x18, 3, 0x20, 4]),
        ];
        let series = field(5, &series.concat());
        bodies.push([&[1][..], &symbols.concat(), &series, &series].concat());
    }
    bodies
}

/// Records of the kinds that no log of ours has; the segments have the others.
fn records() -> Vec<Vec<u8>> {
    // Kind, then references, with two times in varints and with a place in a chunk file.
    let (mut tombstones, mut markers) = (vec![3], vec![5]);
    for reference in 1..4u64 {
        tombstones.extend(reference.to_be_bytes());
        [-5, 5_000].into_iter().for_each(|t| put_varint(&mut tombstones, t));
        markers.extend(reference.to_be_bytes());
        markers.extend((reference << 32 | 8).to_be_bytes());
    }
    vec![tombstones, markers]
}
