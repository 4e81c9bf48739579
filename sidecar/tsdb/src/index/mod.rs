//! The index of a block, version 2: symbols, series, postings. Layout: `docs/format/index.md`.

mod postings;
mod reader;
mod symbols;
mod toc;
mod verify;
mod writer;

pub use postings::Postings;
pub use reader::{IndexReader, LabelValue, LabelValues, SeriesEntry};
pub use symbols::Symbol;
pub(crate) use symbols::SymbolCache;
pub(crate) use verify::{Faults, verify};
pub use writer::ChunkMeta;
pub(crate) use writer::IndexWriter;
use writer::SERIES_ALIGN;
