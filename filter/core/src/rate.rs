//! The rate of samples that a tenant may send, kept where all workers see it.
//!
//! Owns what becomes of a tenant's balance of samples: it grows with time up to the burst, and falls by what is charged.
//! A write is admitted while the balance is above zero, whatever its size, and charged in full once it has its verdict
//! and the filter or a sidecar has counted what it holds; not, if the verdict is that all of it is to come again. So the
//! balance may fall below zero, and the debt is worked off before the next write is admitted: over time a tenant gets its
//! rate, in either form and however many writes it has under way at once. How balances are kept is `balances`'.
//!
//! Invariant: a charge is applied to the newest state or not at all, also when other workers charge at the same time; but
//! for the very first charges, which the host lets overwrite each other.

mod balances;

use balances::Balance;

use crate::tenant::TenantId;

/// What workers share: values by key, each with a version that changes with it.
pub trait SharedData {
    /// A value and its version; `None` where there is none.
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)>;

    /// Replaces the value that has this version, and without a version whatever is there. False if somebody else was first.
    fn set(&self, key: &str, value: &[u8], version: Option<u32>) -> bool;
}

/// How many samples a tenant may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub samples_per_second: u64,
    /// How many at once, at least 1.
    pub burst: u64,
}

/// How often a charge is tried. Somebody's charge gets through each time, so it takes as many workers to lose one.
const TRIES: usize = 64;
/// The longest time for which a client is sent away, in seconds. It may find that there is debt left.
const RETRY_AFTER_SECONDS_MAX: u64 = 60;
/// The most debt that is kept, in seconds of the rate, which is a week: writes under way at once can run up a lot of it, and
/// it is to have an end.
const DEBT_SECONDS_MAX: u64 = 7 * 24 * 3600;
/// The workers' clocks may be apart by less than this, in milliseconds.
const CLOCK_SKEW_MS: u64 = 5_000;

impl Rate {
    /// Whether a write of the tenant may come in, or else the seconds after which it may.
    pub fn admit(&self, shared: &impl SharedData, tenant: &TenantId, now_ms: u64) -> Result<(), u64> {
        let known = shared.get(&balances::key(tenant));
        let state = known.and_then(|(value, _)| balances::find(&value, tenant));
        let balance = self.refill(state, now_ms).thousandths;
        if balance > 0 {
            return Ok(());
        }
        // One thousandth above zero, in whole seconds from now.
        let missing = balance.unsigned_abs() + 1;
        let seconds = missing.div_ceil(self.samples_per_second.saturating_mul(1000));
        Err(seconds.clamp(1, RETRY_AFTER_SECONDS_MAX))
    }

    /// Charges what a write holds. False if it could not be, because others kept charging.
    pub fn charge(&self, shared: &impl SharedData, tenant: &TenantId, samples: u64, now_ms: u64) -> bool {
        let key = balances::key(tenant);
        (0..TRIES).any(|_| {
            let (value, version) = shared.get(&key).unzip();
            let value = value.unwrap_or_default();
            let mut balance = self.refill(balances::find(&value, tenant), now_ms);
            let least = -thousandths(self.samples_per_second.saturating_mul(DEBT_SECONDS_MAX));
            let charged = balance.thousandths.saturating_sub(thousandths(samples));
            balance.thousandths = charged.max(least.min(balance.thousandths));
            let missing = thousandths(self.burst).abs_diff(balance.thousandths);
            let full_ms = balance.updated_ms.saturating_add(missing.div_ceil(self.samples_per_second));
            shared.set(&key, &balances::with(&value, tenant, balance, full_ms, now_ms), version)
        })
    }

    /// The balance now. Who has none has the whole burst, and so has whose balance is of the future: the clock was set back
    /// since, and how long that is ago nobody knows.
    fn refill(&self, state: Option<Balance>, now_ms: u64) -> Balance {
        let full = thousandths(self.burst);
        let is_past = |balance: &Balance| balance.updated_ms <= now_ms.saturating_add(CLOCK_SKEW_MS);
        let Some(Balance { thousandths, updated_ms }) = state.filter(is_past) else {
            return Balance { thousandths: full, updated_ms: now_ms };
        };
        let elapsed_ms = now_ms.saturating_sub(updated_ms);
        let grown = i64::try_from(elapsed_ms.saturating_mul(self.samples_per_second)).unwrap_or(i64::MAX);
        Balance {
            thousandths: thousandths.saturating_add(grown).min(full),
            updated_ms: updated_ms.max(now_ms),
        }
    }
}

fn thousandths(samples: u64) -> i64 {
    i64::try_from(samples.saturating_mul(1000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
