//! Reads a request body within its limits, and no byte further.

use std::time::Duration;

use axum::body::{Body, Bytes};
use bytes::BytesMut;
use futures::StreamExt;

use crate::error::WriteError;
use crate::limits::Reservation;

/// For a whole body; a sender that is slower holds memory for nothing.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads `body` whole, up to `bytes_max`, accounting every byte in `reservation` before it is kept.
/// `declared` is its Content-Length, where there is one.
pub(super) async fn read(
    body: Body,
    declared: Option<u64>,
    bytes_max: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, WriteError> {
    if let Some(bytes) = declared.filter(|&bytes| bytes > bytes_max as u64) {
        return Err(WriteError::BodyTooLarge { bytes, limit_bytes: bytes_max });
    }
    match tokio::time::timeout(BODY_TIMEOUT, collect(body, bytes_max, reservation)).await {
        Ok(bytes) => bytes,
        Err(_) => Err(WriteError::BodyTimeout { seconds: BODY_TIMEOUT.as_secs() }),
    }
}

async fn collect(body: Body, bytes_max: usize, reservation: &mut Reservation) -> Result<Bytes, WriteError> {
    let mut stream = body.into_data_stream();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|e| WriteError::Body(e.to_string()))?;
        let bytes = first.len() + rest.len() + chunk.len();
        if bytes > bytes_max {
            return Err(WriteError::BodyTooLarge { bytes: bytes as u64, limit_bytes: bytes_max });
        }
        if !reservation.grow(chunk.len()) {
            return Err(WriteError::Overloaded);
        }
        if first.is_empty() && rest.is_empty() {
            first = chunk;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&chunk);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}
