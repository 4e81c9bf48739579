//! How many bytes requests have of something that is bounded, and on whose account.
//!
//! Owns the sums. What counts, from when to when, and what becomes of a request that goes beyond is its user's.

use std::collections::BTreeMap;

use crate::events::RequestId;

/// The bytes of requests, by holder of the account: `()` where all share one.
#[derive(Debug)]
pub(crate) struct Account<Holder> {
    by_request: BTreeMap<RequestId, (Holder, usize)>,
    by_holder: BTreeMap<Holder, usize>,
}

impl<Holder> Default for Account<Holder> {
    fn default() -> Self {
        Self { by_request: BTreeMap::new(), by_holder: BTreeMap::new() }
    }
}

impl<Holder: Clone + Ord> Account<Holder> {
    /// Takes note of how much a request has by now. False if its holder then has more than `bytes_max`, and the request is
    /// forgotten; one that is alone may have any size.
    pub(crate) fn note(
        &mut self,
        request: RequestId,
        holder: &Holder,
        bytes: usize,
        bytes_max: usize,
    ) -> bool {
        self.end(request);
        let others = self.bytes(holder);
        let all = others.saturating_add(bytes);
        let is_within = others == 0 || all <= bytes_max;
        if is_within {
            self.by_request.insert(request, (holder.clone(), bytes));
            self.by_holder.insert(holder.clone(), all);
        }
        is_within
    }

    /// Forgets a request, if it is known.
    pub(crate) fn end(&mut self, request: RequestId) {
        let Some((holder, bytes)) = self.by_request.remove(&request) else { return };
        if let Some(all) = self.by_holder.get_mut(&holder) {
            *all -= bytes;
            if *all == 0 {
                self.by_holder.remove(&holder);
            }
        }
    }

    /// What a holder's requests have together.
    pub(crate) fn bytes(&self, holder: &Holder) -> usize {
        self.by_holder.get(holder).copied().unwrap_or(0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_request.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{Account, RequestId};

    #[test]
    fn each_holder_has_its_own() {
        let [a, b, c] = [1, 2, 3].map(RequestId);
        let mut account = Account::default();
        assert!(account.note(a, &"busy", 500, 100), "one that is alone may have any size");
        assert!(!account.note(b, &"busy", 1, 100));
        assert!(account.note(c, &"quiet", 100, 100), "another's");
        assert!(account.note(a, &"busy", 99, 100) && account.note(b, &"busy", 1, 100));
        assert!(!account.note(b, &"busy", 2, 100), "it grew, and is forgotten");
        assert_eq!((account.bytes(&"busy"), account.bytes(&"quiet"), account.bytes(&"nobody")), (99, 100, 0));
        for request in [a, b, c, c] {
            account.end(request);
        }
        assert!(account.is_empty() && account.by_holder.is_empty());
    }

    #[test]
    fn nothing_takes_nothing() {
        let mut account = Account::default();
        assert!(account.note(RequestId(1), &(), 0, 1) && account.note(RequestId(2), &(), 5, 1));
        account.end(RequestId(1));
        assert_eq!(account.bytes(&()), 5);
        account.end(RequestId(2));
        assert!(account.is_empty() && account.by_holder.is_empty());
    }
}
