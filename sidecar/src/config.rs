//! Flags of `ringside` and the checked settings that are made of them.
//!
//! Flags carry Thanos Receive's names and defaults where Thanos has the flag. Everything that can be wrong with a
//! flag is found here, before anything is opened, and the message names the flag.

mod size;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderName;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ringside_proto::tenant::TenantError;

use crate::bucket::{BucketConfig, BucketConfigError};
use crate::external_labels::{ExternalLabels, LabelError, is_label_name};
use crate::hashring::HashringCommand;
use crate::limits::reload::LimitsSource;
use crate::limits::{self, BODY_BYTES_MAX, LimitsConfig, LimitsConfigError};
use crate::pressure::cgroup;
use crate::tenant_id::TenantId;
use crate::tsdb_command::TsdbCommand;
pub(crate) use size::Share;

/// How often the WAL is synced under `--wal.sync=interval`.
pub(crate) const WAL_SYNC_INTERVAL: Duration = Duration::from_millis(100);
/// Percent of the control group's memory that is the ceiling where no flag sets one. The rest is for the kernel's own
/// use in the group's name, and for what arrives between two looks.
const MEMORY_PERCENT: u64 = 90;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "ringside", version, about = "Replicated remote-write storage behind Envoy.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take remote write, store it, ship blocks to the bucket.
    Sidecar(Box<SidecarFlags>),
    /// Judge a hashrings.json, show what a change of it moves, write Envoy's bootstrap from it.
    #[command(subcommand)]
    Hashring(Box<HashringCommand>),
    /// Look into data directories: list, analyze, verify and dump, without changing anything.
    #[command(subcommand)]
    Tsdb(Box<TsdbCommand>),
}

/// Flags of `ringside sidecar`.
#[derive(Debug, Args)]
pub(crate) struct SidecarFlags {
    /// Data directory: one directory per tenant is kept in it.
    #[arg(long = "tsdb.path", default_value = "./data", value_name = "DIR")]
    tsdb_path: PathBuf,
    /// How long blocks are kept locally (15d, 36h, ...). 0d keeps them for ever. A block that the bucket does not
    /// have yet is never deleted.
    #[arg(long = "tsdb.retention", default_value = "15d", value_name = "DURATION", value_parser = humantime::parse_duration)]
    tsdb_retention: Duration,
    /// Bytes that blocks, logs and head chunks of one tenant may have before its oldest blocks are deleted (50GB,
    /// ...). 0 sets no bound. A block that the bucket does not have yet is never deleted.
    #[arg(long = "tsdb.max-retention-bytes", default_value = "0", value_name = "SIZE", value_parser = size::parse_bytes)]
    tsdb_max_retention_bytes: u64,
    /// Room on the data directory's disk, as a size or a percentage, below which the sidecar is read-only: writes get
    /// 503, all else goes on, and so do writes once there is room again. 0 never is.
    #[arg(long = "storage.min-free", default_value = "5%", value_name = "SIZE", value_parser = Share::parse)]
    storage_min_free: Share,
    /// External label of all series of this sidecar (repeat). At least one is required.
    #[arg(long = "label", value_name = "NAME=\"VALUE\"")]
    labels: Vec<String>,
    /// Address of /metrics, /-/ready, /-/healthy and /api/v1/status/tsdb.
    #[arg(long = "http-address", default_value = "0.0.0.0:10902", value_name = "ADDRESS")]
    http_address: String,
    /// Address of gRPC: health checks.
    #[arg(long = "grpc-address", default_value = "0.0.0.0:10901", value_name = "ADDRESS")]
    grpc_address: String,
    /// Address of remote write. It trusts the tenant header of whoever reaches it.
    #[arg(long = "remote-write.address", default_value = "0.0.0.0:19291", value_name = "ADDRESS")]
    remote_write_address: String,
    /// The bucket, in Thanos' objstore YAML (S3 or FILESYSTEM). Without one nothing is shipped.
    #[arg(long = "objstore.config", value_name = "YAML", conflicts_with = "objstore_config_file")]
    objstore_config: Option<String>,
    /// File with the bucket's configuration.
    #[arg(long = "objstore.config-file", value_name = "FILE")]
    objstore_config_file: Option<PathBuf>,
    /// Thanos' hashrings.json. The filter places series, not the sidecar: here the file is checked and reported.
    #[arg(long = "receive.hashrings-file", value_name = "FILE")]
    hashrings_file: Option<PathBuf>,
    /// Tenant of writes without a tenant header.
    #[arg(long = "receive.default-tenant-id", default_value = "default-tenant", value_name = "ID")]
    default_tenant: String,
    /// Header that names the tenant. THANOS-TENANT is taken as well where this one is absent.
    #[arg(long = "receive.tenant-header", default_value = "THANOS-TENANT", value_name = "HEADER")]
    tenant_header: String,
    /// Label that names the tenant in blocks.
    #[arg(long = "receive.tenant-label-name", default_value = "tenant_id", value_name = "NAME")]
    tenant_label_name: String,
    /// When an acknowledged write is on disk: with the acknowledgement (group), at most 100 ms after it (interval),
    /// or when the kernel writes it (none).
    #[arg(long = "wal.sync", default_value = "group")]
    wal_sync: WalSyncMode,
    /// How much older than the newest sample of its tenant one that comes out of order may be. 0s takes none.
    #[arg(long = "tsdb.out-of-order.time-window", default_value = "10m", value_name = "DURATION", value_parser = humantime::parse_duration)]
    out_of_order_window: Duration,
    /// How many exemplars are kept per tenant, in memory and in the write-ahead log. 0 keeps none.
    #[arg(long = "tsdb.max-exemplars", default_value_t = 0, value_name = "NUMBER")]
    exemplars_max: usize,
    /// Write limits per tenant, in Thanos' YAML.
    #[arg(long = "receive.limits-config", value_name = "YAML", conflicts_with = "limits_config_file")]
    limits_config: Option<String>,
    /// File with the write limits. A change of it comes into force without a restart.
    #[arg(long = "receive.limits-config-file", value_name = "FILE")]
    limits_config_file: Option<PathBuf>,
    /// How often the file with the limits is looked at.
    #[arg(long = "receive.limits-config-reload-timer", default_value = "1s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    limits_config_reload_timer: Duration,
    /// Ceiling of resident memory (4GiB, ...). From three quarters of it on new series get 429, from all of it on writes
    /// get 503, until there is room again. 0 sets none. Default: 90% of the memory limit of the process' control
    /// group, where it has one.
    #[arg(long = "receive.memory-max", value_name = "SIZE", value_parser = size::parse_bytes)]
    memory_max: Option<u64>,
    /// Bytes of request bodies that are held in memory at once, compressed and decoded; beyond it writes get 503.
    #[arg(long = "receive.in-flight-bytes-max", default_value_t = limits::IN_FLIGHT_BYTES_MAX, hide = true)]
    in_flight_bytes_max: usize,
    /// Least level that is logged.
    #[arg(long = "log.level", default_value = "info")]
    log_level: LogLevel,
    /// Form of the log.
    #[arg(long = "log.format", default_value = "logfmt")]
    log_format: LogFormat,
}

/// `--wal.sync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WalSyncMode {
    Group,
    Interval,
    None,
}

/// `--log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// `--log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Logfmt,
    Json,
}

/// Settings of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogConfig {
    pub(crate) level: LogLevel,
    pub(crate) format: LogFormat,
}

/// Checked settings of the sidecar.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) tsdb: ringside_tsdb::Options,
    pub(crate) external_labels: ExternalLabels,
    pub(crate) tenant_label_name: String,
    pub(crate) default_tenant: TenantId,
    pub(crate) tenant_header: HeaderName,
    pub(crate) http_address: String,
    pub(crate) grpc_address: String,
    pub(crate) remote_write_address: String,
    pub(crate) bucket: Option<BucketConfig>,
    pub(crate) hashrings_file: Option<PathBuf>,
    pub(crate) in_flight_bytes_max: usize,
    pub(crate) limits: LimitsSource,
    pub(crate) min_free: Share,
    pub(crate) memory_max: Option<u64>,
}

/// Why the flags are refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConfigError {
    #[error(transparent)]
    Label(#[from] LabelError),
    #[error("{flag}: {source}")]
    Bucket { flag: &'static str, source: BucketConfigError },
    #[error("--objstore.config-file: {}: {source}", path.display())]
    BucketFile { path: PathBuf, source: std::io::Error },
    #[error("--receive.default-tenant-id: {0}")]
    DefaultTenant(#[source] TenantError),
    #[error("--receive.tenant-header: {given:?} is not a header name")]
    TenantHeader { given: String },
    #[error("--receive.tenant-label-name: {given:?} is not a label name, or starts with the reserved __")]
    TenantLabelName { given: String },
    #[error("{flag}: {given:?} is not an address of the form host:port")]
    Address { flag: &'static str, given: String },
    #[error("{flag}: {given:?} is too long")]
    Duration { flag: &'static str, given: Duration },
    #[error(
        "--receive.in-flight-bytes-max: {given} leaves no room for one request of the largest size; {min} is the least"
    )]
    InFlight { given: usize, min: usize },
    #[error("{flag}: {source}")]
    Limits { flag: &'static str, source: LimitsConfigError },
    #[error("--receive.limits-config-file: {}: {source}", path.display())]
    LimitsFile { path: PathBuf, source: std::io::Error },
    #[error("--receive.limits-config-reload-timer: the pause between two looks must be longer than nothing")]
    LimitsReloadTimer,
    #[error("--receive.memory-max: {given} bytes leave no room for requests; {min} is the least")]
    MemoryMax { given: u64, min: u64 },
}

impl SidecarFlags {
    /// Settings of the log, wanted before anything else.
    pub(crate) fn log(&self) -> LogConfig {
        LogConfig { level: self.log_level, format: self.log_format }
    }

    /// Checks the flags against each other and reads the files that they name.
    pub(crate) fn into_config(self) -> Result<Config, ConfigError> {
        if !is_label_name(&self.tenant_label_name) || self.tenant_label_name.starts_with("__") {
            return Err(ConfigError::TenantLabelName { given: self.tenant_label_name });
        }
        let in_flight_min = BODY_BYTES_MAX + ringside_proto::DECODED_BYTES_MAX;
        if self.in_flight_bytes_max < in_flight_min {
            return Err(ConfigError::InFlight { given: self.in_flight_bytes_max, min: in_flight_min });
        }
        let memory_max = self.memory_max(2 * in_flight_min as u64)?;
        // An eighth of the memory for bodies, or what the largest of them needs.
        let in_flight_share =
            memory_max.map_or(usize::MAX, |max| usize::try_from(max / 8).unwrap_or(usize::MAX));
        Ok(Config {
            limits: self.limits()?,
            memory_max,
            min_free: self.storage_min_free,
            tsdb: self.tsdb_options()?,
            external_labels: ExternalLabels::parse(&self.labels, &self.tenant_label_name)?,
            bucket: self.bucket()?,
            default_tenant: TenantId::parse(&self.default_tenant).map_err(ConfigError::DefaultTenant)?,
            tenant_header: HeaderName::from_bytes(self.tenant_header.as_bytes())
                .map_err(|_| ConfigError::TenantHeader { given: self.tenant_header.clone() })?,
            http_address: address("--http-address", self.http_address)?,
            grpc_address: address("--grpc-address", self.grpc_address)?,
            remote_write_address: address("--remote-write.address", self.remote_write_address)?,
            data_dir: self.tsdb_path,
            tenant_label_name: self.tenant_label_name,
            hashrings_file: self.hashrings_file,
            in_flight_bytes_max: self.in_flight_bytes_max.min(in_flight_share.max(in_flight_min)),
        })
    }

    /// The ceiling on memory: as given, else by the control group; `None` where there is none.
    fn memory_max(&self, min: u64) -> Result<Option<u64>, ConfigError> {
        match self.memory_max {
            Some(0) => Ok(None),
            Some(given) if given < min => Err(ConfigError::MemoryMax { given, min }),
            Some(given) => Ok(Some(given)),
            None => Ok(cgroup::memory_limit_bytes().map(|limit| limit / 100 * MEMORY_PERCENT)),
        }
    }

    fn limits(&self) -> Result<LimitsSource, ConfigError> {
        let every = self.limits_config_reload_timer;
        if every.is_zero() {
            return Err(ConfigError::LimitsReloadTimer);
        }
        let (flag, yaml, path) = match (&self.limits_config, &self.limits_config_file) {
            (Some(yaml), _) => ("--receive.limits-config", yaml.clone(), None),
            (None, Some(path)) => {
                let yaml = std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::LimitsFile { path: path.clone(), source })?;
                ("--receive.limits-config-file", yaml, Some(path.clone()))
            }
            (None, None) => return Ok(LimitsSource { every, ..LimitsSource::default() }),
        };
        let config = LimitsConfig::parse(&yaml).map_err(|source| ConfigError::Limits { flag, source })?;
        Ok(LimitsSource { config, file: path.map(|path| (path, yaml)), every })
    }

    fn tsdb_options(&self) -> Result<ringside_tsdb::Options, ConfigError> {
        let millis = |flag, given: Duration| {
            i64::try_from(given.as_millis()).map_err(|_| ConfigError::Duration { flag, given })
        };
        let wal_sync = match self.wal_sync {
            WalSyncMode::Group => ringside_tsdb::WalSync::Group,
            WalSyncMode::Interval => ringside_tsdb::WalSync::Interval(WAL_SYNC_INTERVAL),
            WalSyncMode::None => ringside_tsdb::WalSync::None,
        };
        Ok(ringside_tsdb::Options {
            retention_ms: millis("--tsdb.retention", self.tsdb_retention)?,
            retention_bytes: self.tsdb_max_retention_bytes,
            wal_sync,
            out_of_order_window_ms: millis("--tsdb.out-of-order.time-window", self.out_of_order_window)?,
            exemplars_max: self.exemplars_max,
            ..ringside_tsdb::Options::default()
        })
    }

    fn bucket(&self) -> Result<Option<BucketConfig>, ConfigError> {
        let (flag, yaml) = match (&self.objstore_config, &self.objstore_config_file) {
            (Some(yaml), _) => ("--objstore.config", yaml.clone()),
            (None, Some(path)) => {
                let yaml = std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::BucketFile { path: path.clone(), source })?;
                ("--objstore.config-file", yaml)
            }
            (None, None) => return Ok(None),
        };
        // As in Thanos, empty content means that there is no bucket.
        if yaml.trim().is_empty() {
            return Ok(None);
        }
        BucketConfig::parse(&yaml).map(Some).map_err(|source| ConfigError::Bucket { flag, source })
    }
}

/// Accepts `host:port` and, as Go does, `:port` for all interfaces. Names are resolved when it is bound.
fn address(flag: &'static str, given: String) -> Result<String, ConfigError> {
    let full = if given.starts_with(':') { format!("0.0.0.0{given}") } else { given.clone() };
    let well_formed = full.parse::<SocketAddr>().is_ok()
        || full.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains(':') && port.parse::<u16>().is_ok()
        });
    if well_formed { Ok(full) } else { Err(ConfigError::Address { flag, given }) }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
