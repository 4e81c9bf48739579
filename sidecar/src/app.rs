//! The sidecar as a whole: what is built in which order, and shut down in the reverse.

use std::sync::Arc;
use std::time::Duration;

use ringside_tsdb::SeriesBudget;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::server::HealthReporter;

use crate::bucket::Bucket;
use crate::cardinality::Cardinalities;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::flush::{Flush, Retention, sync_wal};
use crate::http::admin::{self, Readiness};
use crate::http::receive::{self, Receive};
use crate::http::status::{self, TsdbStatus};
use crate::limits::reload::Reload;
use crate::limits::{InFlight, Limits};
use crate::logging::Throttle;
use crate::metrics::{Metrics, TenantCollector};
use crate::pressure::Pressure;
use crate::pressure::disk::{self, DiskWatch};
use crate::pressure::memory::{MemoryWatch, Resident};
use crate::process::ProcessCollector;
use crate::shipper::Shipper;
use crate::snappy::BufferPool;
use crate::tenants::Tenants;
use crate::{grpc, http, ring};

/// For requests under way when the process is told to stop.
const DRAIN_MAX: Duration = Duration::from_secs(20);
/// For the last pass of the shipper: what does not make it is shipped after the next start.
const LAST_SHIP_MAX: Duration = Duration::from_secs(10);
/// For a scrape or a health check under way.
const ADMIN_DRAIN_MAX: Duration = Duration::from_secs(2);

/// Runs the sidecar until SIGTERM or SIGINT. A second signal does not wait for the orderly end.
pub(crate) async fn run(config: Config) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    let broken = CancellationToken::new();
    let app = App::start(config, &broken).await?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "shutting down"),
        _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "shutting down"),
        () = broken.cancelled() => tracing::error!("shutting down, because a part of the process broke off"),
    }
    tokio::select! {
        () = app.shutdown() => tracing::info!("stopped"),
        _ = terminate.recv() => tracing::warn!("stopped at the second signal"),
        _ = interrupt.recv() => tracing::warn!("stopped at the second signal"),
    }
    if broken.is_cancelled() { Err(Error::Broken) } else { Ok(()) }
}

/// A part of the process that runs on its own until it is told to stop.
struct Part {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Part {
    /// Runs `part`. Should it panic, `broken` is cancelled: a process without one of its parts is of no use.
    fn start<F>(
        name: &'static str,
        broken: &CancellationToken,
        part: impl FnOnce(CancellationToken) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, broken) = (CancellationToken::new(), broken.clone());
        let running = tokio::spawn(part(stop.clone()));
        let task = tokio::spawn(async move {
            if let Err(error) = running.await {
                tracing::error!(part = name, %error, "a part of the process broke off");
                broken.cancel();
            }
        });
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a part of the process broke off");
        }
    }
}

/// A running sidecar, its parts in the order in which they were started.
struct App {
    watches: Vec<Part>,
    reload: Option<Part>,
    admin: Part,
    grpc: Part,
    shipper: Option<Part>,
    tenants: Arc<Tenants>,
    wal_sync: Part,
    flush: Part,
    appends: TaskTracker,
    write: Part,
    becoming_ready: Part,
    readiness: Readiness,
    health: HealthReporter,
}

impl App {
    /// Builds and starts everything. Replay goes on in the background; until it is done writes get 503.
    async fn start(config: Config, broken: &CancellationToken) -> Result<Self, Error> {
        let (metrics, mut registry) = Metrics::new();
        let in_flight = InFlight::new(config.in_flight_bytes_max);

        // What can refuse to start: the lock, the bucket's settings, the listeners.
        let data = DataDir::lock(&config.data_dir)?;
        let bucket = config.bucket.as_ref().map(|c| Bucket::new(c, Arc::clone(&metrics))).transpose()?;
        let http_listener = listen("--http-address", &config.http_address).await?;
        let grpc_listener = listen("--grpc-address", &config.grpc_address).await?;
        let write_listener = listen("--remote-write.address", &config.remote_write_address).await?;
        if let Some(path) = &config.hashrings_file {
            ring::report(path, &metrics);
        }

        let budget = Arc::clone(&config.tsdb.series_budget);
        let limits =
            Arc::new(Limits::new(config.limits.config.clone(), Arc::clone(&budget), Arc::clone(&metrics)));
        let pressure = Arc::new(Pressure::new(Arc::clone(&metrics)));
        let watches = watch(&config, &budget, &pressure, &metrics, broken)?;
        let tenants = Tenants::start(
            data,
            config.tsdb.clone(),
            config.default_tenant.clone(),
            Arc::clone(&limits),
            Arc::clone(&metrics),
        )?;
        let reload = config.limits.file.clone().map(|(path, seen)| {
            let (tenants, limits) = (Arc::clone(&tenants), Arc::clone(&limits));
            let reload = Reload::new(path, seen, tenants, limits, Arc::clone(&metrics));
            Part::start("limits", broken, |stop| reload.run(config.limits.every, stop))
        });
        let collector = TenantCollector::new(Arc::clone(&tenants), in_flight.clone(), config.tsdb.clone());
        registry.register_collector(Box::new(collector));
        registry.register_collector(Box::new(ProcessCollector));
        let registry = Arc::new(registry);

        let cardinalities = Arc::new(Cardinalities::default());
        let tsdb_status = Arc::new(TsdbStatus {
            tenants: Arc::clone(&tenants),
            cardinalities: Arc::clone(&cardinalities),
            tenant_header: config.tenant_header.clone(),
            default_tenant: config.default_tenant.clone(),
        });
        let readiness = Readiness::new(Arc::clone(&metrics));
        let admin_router = admin::router(registry, readiness.clone())
            .merge(status::prometheus_router(Arc::clone(&tsdb_status)));
        let admin = Part::start("admin", broken, |stop| {
            http::serve(http_listener, admin_router, stop, ADMIN_DRAIN_MAX)
        });
        let health = HealthReporter::new();
        grpc::set_serving(&health, false).await;
        let grpc = Part::start("grpc", broken, |stop| grpc::serve(grpc_listener, health.clone(), stop));

        let retention = retention(&config, bucket.is_some());
        let new_block = Arc::new(Notify::new());
        let shipper = bucket.map(|bucket| {
            let shipper = Shipper::new(
                Arc::clone(&tenants),
                bucket,
                config.external_labels.clone(),
                config.tenant_label_name.clone(),
                Arc::clone(&new_block),
                Arc::clone(&metrics),
            );
            Part::start("shipper", broken, |stop| shipper.run(stop, LAST_SHIP_MAX))
        });
        let wal_sync = Part::start("wal_sync", broken, |stop| {
            sync_wal(Arc::clone(&tenants), config.tsdb.wal_sync, stop)
        });
        let flush = Flush::new(Arc::clone(&tenants), retention, new_block, Arc::clone(&metrics));
        let flush = Part::start("flush", broken, |stop| flush.run(stop));

        let appends = TaskTracker::new();
        let receive = Receive {
            tenants: Arc::clone(&tenants),
            tenant_header: config.tenant_header,
            default_tenant: config.default_tenant,
            in_flight,
            limits,
            pressure,
            cardinalities,
            buffers: BufferPool::default(),
            appends: appends.clone(),
            metrics,
            faults: Throttle::default(),
        };
        let write_router =
            receive::router(Arc::new(receive), readiness.clone()).merge(status::receive_router(tsdb_status));
        let write =
            Part::start("write", broken, |stop| http::serve(write_listener, write_router, stop, DRAIN_MAX));
        let becoming_ready = Part::start("readiness", broken, |stop| {
            become_ready(Arc::clone(&tenants), readiness.clone(), health.clone(), stop)
        });
        Ok(Self {
            watches,
            reload,
            admin,
            grpc,
            shipper,
            tenants,
            wal_sync,
            flush,
            appends,
            write,
            becoming_ready,
            readiness,
            health,
        })
    }

    /// Stops in the reverse order of the start. Whatever was acknowledged is durable when this returns.
    async fn shutdown(self) {
        self.becoming_ready.stop().await;
        self.readiness.set(false);
        grpc::set_serving(&self.health, false).await;
        self.write.stop().await;
        // Appends whose client has gone are finished too.
        self.appends.close();
        if tokio::time::timeout(DRAIN_MAX, self.appends.wait()).await.is_err() {
            tracing::warn!(appends = self.appends.len(), "appends did not finish in time");
        }
        self.flush.stop().await;
        self.wal_sync.stop().await;
        self.tenants.close().await;
        if let Some(shipper) = self.shipper {
            shipper.stop().await;
        }
        self.grpc.stop().await;
        self.admin.stop().await;
        for part in self.reload.into_iter().chain(self.watches) {
            part.stop().await;
        }
    }
}

async fn become_ready(
    tenants: Arc<Tenants>,
    readiness: Readiness,
    health: HealthReporter,
    stop: CancellationToken,
) {
    tokio::select! {
        () = tenants.replayed() => {}
        () = stop.cancelled() => return,
    }
    readiness.set(true);
    grpc::set_serving(&health, true).await;
    tracing::info!("ready");
}

/// Starts to watch the disk, and memory where it has a ceiling.
fn watch(
    config: &Config,
    budget: &Arc<SeriesBudget>,
    pressure: &Arc<Pressure>,
    metrics: &Arc<Metrics>,
    broken: &CancellationToken,
) -> Result<Vec<Part>, Error> {
    let path = config.data_dir.clone();
    let space = move || disk::space(&path);
    let disk = DiskWatch::new(config.min_free, space, Arc::clone(pressure), Arc::clone(metrics));
    let mut watches = vec![Part::start("disk_watch", broken, |stop| disk.run(stop))];
    if let Some(max) = config.memory_max {
        tracing::info!(bytes = max, "ceiling of resident memory");
        let resident = Resident::open().map_err(Error::Memory)?;
        let (budget, pressure) = (Arc::clone(budget), Arc::clone(pressure));
        let memory = MemoryWatch::new(max, move || resident.bytes(), budget, pressure, Arc::clone(metrics));
        watches.push(Part::start("memory_watch", broken, |stop| memory.run(stop)));
    }
    Ok(watches)
}

fn retention(config: &Config, has_bucket: bool) -> Retention {
    let tsdb = &config.tsdb;
    match (tsdb.retention_ms == 0 && tsdb.retention_bytes == 0, has_bucket) {
        (true, _) => Retention::Off,
        (_, true) => Retention::Uploaded,
        (_, false) => Retention::All,
    }
}

async fn listen(flag: &'static str, address: &str) -> Result<TcpListener, Error> {
    let failed = |source| Error::Listen { flag, address: address.to_owned(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tracing::info!(flag, address = %bound, "listening");
    Ok(listener)
}
