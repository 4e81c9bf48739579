//! A real block for tests of what reads blocks, cut from a head as in service.

use std::path::{Path, PathBuf};

use crate::{Options, Tsdb};

/// Two hours, the range of a block.
pub(crate) const RANGE: i64 = 7_200_000;

/// Labels as a sender encodes them.
pub(crate) fn label_bytes(labels: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in labels {
        let field = |number: u8, text: &str| [&[number, text.len() as u8], text.as_bytes()].concat();
        let label = [field(0x0a, name), field(0x12, value)].concat();
        bytes.extend([0x0a, label.len() as u8]);
        bytes.extend(label);
    }
    bytes
}

/// Cuts a block of `series` series with a sample a minute in tenant directory `dir`. Series `i` has the labels
/// `__name__` (one of two), `i`, and, where `i` is even, `job`; its values are `i` times the minute.
pub(crate) fn cut_block(dir: &Path, series: usize) -> PathBuf {
    let tsdb = Tsdb::open(dir, Options::default()).unwrap();
    for minute in 0..=RANGE / 60_000 * 2 {
        let mut appender = tsdb.appender().unwrap();
        for i in 0..series {
            let (name, value) = (["up", "down"][i % 2], i.to_string());
            let labels = [("__name__", name), ("i", &value), ("job", "x")];
            let labels = label_bytes(if i % 2 == 0 { &labels } else { &labels[..2] });
            let id = appender.series(&labels).unwrap();
            appender.float(id, minute * 60_000, (i as i64 * minute) as f64).unwrap();
        }
        appender.commit().wait().unwrap();
    }
    let meta = tsdb.cut_block().unwrap().unwrap();
    tsdb.close().unwrap();
    dir.join(meta.ulid.to_string())
}
