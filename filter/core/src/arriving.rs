//! The bodies that are arriving.
//!
//! Owns the bound on what the host holds of bodies that are not whole. What is whole leaves at once, and is counted on its
//! way to the sidecars (see `backlog`): so slow clients take nothing from quick ones.

use std::collections::BTreeMap;

use crate::events::RequestId;

/// How much has arrived, by request.
#[derive(Debug)]
pub(crate) struct Arriving {
    by_request: BTreeMap<RequestId, usize>,
    bytes: usize,
    bytes_max: usize,
}

impl Arriving {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { by_request: BTreeMap::new(), bytes: 0, bytes_max }
    }

    /// Takes note of how much of a body is there. False if that is too much, and the request is forgotten; one that is
    /// alone may have any size.
    pub(crate) fn note(&mut self, request: RequestId, bytes: usize) -> bool {
        self.end(request);
        let is_beyond = self.bytes > 0 && self.bytes.saturating_add(bytes) > self.bytes_max;
        if !is_beyond {
            self.by_request.insert(request, bytes);
            self.bytes += bytes;
        }
        !is_beyond
    }

    /// Forgets a request, if it is known: its body is whole, or is not awaited any more.
    pub(crate) fn end(&mut self, request: RequestId) {
        self.bytes -= self.by_request.remove(&request).unwrap_or(0);
    }

    /// What has arrived of all of them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_request.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{Arriving, RequestId};

    #[test]
    fn who_goes_beyond_is_sent_away_and_the_others_go_on() {
        let [a, b, c] = [1, 2, 3].map(RequestId);
        let mut arriving = Arriving::new(100);
        assert!(arriving.note(a, 10) && arriving.note(b, 50) && arriving.note(a, 50));
        assert_eq!(arriving.bytes(), 100);
        assert!(!arriving.note(b, 51));
        assert_eq!(arriving.bytes(), 50);
        assert!(arriving.note(a, 1000), "one that is alone may have any size");
        assert!(!arriving.note(c, 0));
        arriving.end(a);
        arriving.end(a);
        assert!(arriving.is_empty() && arriving.bytes() == 0);
    }
}
