//! What the filter's settings may be. `ringside hashring render` writes them and the filter reads them, so the bounds
//! stand here, once: what the one writes the other takes.
//!
//! It owns no parsing and no default that only the filter knows.

use std::ops::RangeInclusive;

use crate::DECODED_BYTES_MAX;

/// Bounds of the number of sidecars that hold each series.
pub const REPLICATION_FACTOR: RangeInclusive<u64> = 1..=16;

/// Bounds of the timeouts, in milliseconds. Zero would mean "never" to Envoy.
pub const TIMEOUT_MS: RangeInclusive<u64> = 10..=300_000;

/// Bounds of the sizes of a body, in bytes. The upper one is what a sidecar takes, and keeps the memory of one request
/// well below the GiB that Envoy gives a module.
pub const BODY_BYTES: RangeInclusive<u64> = 1 << 10..=DECODED_BYTES_MAX as u64;

/// Bounds of what may be under way from one worker, in bytes.
pub const IN_FLIGHT_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 30;

/// The limits that a tenant may have in the filter.
pub const LIMIT_NAMES: [&str; 8] = [
    "samples_per_second",
    "burst",
    "series_per_request",
    "labels_per_series",
    "label_name_bytes",
    "label_value_bytes",
    "body_bytes",
    "in_flight_bytes",
];

/// Bounds of a limit. The upper one is what the numbers of Envoy's metadata hold exactly.
pub const LIMIT_VALUES: RangeInclusive<u64> = 1..=1 << 53;

/// The longest name of the header that may name the tenant, in bytes.
pub const HEADER_NAME_BYTES_MAX: usize = 128;

/// How long a sidecar may take to answer where only the client's wait is set, in milliseconds: three times as long,
/// within the bounds. A write that is late for its client is still worth storing.
pub fn late_write_timeout_ms(write_timeout_ms: u64) -> u64 {
    write_timeout_ms.saturating_mul(3).min(*TIMEOUT_MS.end())
}

/// A token as HTTP defines it, so that a look-up by this name can succeed.
pub fn is_header_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.len() <= HEADER_NAME_BYTES_MAX && name.bytes().all(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_writes_stay_within_the_bounds() {
        assert_eq!(late_write_timeout_ms(5_000), 15_000);
        for write_timeout_ms in [*TIMEOUT_MS.start(), 100_000, 100_001, *TIMEOUT_MS.end(), u64::MAX] {
            assert!(TIMEOUT_MS.contains(&late_write_timeout_ms(write_timeout_ms)), "{write_timeout_ms}");
        }
    }

    #[test]
    fn header_names_are_tokens() {
        for name in ["THANOS-TENANT", "x", "X-Scope-OrgID", &"h".repeat(HEADER_NAME_BYTES_MAX)] {
            assert!(is_header_name(name), "{name}");
        }
        for name in ["", "a b", "a:b", ":path", "ü", "a\n", &"h".repeat(HEADER_NAME_BYTES_MAX + 1)] {
            assert!(!is_header_name(name), "{name}");
        }
    }
}
