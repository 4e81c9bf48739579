//! Decompression of write bodies into reused buffers.
//!
//! The size that a body declares is judged before anything is allocated for it.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use ringside_proto::DECODED_BYTES_MAX;
use ringside_proto::snappy::{SnappyError, declared_bytes};

/// Buffers kept for reuse, and the largest that is worth keeping.
const POOLED_BUFFERS_MAX: usize = 8;
const POOLED_BYTES_MAX: usize = 4 << 20;

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

impl BufferPool {
    /// Decompresses a snappy block. CPU work: a large block is not for the async runtime.
    pub(crate) fn decompress(&self, compressed: &[u8]) -> Result<Decoded, SnappyError> {
        let len = declared_bytes(compressed, DECODED_BYTES_MAX)?;
        let mut buffer = self.take();
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let mut decoded = Decoded { buffer, len, pool: self.clone() };
        let written = snap::raw::Decoder::new()
            .decompress(compressed, decoded.buffer.get_mut(..len).unwrap_or_default())
            .map_err(SnappyError::from)?;
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
    fn what_declares_too_much_or_is_no_block_is_refused() {
        let refused = |body: &[u8]| BufferPool::default().decompress(body).unwrap_err();
        assert!(matches!(refused(&[0x80, 0x80, 0x80, 0x11]), SnappyError::TooLarge { .. }));
        assert!(matches!(refused(b"not snappy"), SnappyError::NotSnappy { .. }));
    }
}
