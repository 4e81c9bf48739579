//! `meta.json`: what a block holds and what it was made from. Keys and their order are Prometheus'.

use std::path::Path;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::error::Error;
use crate::fs::{Fs, RealFs};
use crate::layout;

/// The file's name in a block directory.
pub const META_FILE: &str = "meta.json";
/// The only version there is.
pub const META_VERSION: u32 = 1;
/// Hint of a block that holds samples out of order beside another block of the same range.
pub const HINT_OUT_OF_ORDER: &str = "from-out-of-order";

/// A block's description. Unknown keys are passed over, as Prometheus passes over them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Also the directory's name.
    pub ulid: Ulid,
    /// Oldest time that the block may hold, milliseconds, inclusive.
    pub min_time: i64,
    /// Newest time, milliseconds, exclusive.
    pub max_time: i64,
    /// Counts.
    #[serde(default)]
    pub stats: Stats,
    /// Where the block came from.
    pub compaction: Compaction,
    /// [`META_VERSION`].
    pub version: u32,
    /// What Ringside alone reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ringside: Option<Remarks>,
}

impl Meta {
    /// A level 1 block for times in `[mint, maxt)`, without counts yet.
    pub(crate) fn new(ulid: Ulid, (mint, maxt): (i64, i64)) -> Self {
        Self {
            ulid,
            min_time: mint,
            max_time: maxt,
            stats: Stats::default(),
            compaction: Compaction { level: 1, sources: vec![ulid], hints: Vec::new() },
            version: META_VERSION,
            ringside: None,
        }
    }

    /// True unless the block holds late samples beside blocks that have their range.
    pub fn is_in_order(&self) -> bool {
        const HINTS: [&str; 3] = [HINT_OUT_OF_ORDER, "from-stale-series", "from-selected-series"];
        !self.compaction.hints.iter().any(|hint| HINTS.contains(&hint.as_str()))
    }

    /// The first segment of the write-behind log with samples that this block has not got.
    pub(crate) fn wbl_first(&self) -> Option<u64> {
        self.ringside.as_ref().map(|remarks| remarks.wbl_first)
    }
}

/// Remarks of a block for the storage that cut it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remarks {
    /// The first segment of the write-behind log that is needed beside the block; older ones are in it.
    pub wbl_first: u64,
}

/// Counts of a block; zeros are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stats {
    /// Samples of every kind.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_samples: u64,
    /// Float samples among them.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    /// Native histograms among them.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    /// Series.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_series: u64,
    /// Chunks.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_chunks: u64,
    /// Deleted intervals.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
}

/// A block's ancestry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Compaction {
    /// 1 for a block cut from the head.
    pub level: u32,
    /// The level 1 blocks that it holds; itself for a block cut from the head.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Ulid>,
    /// Remarks such as `from-out-of-order`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(v: &u64) -> bool {
    *v == 0
}

impl Meta {
    /// Reads a block directory's meta.json, and checks that it describes that directory.
    pub fn read(block_dir: &Path) -> Result<Self, Error> {
        Self::read_from(&RealFs, block_dir)
    }

    /// [`Meta::read`] from any file system.
    pub(crate) fn read_from(fs: &dyn Fs, block_dir: &Path) -> Result<Self, Error> {
        let path = block_dir.join(META_FILE);
        let bytes = fs.read(&path).map_err(Error::io("read", &path))?;
        let meta: Self = serde_json::from_slice(&bytes).map_err(|e| Error::corrupt(&path, 0, e))?;
        if meta.version != META_VERSION {
            return Err(Error::corrupt(&path, 0, format!("version {} is unknown", meta.version)));
        }
        if block_dir.file_name().and_then(|name| name.to_str()) != Some(meta.ulid.to_string().as_str()) {
            return Err(Error::corrupt(&path, 0, format!("it describes block {}", meta.ulid)));
        }
        Ok(meta)
    }
}

/// The complete blocks of a tenant, oldest first, and the directories that could not be read.
pub fn read_all(fs: &dyn Fs, dir: &Path) -> Result<(Vec<Meta>, Vec<Error>), Error> {
    let mut metas = Vec::new();
    let mut bad = Vec::new();
    for (_, path) in layout::block_dirs(fs, dir).map_err(Error::io("list", dir))? {
        match Meta::read_from(fs, &path) {
            Ok(meta) => metas.push(meta),
            // An error that may pass is no reason to go on without the block: what it holds would be stored again.
            Err(e @ Error::Io { .. }) if !e.is_not_found() => return Err(e),
            Err(e) => bad.push(e),
        }
    }
    metas.sort_by_key(|meta| (meta.min_time, meta.max_time, meta.ulid));
    Ok((metas, bad))
}

/// Prometheus' form of JSON: indented by tabs.
pub fn to_json<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_as_prometheus_writes_it() {
        let ulid = Ulid::from_string("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
        let meta = Meta {
            ulid,
            min_time: 0,
            max_time: 7_200_000,
            stats: Stats {
                num_samples: 1,
                num_float_samples: 1,
                num_series: 1,
                num_chunks: 1,
                ..Stats::default()
            },
            compaction: Compaction { level: 1, sources: vec![ulid], hints: Vec::new() },
            version: META_VERSION,
            ringside: None,
        };
        let json = String::from_utf8(to_json(&meta).unwrap()).unwrap();
        let expected = "{\n\t\"ulid\": \"01ARZ3NDEKTSV4RRFFQ69G5FAV\",\n\t\"minTime\": 0,\n\t\"maxTime\": 7200000,\n\t\
            \"stats\": {\n\t\t\"numSamples\": 1,\n\t\t\"numFloatSamples\": 1,\n\t\t\"numSeries\": 1,\n\t\t\"numChunks\": 1\n\t},\n\t\
            \"compaction\": {\n\t\t\"level\": 1,\n\t\t\"sources\": [\n\t\t\t\"01ARZ3NDEKTSV4RRFFQ69G5FAV\"\n\t\t]\n\t},\n\t\"version\": 1\n}";
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Meta>(&json).unwrap(), meta);
    }
}
