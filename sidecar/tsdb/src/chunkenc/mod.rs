//! Encodings of a chunk's samples. Layout: `docs/format/chunks.md`.

mod bstream;
pub(crate) mod histogram;
mod iter;
mod varbit;
pub(crate) mod xor;
mod xor_value;

pub(crate) use iter::ChunkIter;

/// How a chunk's bytes are to be read; the values are Prometheus' on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// Float samples by the Gorilla XOR scheme.
    #[default]
    Xor = 1,
    /// Native histograms with integer counts.
    Histogram = 2,
    /// Native histograms with float counts.
    FloatHistogram = 3,
}

/// No encoding that this version reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown chunk encoding {0}")]
pub struct UnknownEncoding(pub u8);

impl TryFrom<u8> for Encoding {
    type Error = UnknownEncoding;

    fn try_from(id: u8) -> Result<Self, UnknownEncoding> {
        match id {
            1 => Ok(Self::Xor),
            2 => Ok(Self::Histogram),
            3 => Ok(Self::FloatHistogram),
            other => Err(UnknownEncoding(other)),
        }
    }
}

/// Why a chunk's bytes are not samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{encoding:?} chunk is broken in sample {sample} of {count}")]
pub(crate) struct ChunkError {
    /// What the bytes were read as.
    pub(crate) encoding: Encoding,
    /// Position of the sample that could not be read.
    pub(crate) sample: u16,
    /// How many the chunk claims.
    pub(crate) count: u16,
}
