//! What a tenant's storage holds: the head's series and every block's, sample by sample.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Tsdb;
use crate::chunkenc::{ChunkIter, Encoding};
use crate::encoding::Decoder;
use crate::fs::Fs;
use crate::layout;
use crate::sample::Value;

/// Bits of the value, or of a histogram's sum, by series and time.
pub(in crate::tsdb) type Contents = BTreeMap<(String, i64), u64>;

/// Everything, each sample exactly once, or at least with the same value if it may be there `twice`.
pub(in crate::tsdb) fn read(tsdb: &Tsdb, twice: bool, case: &str) -> Contents {
    let mut contents = Contents::new();
    let mut add = |labels: &str, samples: &mut dyn Iterator<Item = (i64, Value)>, whose: &str| {
        for (t, value) in samples {
            let before = contents.insert((labels.to_owned(), t), bits(&value));
            let is_fine = before.is_none_or(|before| twice && before == bits(&value));
            assert!(is_fine, "{labels} has its sample at {t} twice, at last in {whose}: {case}");
        }
    };
    let head = tsdb.head.lock().unwrap();
    let slots = head.slots().range(0, head.slots().len());
    for (slot, series) in slots.filter(|(_, series)| series.reference != 0) {
        let labels = display(head.labels(series));
        let before = series.before(i64::MAX);
        let mapped = before.mapped.iter().map(|chunk| tsdb.head_chunks.read(chunk.reference).unwrap());
        mapped.chain(before.chunks).for_each(|chunk| add(&labels, &mut chunk.samples(), "the head"));
        add(&labels, &mut before.out_of_order.into_iter(), "the head's samples out of order");
        add(&labels, &mut head.late_of(slot as u32).into_iter(), "the head's late samples");
    }
    let fs = tsdb.options.fs.as_ref();
    for (_, dir) in layout::block_dirs(fs, &tsdb.dir).unwrap() {
        block(fs, &dir, &mut |labels, data| {
            let (encoding, data) = data.split_first().unwrap();
            let samples = ChunkIter::new(Encoding::try_from(*encoding).unwrap(), data).map(Result::unwrap);
            add(labels, &mut { samples }, &dir.display().to_string());
        });
    }
    contents
}

/// What stands for a value in [`Contents`].
pub(super) fn bits(value: &Value) -> u64 {
    match value {
        Value::Float(v) => v.to_bits(),
        Value::Histogram(h) => h.sum.to_bits(),
        Value::FloatHistogram(h) => h.sum.to_bits(),
    }
}

/// The value of the first label, which tells the workload's series apart.
fn display<'a>(mut labels: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> String {
    labels.next().map_or_else(String::new, |(_, value)| String::from_utf8_lossy(value).into_owned())
}

fn block(fs: &dyn Fs, dir: &Path, add: &mut dyn FnMut(&str, &[u8])) {
    let index = fs.read(&dir.join("index")).unwrap();
    let offset = |at: usize| u64::from_be_bytes(index[at..at + 8].try_into().unwrap()) as usize;
    let toc = index.len() - 52;
    let (symbols_at, series_at, series_end) = (offset(toc), offset(toc + 8), offset(toc + 16));
    let mut decoder = Decoder::new(&index[symbols_at + 8..]);
    let count = u32::from_be_bytes(index[symbols_at + 4..symbols_at + 8].try_into().unwrap());
    let symbols: Vec<_> = (0..count).map(|_| decoder.string().unwrap()).collect();
    let mut at = series_at.next_multiple_of(16);
    while at < series_end {
        let mut decoder = Decoder::new(&index[at..]);
        let body = decoder.string().unwrap();
        let mut fields = Decoder::new(body);
        let mut next = || fields.uvarint().unwrap();
        let pairs = next();
        let labels: Vec<_> =
            (0..pairs).map(|_| (symbols[next() as usize], symbols[next() as usize])).collect();
        let chunks = fields.uvarint().unwrap();
        let mut reference = 0;
        for i in 0..chunks {
            // The first chunk's start and reference stand for themselves, the others' for a difference.
            fields.uvarint().unwrap();
            fields.uvarint().unwrap();
            reference += if i == 0 { fields.uvarint().unwrap() as i64 } else { fields.varint().unwrap() };
            let path = dir.join("chunks").join(format!("{:06}", (reference >> 32) + 1));
            let file = fs.read(&path).unwrap();
            let mut entry = Decoder::new(&file[(reference & 0xffff_ffff) as usize..]);
            let len = entry.uvarint().unwrap() as usize;
            add(&display(labels.iter().copied()), entry.take(len + 1).unwrap());
        }
        at = (at + uvarint_len(body.len()) + body.len() + 4).next_multiple_of(16);
    }
}

fn uvarint_len(v: usize) -> usize {
    let mut out = Vec::new();
    crate::encoding::put_uvarint(&mut out, v as u64);
    out.len()
}
