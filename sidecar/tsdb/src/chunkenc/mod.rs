//! Encodings of a chunk's samples. Layout: `docs/format/chunks.md`.

mod bstream;
pub(crate) mod xor;

/// How a chunk's bytes are to be read; the values are Prometheus' on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Encoding {
    /// Float samples by the Gorilla XOR scheme.
    Xor = 1,
}
