//! The write-ahead log: records framed into 32 KiB pages of numbered segment files, with checkpoints that replace
//! old segments. Layout and rules: `docs/format/wal.md`.
//!
//! Owns framing, compression, durability and truncation. What a record means is [`crate::record`]'s and
//! [`crate::head`]'s to say.

mod checkpoint;
mod page;
mod read_only;
mod reader;
mod records;
mod replay;
mod segment;
mod torn;
mod verify;
mod writer;

pub(crate) use checkpoint::{Keep, truncate};

pub(crate) use read_only::{Log, replay_read_only};
pub(crate) use replay::{Target, remove_segments_before, replay, replay_out_of_order};
pub(crate) use segment::write_segments;
#[cfg(any(test, feature = "judge"))]
pub(crate) use verify::count;
pub use verify::{WalSummary, verify_wal};
pub(crate) use writer::{NextSegments, Wal};
pub use writer::{Position, WalSync};

#[cfg(test)]
mod tests;
