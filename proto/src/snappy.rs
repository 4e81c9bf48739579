//! The size that a snappy block declares, judged before anything is allocated for it: against a ceiling, and against what
//! so few compressed bytes can possibly become.
//!
//! It owns neither buffers nor the decompression.

/// No element of snappy stands for more bytes than this per byte of itself: three bytes copy 64.
const EXPANSION_MAX: usize = 22;

/// Why a block cannot be decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnappyError {
    /// Not a byte.
    #[error("the body is empty: a remote write body is a snappy block")]
    Empty,
    /// Beyond the ceiling.
    #[error("the body declares {declared} decompressed bytes, more than {max}")]
    TooLarge {
        /// What it declares, in bytes.
        declared: usize,
        /// The ceiling, in bytes.
        max: usize,
    },
    /// Not snappy, or fewer bytes than it can take.
    #[error("the body is not a snappy block: {reason}")]
    NotSnappy {
        /// What is wrong with it.
        reason: String,
    },
}

impl From<snap::Error> for SnappyError {
    fn from(error: snap::Error) -> Self {
        Self::NotSnappy { reason: error.to_string() }
    }
}

/// The decompressed size in bytes that `compressed` declares.
///
/// # Errors
/// A size that is beyond `max`, or that these bytes cannot have.
pub fn declared_bytes(compressed: &[u8], max: usize) -> Result<usize, SnappyError> {
    if compressed.is_empty() {
        return Err(SnappyError::Empty);
    }
    let declared = snap::raw::decompress_len(compressed)?;
    if declared > max {
        return Err(SnappyError::TooLarge { declared, max });
    }
    if declared > compressed.len().saturating_mul(EXPANSION_MAX) {
        let reason = format!("{} bytes cannot decompress to the declared {declared}", compressed.len());
        return Err(SnappyError::NotSnappy { reason });
    }
    Ok(declared)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 32 << 20;

    #[test]
    fn the_densest_body_is_within_the_bound() {
        let zeros = snap::raw::Encoder::new().compress_vec(&vec![0; 1 << 20]).unwrap();
        assert_eq!(declared_bytes(&zeros, MAX), Ok(1 << 20));
        assert_eq!(
            declared_bytes(&zeros, 1 << 19),
            Err(SnappyError::TooLarge { declared: 1 << 20, max: 1 << 19 })
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(declared_bytes(&[], MAX), Err(SnappyError::Empty));
        // 4 GiB - 1 and 34 MiB, as varints, with nothing behind.
        for huge in [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0x80, 0x80, 0x80, 0x11]] {
            let error = declared_bytes(huge, MAX).unwrap_err();
            assert!(matches!(error, SnappyError::TooLarge { .. }), "{error}");
        }
        // No snappy block has more than 4 GiB; and 1 MiB out of four bytes.
        for none in [&[0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..], &[0x80, 0x80, 0x40, 0x00]] {
            let error = declared_bytes(none, MAX).unwrap_err();
            assert!(matches!(error, SnappyError::NotSnappy { .. }), "{error}");
        }
    }
}
