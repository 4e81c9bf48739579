//! What the workers of one Envoy share, by host calls.
//!
//! Owns no key and no value: the core says what is kept (`ringside_filter_core::rate`).

use proxy_wasm::hostcalls;
use ringside_filter_core::SharedData;

/// The host's own shared data.
pub(crate) struct HostData;

impl SharedData for HostData {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        let (value, version) = hostcalls::get_shared_data(key).ok()?;
        Some((value?, version?))
    }

    fn set(&self, key: &str, value: &[u8], version: Option<u32>) -> bool {
        hostcalls::set_shared_data(key, Some(value), version).is_ok()
    }
}
