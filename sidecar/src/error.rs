//! Errors of the sidecar, and the one place that says which HTTP status each kind of refusal becomes.
//!
//! [`Error`] ends the process at start. [`WriteError`] answers a whole write request; refusals of single series
//! are [`Reason`]s, whose statuses and ranks are here too.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::http::StatusCode;
use ringside_proto::WireError;
use ringside_proto::protocol::ContentTypeError;
use ringside_proto::remote_write_v2::RequestError;
use ringside_proto::ringside::Reason;
use ringside_proto::snappy::SnappyError;
use ringside_proto::tenant::TenantError;

use crate::limits::RequestLimit;
use crate::tenant_id::TenantId;

/// Why the sidecar does not start, or ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    #[error("{flag} {address:?}: {source}")]
    Listen { flag: &'static str, address: String, source: io::Error },
    #[error("--tsdb.path: {action} {}: {source}", path.display())]
    DataDir { action: &'static str, path: PathBuf, source: io::Error },
    #[error("--tsdb.path: {} is held by another process", path.display())]
    Locked { path: PathBuf },
    #[error("--objstore.config: {0}")]
    Bucket(#[from] crate::bucket::BucketConfigError),
    #[error("--receive.memory-max: resident memory cannot be read: {0}")]
    Memory(#[source] io::Error),
    #[error("signal handler: {0}")]
    Signal(#[source] io::Error),
    #[error("a part of the process broke off; the log tells which")]
    Broken,
}

/// Why a whole write request is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum WriteError {
    #[error("remote write takes POST only")]
    Method,
    #[error(transparent)]
    ContentType(#[from] ContentTypeError),
    #[error("content encoding {given:?} is not supported; send snappy")]
    ContentEncoding { given: String },
    #[error("tenant header {header}: {source}")]
    Tenant { header: String, source: TenantError },
    #[error("tenant header {header}: {reason}")]
    TenantHeader { header: String, reason: &'static str },
    #[error("the compressed body is larger than {limit_bytes} bytes: it has {bytes} or more")]
    BodyTooLarge { bytes: u64, limit_bytes: usize },
    #[error("tenant {tenant} is limited: the request has {got} {limit}, more than {max}")]
    RequestLimit { tenant: TenantId, limit: RequestLimit, got: u64, max: u64 },
    #[error("the body ended early: {0}")]
    Body(String),
    #[error("the body did not arrive within {seconds} s")]
    BodyTimeout { seconds: u64 },
    #[error(transparent)]
    Snappy(#[from] SnappyError),
    #[error("the body is not a remote write request of the version that its content type says: {0}")]
    Protobuf(#[from] WireError),
    #[error("the body is not a remote write 2.0 request: {0}")]
    Request(#[from] RequestError),
    #[error("too many bytes in flight; try again")]
    Overloaded,
    #[error(
        "the disk is nearly full: {free_bytes} bytes are free, {min_bytes} must be; writes are refused until there is room"
    )]
    ReadOnly { free_bytes: u64, min_bytes: u64 },
    #[error("memory is at its ceiling of {max_bytes} bytes; try again")]
    MemoryFull { max_bytes: u64 },
    #[error("tenant {tenant} is replaying its write-ahead log")]
    Replaying { tenant: TenantId },
    #[error("tenant {tenant} could not be opened and is retried: {reason}")]
    OpenFailed { tenant: TenantId, reason: Arc<str> },
    #[error("the sidecar is shutting down")]
    Closing,
    #[error("storage: {0}")]
    Storage(#[from] ringside_tsdb::Error),
    #[error("the write was lost to an internal error and was not acknowledged")]
    Internal,
}

impl WriteError {
    /// 400 malformed, 405/413/415 as HTTP names them, 503 where a retry can help, 500 for a fault of ours.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentType(_) | Self::ContentEncoding { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge { .. }
            | Self::Snappy(SnappyError::TooLarge { .. })
            | Self::RequestLimit { .. }
            | Self::Request(RequestError::Expanded) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Tenant { .. }
            | Self::TenantHeader { .. }
            | Self::Body(_)
            | Self::Snappy(_)
            | Self::Protobuf(_)
            | Self::Request(_) => StatusCode::BAD_REQUEST,
            Self::BodyTimeout { .. }
            | Self::Overloaded
            | Self::ReadOnly { .. }
            | Self::MemoryFull { .. }
            | Self::Replaying { .. }
            | Self::OpenFailed { .. }
            | Self::Closing
            | Self::Storage(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Seconds after which a retry is worth it, for answers that say so.
    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::Overloaded => Some(1),
            Self::MemoryFull { .. } => Some(5),
            Self::ReadOnly { .. } => Some(30),
            _ => None,
        }
    }
}

/// The status that a refused series asks for.
pub(crate) fn status_of(reason: Reason) -> StatusCode {
    match reason {
        Reason::Invalid => StatusCode::BAD_REQUEST,
        Reason::OutOfOrder | Reason::DuplicateTimestamp | Reason::OutOfBounds | Reason::TooOld => {
            StatusCode::CONFLICT
        }
        Reason::Limit => StatusCode::TOO_MANY_REQUESTS,
        Reason::Unspecified | Reason::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Rank of a reason: the worst one decides the status of the whole answer (503 > 429 > 400 > 409).
pub(crate) fn severity(reason: Reason) -> u8 {
    match status_of(reason) {
        StatusCode::SERVICE_UNAVAILABLE => 3,
        StatusCode::TOO_MANY_REQUESTS => 2,
        StatusCode::BAD_REQUEST => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_reason_is_the_one_a_retry_may_cure() {
        let mut reasons = [Reason::OutOfOrder, Reason::Unavailable, Reason::Invalid, Reason::Limit];
        reasons.sort_by_key(|r| std::cmp::Reverse(severity(*r)));
        let statuses = reasons.map(|r| status_of(r).as_u16());
        assert_eq!(statuses, [503, 429, 400, 409]);
    }
}
