//! Encodings of a chunk's samples. Layout: `docs/format/chunks.md`.

mod bstream;
pub(crate) mod xor;

/// How a chunk's bytes are to be read; the values are Prometheus' on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// Float samples by the Gorilla XOR scheme.
    Xor = 1,
}

impl Encoding {
    /// The encoding that a chunk file's byte stands for.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Xor),
            _ => None,
        }
    }
}
