//! The index of a block, version 2: symbols, series, postings. Layout: `docs/format/index.md`.

mod writer;

pub(crate) use writer::{ChunkMeta, IndexWriter};
