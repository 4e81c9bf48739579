//! Blocks on disk: an immutable directory of chunks, index, tombstones and meta.json.
//! Layout: `docs/format/block.md`.

mod chunk_reader;
mod chunks;
mod meta;
mod reader;
#[cfg(test)]
pub(crate) mod testing;
mod tombstones;
mod verify;
mod writer;

pub use chunk_reader::{ChunkReader, EncodedChunk};
pub use meta::{
    Compaction, HINT_OUT_OF_ORDER, META_FILE, META_VERSION, Meta, Remarks, Stats, read_all, to_json,
};
pub use reader::{Block, Series, SeriesIter};
pub use tombstones::{Interval, Tombstones};
pub use verify::verify;
pub(crate) use writer::BlockWriter;
