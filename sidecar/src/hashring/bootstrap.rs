//! The text of what Envoy reads: its bootstrap, and the two files that it may discover clusters and the filter from.
//! Templates, and what is put into them. What goes in was judged before; here it is quoted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::ValueEnum;
use ringside_proto::WRITE_PATHS;

use super::edge::Edge;
use super::limits::Limits;
use crate::http;

const BOOTSTRAP: &str = include_str!("templates/bootstrap.yaml");
const VIRTUAL_HOST: &str = include_str!("templates/virtual_host.yaml");
const ROUTES: &str = include_str!("templates/routes.yaml");
const WRITE_ROUTE: &str = include_str!("templates/write_route.yaml");
const CLUSTER: &str = include_str!("templates/cluster.yaml");
const DNS: &str = include_str!("templates/dns.yaml");
const RINGSIDE: &str = include_str!("templates/ringside.yaml");
const THANOS_RECEIVE: &str = include_str!("templates/thanos_receive.yaml");
const FAILURES: &str = include_str!("templates/failures.yaml");
const FILTER: &str = include_str!("templates/filter.yaml");
const FILTER_DISCOVERY: &str = include_str!("templates/filter_discovery.yaml");
const DISCOVERY: &str = include_str!("templates/discovery.yaml");
const CLUSTERS_FILE: &str = include_str!("templates/clusters_file.yaml");
const FILTER_FILE: &str = include_str!("templates/filter_file.yaml");
const ACCESS_LOG: &str = include_str!("templates/access_log.yaml");
const STATISTICS_LISTENER: &str = include_str!("templates/statistics_listener.yaml");
const STATISTICS_CLUSTER: &str = include_str!("templates/statistics_cluster.yaml");

/// The file that Envoy discovers the clusters from.
pub(super) const CLUSTERS_NAME: &str = "clusters.yaml";
/// The file that Envoy discovers the filter from.
pub(super) const FILTER_NAME: &str = "filter.yaml";

/// Where the plugin's configuration stands in [`FILTER`].
const PLUGIN_INDENT: usize = 6;
/// Where things stand in [`BOOTSTRAP`].
const FILTER_INDENT: usize = 12;
const VIRTUAL_HOST_INDENT: usize = 12;
const HTTP_FILTER_INDENT: usize = 10;
const MAPPER_INDENT: usize = 12;
const FILTER_CHAIN_INDENT: usize = 6;
const CLUSTER_INDENT: usize = 2;

/// What a cluster of a file needs and one of the bootstrap does not.
const CLUSTER_KIND: &str = "\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\n    ";

const CLUSTERS_COMMENT: &str =
    "\n  # One cluster for each sidecar, named exactly as its address in the ring.\n";

/// How long a request may take to arrive.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What Envoy reads at once may take its buffer over the filter's own limit, which is to answer first.
const BUFFER_SLACK_BYTES: u64 = 1 << 20;

/// Connections to one sidecar, where further parts wait for one: so many Envoys can have them before its own bound.
const CONNECTIONS_MAX: usize = http::CONNECTIONS_MAX / 16;
/// After which Envoy ends an idle connection to a sidecar, which would end it itself before long.
const IDLE_TIMEOUT: Duration = http::HEADER_TIMEOUT.saturating_sub(Duration::from_secs(10));

/// How much longer a stream may be silent than the filter waits for a sidecar.
const IDLE_SLACK_MS: u64 = 2_000;

/// All that a bootstrap is made of.
pub(super) struct Bootstrap {
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
    /// How much memory Envoy may take before it refuses requests, its copies of the module not counted.
    pub(super) heap_bytes_max: u64,
    /// Path of the module, as Envoy sees it.
    pub(super) wasm: String,
    pub(super) plugin: Plugin,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) upstream: UpstreamKind,
    /// Who scrapes statistics asks here.
    pub(super) statistics: Option<SocketAddr>,
    /// Where a line for each request goes, as Envoy sees it.
    pub(super) access_log: Option<String>,
    /// The directory, as Envoy sees it, that it discovers the clusters and the filter from.
    pub(super) discovery: Option<String>,
    pub(super) edge: Edge,
}

/// What stands behind the ring's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum UpstreamKind {
    /// Ringside sidecars, with a health page on the write port.
    Ringside,
    /// Thanos Receive ingestors, without one.
    ThanosReceive,
}

/// The filter's own configuration.
pub(super) struct Plugin {
    /// The text of a hashrings.json.
    pub(super) hashrings: String,
    pub(super) replication_factor: usize,
    pub(super) tenant_header: String,
    pub(super) default_tenant: String,
    pub(super) write_timeout_ms: u64,
    pub(super) body_bytes_max: u64,
    pub(super) in_flight_bytes_max: Option<u64>,
    pub(super) late_write_bytes_max: Option<u64>,
    /// There is an access log to tell it to.
    pub(super) access_log: bool,
    /// What stands behind the ring's addresses neither says how much it was sent nor judges by our limits.
    pub(super) looks_inside: bool,
    pub(super) limits: Limits,
    pub(super) refusal: Option<Refusal>,
}

/// A change that is refused, while what was good before stays.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Refusal {
    pub(super) reason: String,
    pub(super) at_ms: u64,
}

/// A sidecar: its name in the ring, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_ip: bool,
}

impl Bootstrap {
    /// Gives those a cluster too that are not in the rings any more.
    pub(super) fn keep(&mut self, upstreams: &[Upstream]) {
        for upstream in upstreams {
            if self.upstreams.iter().all(|other| other.name != upstream.name) {
                self.upstreams.push(upstream.clone());
            }
        }
    }

    /// The bootstrap as YAML.
    pub(super) fn render(&self) -> anyhow::Result<String> {
        let buffer_bytes = (self.plugin.body_bytes_max + BUFFER_SLACK_BYTES).to_string();
        let access_log = self.access_log.as_deref();
        let access_log =
            access_log.map_or_else(String::new, |path| fill(ACCESS_LOG, &[("path", &quoted(path))]));
        let (listener, cluster) = self.statistics();
        let (discovery, filter, clusters) = match self.discovery.as_deref() {
            None => {
                let filter = format!("typed_config:\n{}", indented(&self.filter(), 2));
                (String::new(), filter, [CLUSTERS_COMMENT, self.clusters("").trim_end()].concat())
            }
            Some(directory) => {
                let path = |name: &str| quoted(&format!("{}/{name}", directory.trim_end_matches('/')));
                let (clusters, filter) = (path(CLUSTERS_NAME), path(FILTER_NAME));
                let directory = quoted(directory);
                let values = [("clusters", &*clusters), ("filter", &*filter), ("directory", &*directory)];
                (fill(DISCOVERY, &values), fill(FILTER_DISCOVERY, &values), String::new())
            }
        };
        let further = lines(&self.edge.clusters()?, CLUSTER_INDENT);
        let bootstrap = fill(
            BOOTSTRAP,
            &[
                ("admin_host", &quoted(&self.admin.ip().to_string())),
                ("admin_port", &self.admin.port().to_string()),
                ("listen_host", &quoted(&self.listen.ip().to_string())),
                ("listen_port", &self.listen.port().to_string()),
                ("heap_bytes_max", &self.heap_bytes_max.to_string()),
                ("buffer_bytes", &buffer_bytes),
                ("request_timeout", &format!("{}s", REQUEST_TIMEOUT.as_secs())),
                ("stream_idle_timeout", &seconds(self.plugin.write_timeout_ms + IDLE_SLACK_MS)),
                ("access_log", &access_log),
                ("discovery", &discovery),
                ("filter", &indented(&filter, FILTER_INDENT)),
                ("local_reply_mappers", &lines(&self.edge.local_reply_mappers()?, MAPPER_INDENT)),
                ("http_filters", &lines(&self.edge.http_filters()?, HTTP_FILTER_INDENT)),
                ("virtual_hosts", &indented(&self.virtual_hosts(&buffer_bytes)?, VIRTUAL_HOST_INDENT)),
                ("transport_socket", &lines(&self.edge.transport_socket()?, FILTER_CHAIN_INDENT)),
                ("statistics_listener", &listener),
                ("statistics_cluster", &cluster),
                ("clusters", &clusters),
                ("further_clusters", &further),
            ],
        );
        Ok(format!("{}\n", bootstrap.trim_end()))
    }

    /// The file that Envoy discovers the clusters from: those of the ring, and others that are still in use.
    pub(super) fn render_clusters(&self) -> String {
        let clusters = self.clusters(CLUSTER_KIND);
        format!("{}\n", fill(CLUSTERS_FILE, &[("clusters", &clusters)]).trim_end())
    }

    /// The file that Envoy discovers the filter from.
    pub(super) fn render_filter(&self) -> String {
        fill(FILTER_FILE, &[("filter", &indented(&self.filter(), 4))])
    }

    fn filter(&self) -> String {
        let plugin = indented(&self.plugin.render(), PLUGIN_INDENT);
        fill(FILTER, &[("wasm", &quoted(&self.wasm)), ("plugin", &plugin)])
    }

    /// The listener for statistics, and the cluster that it asks.
    fn statistics(&self) -> (String, String) {
        let Some(statistics) = self.statistics else { return (String::new(), String::new()) };
        let socket = |template, address: IpAddr, port: u16| {
            fill(template, &[("host", &quoted(&address.to_string())), ("port", &port.to_string())])
        };
        let admin =
            if self.admin.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { self.admin.ip() };
        (
            socket(STATISTICS_LISTENER, statistics.ip(), statistics.port()),
            socket(STATISTICS_CLUSTER, admin, self.admin.port()),
        )
    }

    fn virtual_hosts(&self, buffer_bytes: &str) -> anyhow::Result<String> {
        let route = |path: &&str| fill(WRITE_ROUTE, &[("path", path), ("buffer_bytes", buffer_bytes)]);
        let routes: String = WRITE_PATHS.iter().map(route).collect();
        let routes = fill(ROUTES, &[("write_routes", routes.trim_end())]);
        let hosts = self.edge.virtual_hosts(&routes)?;
        Ok(hosts.unwrap_or_else(|| [VIRTUAL_HOST, &routes].concat()))
    }

    /// The first cluster has the settings in full, the others refer to them.
    fn clusters(&self, cluster_kind: &str) -> String {
        let kind = match self.upstream {
            UpstreamKind::Ringside => RINGSIDE,
            UpstreamKind::ThanosReceive => THANOS_RECEIVE,
        };
        let settings = fill(
            &[kind, FAILURES].concat(),
            &[
                ("idle_timeout", &seconds(IDLE_TIMEOUT.as_millis() as u64)),
                ("connections_max", &CONNECTIONS_MAX.to_string()),
            ],
        );
        let references = references(&settings);
        let cluster = |(number, upstream): (usize, &Upstream)| {
            let settings = if number == 0 { &settings } else { &references };
            upstream.render(cluster_kind, settings)
        };
        self.upstreams.iter().enumerate().map(cluster).collect()
    }
}

impl Upstream {
    /// Whether both are the same host and port, in whatever spelling.
    pub(super) fn is_at_place_of(&self, other: &Self) -> bool {
        let host =
            |host: &str| host.parse::<IpAddr>().map_err(|_| host.trim_end_matches('.').to_ascii_lowercase());
        self.port == other.port && host(&self.host) == host(&other.host)
    }

    fn render(&self, cluster_kind: &str, settings: &str) -> String {
        let (kind, dns) = if self.is_ip { ("STATIC", "") } else { ("STRICT_DNS", DNS) };
        fill(
            CLUSTER,
            &[
                ("kind", cluster_kind),
                ("name", &quoted(&self.name)),
                // A dot would end the name where statistics become labels.
                ("stat_name", &quoted(&self.name.replace(['.', ':'], "_"))),
                ("type", kind),
                ("dns", dns),
                ("host", &quoted(&self.host)),
                ("port", &self.port.to_string()),
                ("settings", settings),
            ],
        )
    }
}

impl Plugin {
    fn render(&self) -> String {
        let hashrings = self.hashrings.trim().replace('\r', "");
        format!(
            "{{\n\
             \x20 \"hashrings\": {},\n\
             \x20 \"replication_factor\": {},\n\
             \x20 \"tenant_header\": {},\n\
             \x20 \"default_tenant\": {},\n\
             \x20 \"write_timeout_ms\": {},\n\
             \x20 \"body_bytes_max\": {}{}\n\
             }}",
            indented(&hashrings, 2).trim_start(),
            self.replication_factor,
            quoted(&self.tenant_header),
            quoted(&self.default_tenant),
            self.write_timeout_ms,
            self.body_bytes_max,
            self.optional(),
        )
    }

    /// What is there only if somebody set it.
    fn optional(&self) -> String {
        let refusal = self.refusal.iter().map(|refusal| ("refusal", serde_json::json!(refusal)));
        let settings = [
            ("in_flight_bytes_max", self.in_flight_bytes_max.map(serde_json::Value::from)),
            ("late_write_bytes_max", self.late_write_bytes_max.map(serde_json::Value::from)),
            ("access_log", self.access_log.then_some(true.into())),
            ("looks_inside", self.looks_inside.then_some(true.into())),
        ];
        let settings = settings.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let fields = settings.chain(self.limits.fields()).chain(refusal);
        fields.map(|(name, value)| format!(",\n  {}: {value}", quoted(name))).collect()
    }
}

/// Puts values into a template, each where `${its name}` stands. Values are not looked into.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut pieces = template.split("${");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once('}').unwrap_or((piece, ""));
        let value = values.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        assert!(value.is_some(), "the template asks for {name}");
        out.push_str(value.unwrap_or_default());
        out.push_str(rest);
    }
    out
}

/// For each `key: &anchor` of the settings, a line that refers to it.
fn references(settings: &str) -> String {
    let anchors = settings.lines().filter_map(|line| line.split_once(": &"));
    anchors.map(|(key, anchor)| format!("{key}: *{anchor}\n")).collect()
}

/// A string for JSON, which is one for YAML too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A duration as Envoy writes it.
fn seconds(ms: u64) -> String {
    match (ms / 1000, ms % 1000) {
        (seconds, 0) => format!("{seconds}s"),
        (seconds, ms) => format!("{seconds}.{ms:03}s"),
    }
}

/// Text whose every line ends, or none at all, further in.
fn lines(text: &str, by: usize) -> String {
    if text.is_empty() { String::new() } else { indented(text, by) + "\n" }
}

/// Every line that is not empty, further in.
fn indented(text: &str, by: usize) -> String {
    let line = |line: &str| if line.trim().is_empty() { String::new() } else { format!("{:by$}{line}", "") };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in_once() {
        assert_eq!(fill("a: ${a}, b: ${b}", &[("a", "${b}"), ("b", "2")]), "a: ${b}, b: 2");
    }

    #[test]
    fn durations_of_envoy() {
        assert_eq!([seconds(7_000), seconds(2_010)], ["7s", "2.010s"]);
    }

    #[test]
    fn settings_are_referred_to_by_their_anchors() {
        assert_eq!(references("    a: &x\n      b: 1\n    c: &y\n"), "    a: *x\n    c: *y\n");
    }
}
