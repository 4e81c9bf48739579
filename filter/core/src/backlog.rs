//! How much is under way to each sidecar.
//!
//! Owns the bound on the memory that the host holds for a sidecar that does not answer: beyond it, nothing more is
//! sent there until some of it has ended. A sidecar that answers never comes near.

use std::collections::BTreeMap;
use std::rc::Rc;

/// The most bytes under way to one sidecar from one worker. A single larger part is let through.
pub const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// Bytes under way, by the address of the sidecar.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    by_sidecar: BTreeMap<Rc<str>, usize>,
    total: usize,
}

impl Backlog {
    /// Takes a part in, unless the sidecar has enough under way.
    pub(crate) fn admit(&mut self, address: &Rc<str>, bytes: usize) -> bool {
        let under_way = self.by_sidecar.entry(Rc::clone(address)).or_default();
        if *under_way > 0 && *under_way + bytes > BACKLOG_BYTES_MAX {
            return false;
        }
        *under_way += bytes;
        self.total += bytes;
        true
    }

    /// Lets a part go that was taken in.
    pub(crate) fn release(&mut self, address: &Rc<str>, bytes: usize) {
        if let Some(under_way) = self.by_sidecar.get_mut(address) {
            *under_way = under_way.saturating_sub(bytes);
            self.total = self.total.saturating_sub(bytes);
            if *under_way == 0 {
                self.by_sidecar.remove(address);
            }
        }
    }

    /// What is under way to all sidecars.
    pub(crate) fn bytes(&self) -> usize {
        self.total
    }

    /// Whether nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_sidecar.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{BACKLOG_BYTES_MAX, Backlog};

    #[test]
    fn each_sidecar_has_its_bound() {
        let (a, b) = ("a".into(), "b".into());
        let mut backlog = Backlog::default();
        assert!(backlog.admit(&a, BACKLOG_BYTES_MAX));
        assert!(!backlog.admit(&a, 1));
        assert!(backlog.admit(&b, 1));
        assert_eq!(backlog.bytes(), BACKLOG_BYTES_MAX + 1);
        backlog.release(&a, BACKLOG_BYTES_MAX);
        assert!(backlog.admit(&a, 2 * BACKLOG_BYTES_MAX), "one part is always let through");
        backlog.release(&a, 2 * BACKLOG_BYTES_MAX);
        backlog.release(&b, 1);
        assert!(backlog.is_empty() && backlog.bytes() == 0, "nothing is kept of an idle sidecar");
    }
}
