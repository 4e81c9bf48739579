//! What a tenant has in flight: the bodies of its requests that have no verdict yet, as they came, whole or not.
//!
//! Owns the accounts of those tenants that have a limit. What a slow sidecar keeps of a write that has its verdict is no
//! tenant's fault, and `backlog` bounds it.

use std::collections::BTreeMap;

use crate::events::RequestId;
use crate::tenant::TenantId;

/// Bytes in flight in one worker.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    by_request: BTreeMap<RequestId, (TenantId, usize)>,
    by_tenant: BTreeMap<TenantId, usize>,
}

impl InFlight {
    /// Takes note of how much of a body is there. False if its tenant then has more than `bytes_max`, and the request is
    /// forgotten; one that is alone may have any size.
    pub(crate) fn note(
        &mut self,
        request: RequestId,
        tenant: &TenantId,
        bytes: usize,
        bytes_max: u64,
    ) -> bool {
        self.end(request);
        let others = self.by_tenant.get(tenant).copied().unwrap_or(0);
        let all = others.saturating_add(bytes);
        let is_within = others == 0 || all as u64 <= bytes_max;
        if is_within {
            self.by_request.insert(request, (tenant.clone(), bytes));
            self.by_tenant.insert(tenant.clone(), all);
        }
        is_within
    }

    /// Forgets a request, if it is known: it has its verdict, or gets none.
    pub(crate) fn end(&mut self, request: RequestId) {
        let Some((tenant, bytes)) = self.by_request.remove(&request) else { return };
        if let Some(all) = self.by_tenant.get_mut(&tenant) {
            *all -= bytes;
            if *all == 0 {
                self.by_tenant.remove(&tenant);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_request.is_empty() && self.by_tenant.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{InFlight, RequestId, TenantId};

    #[test]
    fn each_tenant_has_its_own_account() {
        let [a, b, c] = [1, 2, 3].map(RequestId);
        let [busy, quiet] = ["busy", "quiet"].map(|name| TenantId::new(name).unwrap());
        let mut in_flight = InFlight::default();
        assert!(in_flight.note(a, &busy, 500, 100), "one that is alone may have any size");
        assert!(!in_flight.note(b, &busy, 1, 100));
        assert!(in_flight.note(c, &quiet, 100, 100), "another tenant's");
        assert!(in_flight.note(a, &busy, 99, 100) && in_flight.note(b, &busy, 1, 100));
        assert!(!in_flight.note(b, &busy, 2, 100), "it grew, and is forgotten");
        assert!(in_flight.note(b, &busy, 1, 100));
        for request in [a, b, c, c] {
            in_flight.end(request);
        }
        assert!(in_flight.is_empty());
    }

    #[test]
    fn nothing_of_a_body_takes_nothing() {
        let tenant = TenantId::new("t").unwrap();
        let mut in_flight = InFlight::default();
        assert!(in_flight.note(RequestId(1), &tenant, 0, 1) && in_flight.note(RequestId(2), &tenant, 5, 1));
        in_flight.end(RequestId(1));
        in_flight.end(RequestId(2));
        assert!(in_flight.is_empty());
    }
}
