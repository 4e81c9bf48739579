//! A header map of the host's, read whole by one call: a call costs more than the few headers that there are.
//!
//! Owns the memory that the host hands over; its form is `ringside_filter_core::pairs`'s. The SDK's own way to read a map
//! traps on a name that is not UTF-8.

use std::ptr::null_mut;

use proxy_wasm::types::MapType;
use ringside_filter_core::pairs;

#[link(wasm_import_module = "env")]
#[expect(unsafe_code, reason = "the SDK offers this call only with its own way to read the map")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: MapType, data: *mut *mut u8, size: *mut usize) -> u32;
}

/// The headers of a request or an answer, as raw bytes: a peer may send any.
pub(crate) struct HeaderMap(Vec<u8>);

impl HeaderMap {
    /// Reads a map; an empty one where the host has none.
    pub(crate) fn read(map: MapType) -> Self {
        let (mut data, mut size) = (null_mut(), 0);
        // SAFETY: both pointers are to locals of the types that the call writes.
        #[expect(unsafe_code, reason = "a host call")]
        let status = unsafe { proxy_get_header_map_pairs(map, &mut data, &mut size) };
        if status != 0 || data.is_null() {
            return Self(Vec::new());
        }
        // SAFETY: the host had the SDK allocate `size` bytes as a vector of that capacity, which nobody else has, and has
        // filled it.
        #[expect(unsafe_code, reason = "takes over memory from the host")]
        Self(unsafe { Vec::from_raw_parts(data, size, size) })
    }

    /// The first header of a name in lower case.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        pairs::find(&self.0, name).ok().flatten()
    }
}
