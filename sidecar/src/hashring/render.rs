//! `ringside hashring render`: reads and judges what Envoy's files are made of, and writes them, each at once or not at
//! all. How they are kept up to date is `watch`'s.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use ringside_hashring::Hashrings;
use ringside_proto::settings::{BODY_BYTES, IN_FLIGHT_BYTES, REPLICATION_FACTOR, TIMEOUT_MS, is_header_name};
use ringside_proto::{DECODED_BYTES_MAX, tenant};

use super::bootstrap::{Bootstrap, CLUSTERS_NAME, FILTER_NAME, Plugin, Upstream, UpstreamKind};
use super::edge::Edge;
use super::kept;
use super::limits::Limits;
use super::{parse, read};

/// A heap smaller than some of the largest bodies would refuse them all.
const HEAP_BODIES_MIN: u64 = 4;

/// Flags of `ringside hashring render`.
#[derive(Debug, Args)]
pub(crate) struct RenderFlags {
    /// The hashrings.json; it becomes part of the bootstrap as it is.
    #[arg(long, value_name = "FILE")]
    pub(super) hashrings: PathBuf,
    /// What tenants may send, in YAML: `default` and `tenants`, each with any of samples_per_second, burst,
    /// series_per_request, labels_per_series, label_name_bytes, label_value_bytes, body_bytes and in_flight_bytes.
    #[arg(long, value_name = "FILE")]
    pub(super) limits: Option<PathBuf>,
    /// The filter's module, as Envoy sees it: a path on the host or in the container that runs Envoy.
    #[arg(long, value_name = "PATH")]
    wasm: String,
    /// Address that takes remote write.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Address of Envoy's admin page. Whoever reaches it can stop Envoy.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// Address that answers GET /metrics with Envoy's statistics, and /ready; none without it.
    #[arg(long, value_name = "ADDRESS")]
    statistics: Option<SocketAddr>,
    /// Where Envoy writes a line for each request, with tenant, series and verdict; nowhere without it.
    #[arg(long, value_name = "PATH")]
    access_log: Option<String>,
    /// What stands around the filter: TLS, filters that find out who a client is, virtual hosts. Examples: envoy/edge.
    #[arg(long, value_name = "FILE")]
    edge: Option<PathBuf>,
    /// Where to write the bootstrap; to standard output without it.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A directory for the clusters and the filter, in files of their own that Envoy follows: the ring and the limits
    /// then change without a restart. Without it all is in the bootstrap.
    #[arg(long, value_name = "DIR")]
    pub(super) discovery: Option<PathBuf>,
    /// The same directory as Envoy sees it, where that is another path.
    #[arg(long, value_name = "PATH", requires = "discovery")]
    discovery_path: Option<String>,
    /// Go on, and write the files of the discovery again whenever the hashrings or the limits change. What is refused
    /// changes nothing but a statistic and the log.
    #[arg(long, requires = "discovery", requires = "output")]
    pub(super) watch: bool,
    /// Between two looks at the hashrings and the limits.
    #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(super) watch_interval: Duration,
    /// How many sidecars hold each series.
    #[arg(long, default_value_t = 3)]
    replication_factor: usize,
    /// How long a sidecar may take to answer.
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    write_timeout: Duration,
    /// The largest body of a write, compressed.
    #[arg(long, default_value_t = DECODED_BYTES_MAX as u64, value_name = "BYTES")]
    body_bytes_max: u64,
    /// How much may be under way to the sidecars from one worker before it answers further writes 503, 256 MiB without it;
    /// and as much again of bodies that are not whole.
    #[arg(long, value_name = "BYTES")]
    in_flight_bytes_max: Option<u64>,
    /// How much of that may be of writes that have their answer, half of it without this. Beyond it, the sidecars that
    /// keep it waiting get nothing more.
    #[arg(long, value_name = "BYTES")]
    late_write_bytes_max: Option<u64>,
    /// How much memory Envoy may take before it answers further requests 503. The module's own comes on top, for
    /// each worker.
    #[arg(long, default_value_t = 1 << 30, value_name = "BYTES")]
    heap_bytes_max: u64,
    /// Request header that may name the tenant.
    #[arg(long, default_value = "THANOS-TENANT", value_name = "HEADER")]
    tenant_header: String,
    /// Tenant of requests that name none.
    #[arg(long, default_value = "default-tenant", value_name = "ID")]
    default_tenant: String,
    /// What the ring's addresses are.
    #[arg(long, value_enum, default_value_t = UpstreamKind::Ringside)]
    upstream: UpstreamKind,
    /// Port of remote write, where the ring's addresses carry another one, such as Thanos' gRPC port.
    #[arg(long, value_name = "PORT")]
    pub(super) upstream_port: Option<u16>,
}

/// What the files are made of, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inputs {
    pub(super) hashrings: String,
    pub(super) limits: String,
}

impl Inputs {
    pub(super) fn read(flags: &RenderFlags) -> anyhow::Result<Self> {
        let limits = flags.limits.as_deref().map(read).transpose()?;
        Ok(Self { hashrings: read(&flags.hashrings)?, limits: limits.unwrap_or_default() })
    }
}

/// Writes the bootstrap and the files that it refers to; returns it, or a line for each file. A sidecar of the ring before
/// keeps its cluster up to the next rendering: writes to it are under way when the files change.
pub(super) fn run(flags: &RenderFlags) -> anyhow::Result<String> {
    let inputs = Inputs::read(flags)?;
    let mut bootstrap = bootstrap(flags, &inputs)?;
    let mut said = String::new();
    if let Some(directory) = &flags.discovery {
        bootstrap.keep(&kept::upstreams(flags, directory));
        for (name, text) in
            [(CLUSTERS_NAME, bootstrap.render_clusters()), (FILTER_NAME, bootstrap.render_filter())]
        {
            said.push_str(&write(&directory.join(name), &text)?);
        }
        kept::write(directory, &inputs)?;
    }
    Ok(said + &write_bootstrap(flags, &bootstrap)?)
}

/// Writes the bootstrap; returns it, or a line that says where it went.
pub(super) fn write_bootstrap(flags: &RenderFlags, bootstrap: &Bootstrap) -> anyhow::Result<String> {
    let yaml = bootstrap.render()?;
    flags.output.as_deref().map_or(Ok(yaml.clone()), |output| write(output, &yaml))
}

/// Replaces a file; returns a line that says so.
pub(super) fn write(file: &Path, text: &str) -> anyhow::Result<String> {
    ringside_tsdb::fs::write_atomic(file, text.as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(format!("wrote {}\n", file.display()))
}

/// Judges what was read, and the flags.
pub(super) fn bootstrap(flags: &RenderFlags, inputs: &Inputs) -> anyhow::Result<Bootstrap> {
    let write_timeout_ms = u64::try_from(flags.write_timeout.as_millis()).unwrap_or(u64::MAX);
    bounded("--write-timeout, in ms,", write_timeout_ms, &TIMEOUT_MS)?;
    bounded("--body-bytes-max", flags.body_bytes_max, &BODY_BYTES)?;
    for (flag, bytes) in [
        ("--in-flight-bytes-max", flags.in_flight_bytes_max),
        ("--late-write-bytes-max", flags.late_write_bytes_max),
    ] {
        bytes.map_or(Ok(()), |bytes| bounded(flag, bytes, &IN_FLIGHT_BYTES))?;
    }
    bounded("--replication-factor", flags.replication_factor as u64, &REPLICATION_FACTOR)?;
    ensure!(is_header_name(&flags.tenant_header), "--tenant-header must be the name of an HTTP header");
    ensure!(
        flags.heap_bytes_max >= HEAP_BODIES_MIN * flags.body_bytes_max,
        "--heap-bytes-max must hold {HEAP_BODIES_MIN} bodies of --body-bytes-max at least"
    );
    tenant::validate(&flags.default_tenant).context("--default-tenant")?;
    ensure!(!flags.wasm.is_empty(), "--wasm is empty");
    ensure!(!flags.watch_interval.is_zero(), "--watch-interval is zero");

    let rings = parse(&flags.hashrings, &inputs.hashrings, flags.replication_factor)?;
    let limits = Limits::parse(&inputs.limits).with_context(|| {
        format!("{} is refused", flags.limits.as_deref().unwrap_or(Path::new("--limits")).display())
    })?;
    let discovery = flags.discovery.as_ref().map(|directory| directory.display().to_string());
    Ok(Bootstrap {
        listen: flags.listen,
        admin: flags.admin,
        statistics: flags.statistics,
        access_log: flags.access_log.clone(),
        discovery: flags.discovery_path.clone().or(discovery),
        heap_bytes_max: flags.heap_bytes_max,
        wasm: flags.wasm.clone(),
        plugin: Plugin {
            hashrings: inputs.hashrings.clone(),
            replication_factor: flags.replication_factor,
            tenant_header: flags.tenant_header.clone(),
            default_tenant: flags.default_tenant.clone(),
            write_timeout_ms,
            body_bytes_max: flags.body_bytes_max,
            in_flight_bytes_max: flags.in_flight_bytes_max,
            late_write_bytes_max: flags.late_write_bytes_max,
            access_log: flags.access_log.is_some(),
            looks_inside: flags.upstream == UpstreamKind::ThanosReceive,
            limits,
            refusal: None,
        },
        upstreams: upstreams(&rings, flags.upstream_port)?,
        upstream: flags.upstream,
        edge: flags.edge.as_deref().map(Edge::read).transpose()?.unwrap_or_default(),
    })
}

/// Refuses what the filter would refuse, so that a bootstrap with it is not written.
fn bounded(flag: &str, value: u64, bounds: &RangeInclusive<u64>) -> anyhow::Result<()> {
    ensure!(bounds.contains(&value), "{flag} must be {} to {}", bounds.start(), bounds.end());
    Ok(())
}

/// One upstream for each address of any ring, in the order of the file. Two addresses that lead to the same place would
/// make one sidecar two replicas.
pub(super) fn upstreams(rings: &Hashrings, port: Option<u16>) -> anyhow::Result<Vec<Upstream>> {
    let mut upstreams: Vec<Upstream> = Vec::new();
    for endpoint in rings.rings().iter().flat_map(|named| named.ring().endpoints()) {
        if upstreams.iter().any(|upstream| upstream.name == endpoint.address) {
            continue;
        }
        let new = upstream(&endpoint.address, port)?;
        if let Some(other) = upstreams.iter().find(|other| other.is_at_place_of(&new)) {
            bail!(
                "the endpoints {:?} and {:?} are one sidecar, at port {} of {}",
                other.name,
                new.name,
                new.port,
                new.host
            );
        }
        upstreams.push(new);
    }
    Ok(upstreams)
}

/// What an address of a ring leads to; `port` in place of its own, if there is one.
pub(super) fn upstream(address: &str, port: Option<u16>) -> anyhow::Result<Upstream> {
    let Some((host, own_port)) = address.rsplit_once(':') else {
        bail!("the endpoint {address:?} has no port: it must be HOST:PORT");
    };
    let own_port: u16 = own_port.parse().with_context(|| format!("the port of the endpoint {address:?}"))?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    ensure!(
        bracketed.is_some() || !host.contains(':'),
        "the endpoint {address:?}: an IPv6 address stands in [ ]"
    );
    let host = bracketed.unwrap_or(host);
    ensure!(!host.is_empty(), "the endpoint {address:?} has no host");
    let is_ip = host.parse::<IpAddr>().is_ok();
    Ok(Upstream { name: address.to_owned(), host: host.to_owned(), port: port.unwrap_or(own_port), is_ip })
}

#[cfg(test)]
mod tests;
