//! Tenants and their storage: which are open, and how the others become so.
//!
//! Every tenant directory found at start is opened in the background, a few at a time; a tenant seen for the first
//! time is opened by its first write, and concurrent first writes wait for that one opening. A failed opening
//! leaves that tenant unavailable with its reason and is retried; other tenants go on. Owns no formats and no HTTP.

use std::collections::HashMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use ringside_tsdb::{Options, Tsdb};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backoff;
use crate::data_dir::DataDir;
use crate::error::{Error, WriteError};
use crate::limits::Limits;
use crate::metrics::{Metrics, TenantLabels};
use crate::tenant_id::TenantId;

/// Tenants that are opened, and so replayed, at once: as many as there are cores, within these bounds.
const OPENS_MIN: usize = 2;
const OPENS_MAX: usize = 16;
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// All tenants of this process.
#[derive(Debug)]
pub(crate) struct Tenants {
    data: DataDir,
    options: Options,
    slots: RwLock<HashMap<TenantId, Arc<Slot>>>,
    opens: Semaphore,
    /// Tenants found at start whose first opening has not ended yet.
    replaying: watch::Sender<usize>,
    tasks: TaskTracker,
    stop: CancellationToken,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
}

/// One tenant; its state changes as its opening proceeds.
#[derive(Debug)]
struct Slot {
    tenant: TenantId,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone)]
enum State {
    /// Found at start; its writes are refused until it has replayed.
    Replaying,
    /// Seen for the first time; its writes wait, for there is next to nothing to do.
    Creating,
    Open(Arc<Tsdb>),
    Failed(Arc<str>),
}

/// A tenant's state as metrics show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TenantState {
    Opening,
    Open,
    Failed,
}

impl TenantState {
    pub(crate) const ALL: [Self; 3] = [Self::Opening, Self::Open, Self::Failed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Open => "open",
            Self::Failed => "failed",
        }
    }
}

/// What a write finds.
#[derive(Debug)]
pub(crate) enum Lookup {
    Open(Arc<Tsdb>),
    /// Not known, or being created: [`Tenants::create`] gives it.
    Absent,
}

impl Tenants {
    /// Starts to open every tenant that has a directory, and `default_tenant`. Returns at once.
    pub(crate) fn start(
        data: DataDir,
        options: Options,
        default_tenant: TenantId,
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, Error> {
        let mut found = data.tenants()?;
        if !found.contains(&default_tenant) {
            found.insert(0, default_tenant);
        }
        let slots: Vec<Arc<Slot>> =
            found.into_iter().map(|t| Arc::new(Slot::new(t, State::Replaying))).collect();
        let cores = available_parallelism().map_or(OPENS_MIN, NonZero::get);
        let tenants = Arc::new(Self {
            data,
            options,
            slots: RwLock::new(slots.iter().map(|s| (s.tenant.clone(), Arc::clone(s))).collect()),
            opens: Semaphore::new(cores.clamp(OPENS_MIN, OPENS_MAX)),
            replaying: watch::Sender::new(slots.len()),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            limits,
            metrics,
        });
        for slot in slots {
            tenants.tasks.spawn(Arc::clone(&tenants).open_until_done(slot));
        }
        Ok(tenants)
    }

    /// Resolves once every tenant found at start has replayed, or has failed to and awaits its retry.
    pub(crate) async fn replayed(&self) {
        let mut replaying = self.replaying.subscribe();
        // The sender lives as long as `self`.
        let _ = replaying.wait_for(|left| *left == 0).await;
    }

    /// The tenant's storage, where it is open; at once, without waiting.
    pub(crate) fn lookup(&self, tenant: &TenantId) -> Result<Lookup, WriteError> {
        if self.stop.is_cancelled() {
            return Err(WriteError::Closing);
        }
        let state = self.read_slots(|slots| slots.get(tenant).map(|slot| slot.state.borrow().clone()));
        match state {
            Some(State::Open(tsdb)) => Ok(Lookup::Open(tsdb)),
            Some(State::Replaying) => Err(WriteError::Replaying { tenant: tenant.clone() }),
            Some(State::Failed(reason)) => Err(WriteError::OpenFailed { tenant: tenant.clone(), reason }),
            Some(State::Creating) | None => Ok(Lookup::Absent),
        }
    }

    /// Opens a tenant that [`lookup`](Self::lookup) found absent, or waits for whoever opens it already.
    pub(crate) async fn create(self: &Arc<Self>, tenant: &TenantId) -> Result<Arc<Tsdb>, WriteError> {
        if self.stop.is_cancelled() {
            return Err(WriteError::Closing);
        }
        let slot = self.slot(tenant);
        let mut state = slot.state.subscribe();
        let settled = state.wait_for(|s| !matches!(s, State::Creating));
        let settled = tokio::select! {
            settled = settled => settled.map_err(|_| WriteError::Internal)?.clone(),
            () = self.stop.cancelled() => return Err(WriteError::Closing),
        };
        match settled {
            State::Open(tsdb) => Ok(tsdb),
            State::Failed(reason) => Err(WriteError::OpenFailed { tenant: tenant.clone(), reason }),
            State::Replaying | State::Creating => Err(WriteError::Replaying { tenant: tenant.clone() }),
        }
    }

    /// Every open tenant with its storage, in the order of their names.
    pub(crate) fn open(&self) -> Vec<(TenantId, Arc<Tsdb>)> {
        let mut open: Vec<_> = self.read_slots(|slots| {
            slots
                .values()
                .filter_map(|slot| match &*slot.state.borrow() {
                    State::Open(tsdb) => Some((slot.tenant.clone(), Arc::clone(tsdb))),
                    _ => None,
                })
                .collect()
        });
        open.sort_by(|(a, _), (b, _)| a.cmp(b));
        open
    }

    /// Opens a tenant anew whose storage can acknowledge nothing any more. Nothing else may work on that storage
    /// meanwhile, besides reading its blocks.
    pub(crate) fn reopen(self: &Arc<Self>, tenant: &TenantId) {
        let Some(slot) = self.read_slots(|slots| slots.get(tenant).cloned()) else { return };
        if self.stop.is_cancelled() {
            return;
        }
        let before = slot.state.send_replace(State::Failed("its storage failed and is opened anew".into()));
        let tenants = Arc::clone(self);
        self.tasks.spawn(async move {
            if let State::Open(tsdb) = before
                && let Err(error) = spawn_blocking(move || tsdb.abandon()).await
            {
                tracing::error!(tenant = %slot.tenant, %error, "leaving the failed storage broke off");
            }
            tenants.open_until_done(slot).await;
        });
    }

    /// The state of each tenant.
    pub(crate) fn states(&self) -> Vec<TenantState> {
        self.read_slots(|slots| {
            slots
                .values()
                .map(|slot| match &*slot.state.borrow() {
                    State::Replaying | State::Creating => TenantState::Opening,
                    State::Open(_) => TenantState::Open,
                    State::Failed(_) => TenantState::Failed,
                })
                .collect()
        })
    }

    /// Refuses further writes, then closes every tenant, which makes its write-ahead log durable.
    /// The storages stay readable: blocks can still be shipped.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let mut closing = JoinSet::new();
        for (tenant, tsdb) in self.open() {
            closing.spawn_blocking(move || (tenant, tsdb.close()));
        }
        while let Some(closed) = closing.join_next().await {
            match closed {
                Ok((tenant, Ok(()))) => tracing::debug!(%tenant, "tenant closed"),
                Ok((tenant, Err(error))) => tracing::error!(%tenant, %error, "tenant did not close cleanly"),
                Err(error) => tracing::error!(%error, "closing a tenant broke off"),
            }
        }
    }

    /// The tenant's slot; creates it, and starts its opening, where there is none.
    fn slot(self: &Arc<Self>, tenant: &TenantId) -> Arc<Slot> {
        if let Some(slot) = self.read_slots(|slots| slots.get(tenant).cloned()) {
            return slot;
        }
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.entry(tenant.clone()).or_insert_with(|| {
            let slot = Arc::new(Slot::new(tenant.clone(), State::Creating));
            self.tasks.spawn(Arc::clone(self).open_until_done(Arc::clone(&slot)));
            slot
        });
        Arc::clone(slot)
    }

    fn read_slots<T>(&self, read: impl FnOnce(&HashMap<TenantId, Arc<Slot>>) -> T) -> T {
        read(&self.slots.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens one tenant, and tries again with growing pauses until it opens or the process stops.
    async fn open_until_done(self: Arc<Self>, slot: Arc<Slot>) {
        let mut first = matches!(*slot.state.borrow(), State::Replaying);
        let mut pauses = backoff::forever(RETRY_MIN, RETRY_MAX);
        loop {
            let Some(state) = self.open_once(&slot.tenant).await else { return };
            let open = match &state {
                State::Open(tsdb) => Some(Arc::clone(tsdb)),
                _ => None,
            };
            slot.state.send_replace(state);
            if std::mem::take(&mut first) {
                self.replaying.send_modify(|left| *left -= 1);
            }
            if let Some(tsdb) = open {
                return self.apply_limits(slot.tenant.clone(), tsdb).await;
            }
            let pause = pauses.next().unwrap_or(RETRY_MAX);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Again, now that the tenant is open for all to see: the limits may have changed while it was being opened.
    async fn apply_limits(&self, tenant: TenantId, tsdb: Arc<Tsdb>) {
        let limits = Arc::clone(&self.limits);
        if let Err(error) = spawn_blocking(move || limits.apply(&tenant, &tsdb)).await {
            tracing::error!(%error, "telling a storage its limits broke off");
        }
    }

    /// One attempt; `None` when the process stops before it began.
    async fn open_once(&self, tenant: &TenantId) -> Option<State> {
        let permit = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            permit = self.opens.acquire() => permit.ok()?,
        };
        let (dir, options) = (self.data.tenant(tenant), self.options.clone());
        let (limits, owner) = (Arc::clone(&self.limits), tenant.clone());
        let start = Instant::now();
        // A replay cannot be broken off; at the end of the process it is left to itself, as in a crash.
        let opened = tokio::select! {
            opened = spawn_blocking(move || open_tsdb(&owner, dir, options, &limits)) => opened,
            () = self.stop.cancelled() => return None,
        };
        drop(permit);
        let reason: Arc<str> = match opened {
            Ok(Ok(tsdb)) => {
                let seconds = start.elapsed().as_secs_f64();
                self.metrics
                    .replay_duration
                    .get_or_create(&TenantLabels { tenant: tenant.clone() })
                    .set(seconds);
                report(tenant, &tsdb, seconds);
                return Some(State::Open(Arc::new(tsdb)));
            }
            Ok(Err(error)) => error.to_string().into(),
            Err(_) => "opening broke off".into(),
        };
        tracing::error!(%tenant, %reason, "tenant cannot be opened, its writes are refused until a retry succeeds");
        self.metrics.tenant_open_failures.get_or_create(&TenantLabels { tenant: tenant.clone() }).inc();
        Some(State::Failed(reason))
    }
}

impl Slot {
    fn new(tenant: TenantId, state: State) -> Self {
        Self { tenant, state: watch::Sender::new(state) }
    }
}

/// Tells of the opening, and of what was found on the way.
fn report(tenant: &TenantId, tsdb: &Tsdb, seconds: f64) {
    let stats = tsdb.stats();
    tracing::info!(%tenant, seconds, series = stats.series, blocks = stats.blocks, "tenant open");
    if stats.wal_torn_bytes > 0 {
        let bytes = stats.wal_torn_bytes;
        tracing::info!(%tenant, bytes, "a torn write that was never acknowledged was cut off the WAL");
    }
    if stats.wal_unknown_refs > 0 {
        let samples = stats.wal_unknown_refs;
        tracing::warn!(%tenant, samples, "samples in the WAL belong to no known series and were left out");
    }
    if let Some(error) = tsdb.bad_chunks() {
        tracing::warn!(%tenant, %error, "head chunk files are damaged; the write-ahead log gives what they had");
    }
    for error in tsdb.bad_blocks() {
        tracing::error!(%tenant, %error, "a block cannot be read and is left alone");
    }
}

fn open_tsdb(
    tenant: &TenantId,
    dir: PathBuf,
    options: Options,
    limits: &Limits,
) -> Result<Tsdb, ringside_tsdb::Error> {
    let tsdb = Tsdb::open(&dir, options)?;
    limits.apply(tenant, &tsdb);
    Ok(tsdb)
}

#[cfg(test)]
#[path = "tenants_tests.rs"]
mod tests;
