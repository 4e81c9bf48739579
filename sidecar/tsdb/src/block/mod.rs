//! Blocks on disk: an immutable directory of chunks, index, tombstones and meta.json.
//! Layout: `docs/format/block.md`.

mod chunks;
mod meta;
mod writer;

pub(crate) use meta::read_all;
pub use meta::{Compaction, META_FILE, META_VERSION, Meta, Stats, to_json};
pub(crate) use writer::BlockWriter;
