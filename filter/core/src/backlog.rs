//! How much is under way to each sidecar.
//!
//! Owns the bounds on the memory that the host holds for sidecars that do not answer. To each sidecar no more is sent
//! than its own bound until some of that has ended. Late writes have a bound of their own, for all sidecars together:
//! when they reach it, those that owe an even share or more get nothing further. A sidecar that answers never
//! comes near either.

use std::collections::BTreeMap;
use std::rc::Rc;

/// The least that the bound of one sidecar is, in bytes under way from one worker. A single larger part is let through.
pub const BACKLOG_BYTES_MIN: usize = 64 << 20;

/// Bytes under way, by the address of the sidecar.
#[derive(Debug)]
pub(crate) struct Backlog {
    by_sidecar: BTreeMap<Rc<str>, UnderWay>,
    total: UnderWay,
    sidecar_bytes_max: usize,
    late_bytes_max: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct UnderWay {
    bytes: usize,
    /// Those of writes that have their verdict.
    late: usize,
}

impl Backlog {
    /// `sidecar_bytes` is a sidecar's share of all that may be under way, and its bound where that is not too little;
    /// `late_bytes_max` bounds what is under way of writes that have their verdict.
    pub(crate) fn new(sidecar_bytes: usize, late_bytes_max: usize) -> Self {
        let sidecar_bytes_max = sidecar_bytes.max(BACKLOG_BYTES_MIN);
        Self { by_sidecar: BTreeMap::new(), total: UnderWay::default(), sidecar_bytes_max, late_bytes_max }
    }

    /// Takes a part in, unless the sidecar has enough under way.
    pub(crate) fn admit(&mut self, address: &Rc<str>, bytes: usize) -> bool {
        let known = self.by_sidecar.get(address).copied().unwrap_or_default();
        let is_full = known.bytes > 0 && known.bytes + bytes > self.sidecar_bytes_max;
        let owes_its_share =
            known.late > 0 && known.late.saturating_mul(self.by_sidecar.len()) >= self.total.late;
        if is_full || owes_its_share && self.total.late + bytes > self.late_bytes_max {
            return false;
        }
        self.by_sidecar.entry(Rc::clone(address)).or_default().bytes += bytes;
        self.total.bytes += bytes;
        true
    }

    /// A part that was taken in has become late.
    pub(crate) fn owe(&mut self, address: &Rc<str>, bytes: usize) {
        if let Some(under_way) = self.by_sidecar.get_mut(address) {
            under_way.late += bytes;
            self.total.late += bytes;
        }
    }

    /// Lets a part go that was taken in.
    pub(crate) fn release(&mut self, address: &Rc<str>, bytes: usize, is_late: bool) {
        let late = if is_late { bytes } else { 0 };
        if let Some(under_way) = self.by_sidecar.get_mut(address) {
            for count in [under_way, &mut self.total] {
                count.bytes = count.bytes.saturating_sub(bytes);
                count.late = count.late.saturating_sub(late);
            }
            if self.by_sidecar.get(address).is_some_and(|under_way| under_way.bytes == 0) {
                self.by_sidecar.remove(address);
            }
        }
    }

    /// What is under way to all sidecars.
    pub(crate) fn bytes(&self) -> usize {
        self.total.bytes
    }

    /// What is under way of writes that have their verdict.
    pub(crate) fn late_bytes(&self) -> usize {
        self.total.late
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

    use super::{BACKLOG_BYTES_MIN, Backlog};

    #[test]
    fn each_sidecar_has_its_bound() {
        let (a, b) = ("a".into(), "b".into());
        let mut backlog = Backlog::new(0, usize::MAX);
        assert!(backlog.admit(&a, BACKLOG_BYTES_MIN));
        assert!(!backlog.admit(&a, 1));
        assert!(backlog.admit(&b, 1));
        assert_eq!(backlog.bytes(), BACKLOG_BYTES_MIN + 1);
        backlog.release(&a, BACKLOG_BYTES_MIN, false);
        assert!(backlog.admit(&a, 2 * BACKLOG_BYTES_MIN), "one part is always let through");
        backlog.release(&a, 2 * BACKLOG_BYTES_MIN, false);
        backlog.release(&b, 1, false);
        assert!(backlog.is_empty() && backlog.bytes() == 0, "nothing is kept of an idle sidecar");
    }

    #[test]
    fn who_owes_most_waits_first() {
        let (slow, dead, good) = ("slow".into(), "dead".into(), "good".into());
        let mut backlog = Backlog::new(0, 100);
        for (sidecar, bytes) in [(&slow, 10), (&dead, 90), (&good, 5)] {
            assert!(backlog.admit(sidecar, bytes));
        }
        backlog.owe(&slow, 10);
        backlog.owe(&dead, 90);
        assert_eq!(backlog.late_bytes(), 100);
        assert!(!backlog.admit(&dead, 1));
        assert!(backlog.admit(&slow, 1), "less than an even share");
        assert!(backlog.admit(&good, 1000), "what is not late does not count");
        backlog.release(&dead, 90, true);
        assert_eq!(backlog.late_bytes(), 10);
        assert!(backlog.admit(&dead, 1));
    }

    #[test]
    fn who_owes_alone_waits_too() {
        let dead = "dead".into();
        let mut backlog = Backlog::new(0, 100);
        assert!(backlog.admit(&dead, 100));
        backlog.owe(&dead, 100);
        assert!(!backlog.admit(&dead, 1));
        backlog.release(&dead, 100, true);
        assert!(backlog.is_empty() && backlog.late_bytes() == 0);
    }
}
