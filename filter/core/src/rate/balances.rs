//! The balances of tenants, as they are kept in what workers share.
//!
//! Owns the keys and the layout of the values. Shared data can be replaced and never be removed, and a client may be free
//! to name its tenant: so tenants are spread over a fixed number of keys, and a balance that is full, which is the same
//! as none, goes when its key is next written. What is kept grows with the tenants that send, not with those that ever
//! did.
//!
//! ```text
//! value  [ entry entry … ]
//! entry  [ length of the name: 1 byte | name | thousandths: i64 | updated_ms: u64 | full_ms: u64 ]   little-endian
//! ```

use ringside_hashring::hash_bytes;

use crate::tenant::TenantId;

/// With as many tenants that send at a time, a value holds one.
const KEYS: u64 = 4096;

/// The state of a tenant: thousandths of a sample, so that a millisecond refills a whole number of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Balance {
    pub(super) thousandths: i64,
    pub(super) updated_ms: u64,
}

/// The key whose value has the balance of a tenant.
pub(super) fn key(tenant: &TenantId) -> String {
    format!("ringside.rates.{}", hash_bytes(tenant.as_str().as_bytes(), 0) % KEYS)
}

/// The balance of a tenant; `None` where it is full.
pub(super) fn find(value: &[u8], tenant: &TenantId) -> Option<Balance> {
    entries(value).find(|entry| entry.name == tenant.as_str().as_bytes()).map(|entry| entry.balance)
}

/// The value with a new balance of a tenant, which will be full at `full_ms`, and without those that are by now.
pub(super) fn with(value: &[u8], tenant: &TenantId, balance: Balance, full_ms: u64, now_ms: u64) -> Vec<u8> {
    let name = tenant.as_str().as_bytes();
    let others = entries(value).filter(|entry| entry.name != name && entry.full_ms > now_ms);
    let mut out = Vec::with_capacity(value.len() + name.len() + Entry::FIXED_BYTES);
    for entry in others.chain([Entry { name, balance, full_ms }]) {
        entry.write(&mut out);
    }
    out
}

struct Entry<'a> {
    name: &'a [u8],
    balance: Balance,
    /// When it need not be kept any longer.
    full_ms: u64,
}

impl<'a> Entry<'a> {
    const FIXED_BYTES: usize = 1 + 3 * 8;

    fn write(&self, out: &mut Vec<u8>) {
        // A tenant's name is shorter than that.
        out.push(self.name.len() as u8);
        out.extend_from_slice(self.name);
        out.extend_from_slice(&self.balance.thousandths.to_le_bytes());
        out.extend_from_slice(&self.balance.updated_ms.to_le_bytes());
        out.extend_from_slice(&self.full_ms.to_le_bytes());
    }

    fn read(value: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (length, rest) = value.split_first()?;
        let (name, rest) = rest.split_at_checked((*length).into())?;
        let (thousandths, rest) = rest.split_first_chunk()?;
        let (updated_ms, rest) = rest.split_first_chunk()?;
        let (full_ms, rest) = rest.split_first_chunk()?;
        let balance = Balance {
            thousandths: i64::from_le_bytes(*thousandths),
            updated_ms: u64::from_le_bytes(*updated_ms),
        };
        Some((Self { name, balance, full_ms: u64::from_le_bytes(*full_ms) }, rest))
    }
}

/// What is not of this layout counts as nothing.
fn entries(mut value: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let (entry, rest) = Entry::read(value)?;
        value = rest;
        Some(entry)
    })
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use ringside_proto::tenant::TENANT_BYTES_MAX;

    use super::{Balance, TenantId, find, with};

    fn balance(thousandths: i64) -> Balance {
        Balance { thousandths, updated_ms: 5 }
    }

    #[test]
    fn tenants_of_one_key_have_their_own() {
        let tenants = ["a", "ab", &"x".repeat(TENANT_BYTES_MAX)].map(|name| TenantId::new(name).unwrap());
        let mut value = Vec::new();
        for round in [0, 10] {
            for (tenant, number) in tenants.iter().zip(1..) {
                value = with(&value, tenant, balance(-number - round), 100, 99);
            }
            for (tenant, number) in tenants.iter().zip(1..) {
                assert_eq!(find(&value, tenant), Some(balance(-number - round)));
            }
        }
        assert_eq!(find(&value, &TenantId::new("b").unwrap()), None);
    }

    #[test]
    fn nothing_is_kept_of_who_is_full() {
        let [a, b] = ["a", "b"].map(|name| TenantId::new(name).unwrap());
        let value = with(&with(&[], &a, balance(1), 100, 50), &b, balance(2), 200, 100);
        assert_eq!((find(&value, &a), find(&value, &b)), (None, Some(balance(2))));
        assert_eq!(value.len(), 26);
    }

    #[test]
    fn what_cannot_be_read_counts_as_none() {
        let tenant = TenantId::new("t").unwrap();
        let value = with(&[], &tenant, balance(1), 100, 0);
        for length in 0..value.len() {
            assert_eq!(find(&value[..length], &tenant), None);
            let mended = with(&value[..length], &tenant, balance(2), 100, 0);
            assert_eq!(find(&mended, &tenant), Some(balance(2)));
        }
    }
}
