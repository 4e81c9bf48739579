//! Decompression of write bodies into reused buffers.
//!
//! The size that a body declares is judged before anything is allocated for it: against the ceiling, and against
//! what so few compressed bytes can possibly become.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use ringside_proto::DECODED_BYTES_MAX;

use crate::error::WriteError;

/// Buffers kept for reuse, and the largest that is worth keeping.
const POOLED_BUFFERS_MAX: usize = 8;
const POOLED_BYTES_MAX: usize = 4 << 20;
/// The densest element of snappy is a copy of 64 bytes in 3.
const EXPANSION_MAX: u64 = 22;

/// Buffers that were used before.
#[derive(Debug, Clone, Default)]
pub(crate) struct BufferPool(Arc<Mutex<Vec<Vec<u8>>>>);

/// A decompressed body; its buffer goes back to the pool on drop.
#[derive(Debug)]
pub(crate) struct Decoded {
    buffer: Vec<u8>,
    len: usize,
    pool: BufferPool,
}

impl Deref for Decoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

impl Drop for Decoded {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.buffer));
    }
}

/// The decompressed size that `compressed` declares, where it is acceptable.
pub(crate) fn declared_bytes(compressed: &[u8]) -> Result<usize, WriteError> {
    if compressed.is_empty() {
        return Err(WriteError::Empty);
    }
    let declared = snap::raw::decompress_len(compressed);
    let declared = match declared {
        Ok(bytes) if bytes <= DECODED_BYTES_MAX => bytes,
        Ok(bytes) => return Err(too_large(bytes as u64)),
        Err(snap::Error::TooBig { given, .. }) => return Err(too_large(given)),
        Err(e) => return Err(WriteError::Snappy(e.to_string())),
    };
    if declared as u64 > compressed.len() as u64 * EXPANSION_MAX {
        let what = format!("{} bytes cannot decompress to the declared {declared}", compressed.len());
        return Err(WriteError::Snappy(what));
    }
    Ok(declared)
}

fn too_large(declared_bytes: u64) -> WriteError {
    WriteError::DecodedTooLarge { declared_bytes, limit_bytes: DECODED_BYTES_MAX }
}

impl BufferPool {
    /// Decompresses a snappy block. CPU work: a large block is not for the async runtime.
    pub(crate) fn decompress(&self, compressed: &[u8]) -> Result<Decoded, WriteError> {
        let len = declared_bytes(compressed)?;
        let mut buffer = self.take();
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let mut decoded = Decoded { buffer, len, pool: self.clone() };
        let written = snap::raw::Decoder::new()
            .decompress(compressed, decoded.buffer.get_mut(..len).unwrap_or_default())
            .map_err(|e| WriteError::Snappy(e.to_string()))?;
        decoded.len = written;
        Ok(decoded)
    }

    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, buffer: Vec<u8>) {
        let mut pooled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pooled.len() < POOLED_BUFFERS_MAX && (1..=POOLED_BYTES_MAX).contains(&buffer.capacity()) {
            pooled.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compress(bytes: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(bytes).unwrap()
    }

    #[test]
    fn buffers_are_reused_and_hold_only_this_body() {
        let pool = BufferPool::default();
        let long = pool.decompress(&compress(&[7; 5000])).unwrap();
        assert_eq!(&*long, &[7; 5000]);
        drop(long);
        let short = pool.decompress(&compress(b"abc")).unwrap();
        assert_eq!(&*short, b"abc");
        assert!(short.buffer.capacity() >= 5000);
        assert_eq!(&*pool.decompress(&compress(b"")).unwrap(), b"");
    }

    #[test]
    fn the_densest_body_is_within_the_bound() {
        let zeros = vec![0; 1 << 20];
        assert_eq!(declared_bytes(&compress(&zeros)).unwrap(), 1 << 20);
    }

    #[test]
    fn refuses_by_the_declared_size_before_allocating() {
        // 4 GiB - 1 and 34 MiB, as varints, with nothing behind.
        for huge in [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0x80, 0x80, 0x80, 0x11]] {
            let error = BufferPool::default().decompress(huge).unwrap_err();
            assert!(matches!(error, WriteError::DecodedTooLarge { .. }), "{error}");
        }
        // Over 4 GiB is no snappy block at all.
        let error = declared_bytes(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).unwrap_err();
        assert!(matches!(error, WriteError::DecodedTooLarge { .. } | WriteError::Snappy(_)), "{error}");
        // 1 MiB out of four bytes.
        let error = declared_bytes(&[0x80, 0x80, 0x40, 0x00]).unwrap_err();
        assert!(matches!(error, WriteError::Snappy(_)), "{error}");
        assert!(matches!(declared_bytes(&[]).unwrap_err(), WriteError::Empty));
        assert!(matches!(
            BufferPool::default().decompress(b"not snappy").unwrap_err(),
            WriteError::Snappy(_)
        ));
    }
}
