//! What is written: series as a Kubernetes scrape makes them, and their values. Both are pure functions of
//! numbers, so every system gets the same bytes.
//!
//! A target is one pod with [`SERIES_PER_TARGET`] series of ten labels each. Most label values are shared by many
//! series and few by none, and a churned pod comes back with a new name and a new address.

use ringside_e2e::wire;

/// Series of one target: each metric name with each state.
pub(crate) const SERIES_PER_TARGET: usize = METRICS.len() * STATES.len();

/// How the values of a metric go. The counts of each in [`METRICS`] make the mixture.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Whole numbers that grow at a rate of the series' own, unevenly.
    Counter,
    /// A counter of events that do not happen.
    Idle,
    /// Seconds spent, in milliseconds' resolution.
    Seconds,
    /// A limit, an information metric, a start time.
    Constant,
    /// A small whole number that changes now and then.
    Level,
    /// Memory in pages.
    Bytes,
    /// A fraction with all its digits.
    Ratio,
}

use Shape::{Bytes, Constant, Counter, Idle, Level, Ratio, Seconds};

const METRICS: [(&str, Shape); 40] = [
    ("container_cpu_cfs_periods_total", Counter),
    ("container_cpu_usage_seconds_total", Seconds),
    ("container_fs_reads_bytes_total", Counter),
    ("container_fs_writes_bytes_total", Counter),
    ("container_memory_failures_total", Idle),
    ("container_memory_working_set_bytes", Bytes),
    ("container_network_receive_bytes_total", Counter),
    ("container_network_transmit_errors_total", Idle),
    ("container_processes", Level),
    ("container_spec_memory_limit_bytes", Constant),
    ("go_gc_duration_seconds_sum", Seconds),
    ("go_goroutines", Level),
    ("go_memstats_alloc_bytes_total", Counter),
    ("go_memstats_heap_inuse_bytes", Bytes),
    ("go_memstats_mallocs_total", Counter),
    ("go_threads", Constant),
    ("grpc_server_handled_total", Counter),
    ("grpc_server_msg_received_total", Counter),
    ("grpc_server_started_total", Counter),
    ("http_request_duration_seconds_bucket", Counter),
    ("http_request_duration_seconds_count", Counter),
    ("http_request_duration_seconds_sum", Seconds),
    ("http_requests_in_flight", Level),
    ("http_requests_total", Counter),
    ("http_response_size_bytes_sum", Counter),
    ("jobs_failed_total", Idle),
    ("jobs_queue_depth", Level),
    ("kube_pod_container_status_restarts_total", Idle),
    ("kube_pod_status_ready", Constant),
    ("process_cpu_seconds_total", Seconds),
    ("process_max_fds", Constant),
    ("process_open_fds", Level),
    ("process_resident_memory_bytes", Bytes),
    ("process_start_time_seconds", Constant),
    ("redis_commands_duration_seconds_total", Seconds),
    ("redis_keyspace_hit_ratio", Ratio),
    ("sql_client_connections_errors_total", Idle),
    ("sql_client_query_rows_total", Counter),
    ("thread_pool_utilization_ratio", Ratio),
    ("workqueue_adds_total", Counter),
];
const STATES: [&str; 5] = ["active", "canceled", "failed", "pending", "succeeded"];
const NAMESPACES: [&str; 12] = [
    "billing",
    "checkout",
    "default",
    "identity",
    "ingress-nginx",
    "kube-system",
    "logistics",
    "monitoring",
    "payments",
    "recommendations",
    "search",
    "storefront",
];
const WORKLOADS: [&str; 16] = [
    "api-gateway",
    "auth-proxy",
    "cart",
    "catalog-indexer",
    "coredns",
    "event-consumer",
    "frontend",
    "inventory-sync",
    "ledger-writer",
    "mailer",
    "nginx-controller",
    "notification-worker",
    "order-processor",
    "pricing",
    "session-cache",
    "shipping-rates",
];
/// What Kubernetes makes random names of.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const PODS_PER_WORKLOAD: u64 = 10;

/// The label fields of every series of a target, in a target's life number `life`.
pub(crate) fn labels_of_target(target: u64, life: u64) -> Vec<Vec<u8>> {
    let deployment = target / PODS_PER_WORKLOAD;
    let workload = WORKLOADS[(deployment % WORKLOADS.len() as u64) as usize];
    let namespace = NAMESPACES[(deployment / WORKLOADS.len() as u64 % NAMESPACES.len() as u64) as usize];
    let identity = mix(target ^ life << 40);
    let pod =
        format!("{workload}-{}-{}", random_name(mix(deployment ^ 0x5eed), 10), random_name(identity, 5));
    let instance =
        format!("10.{}.{}.{}:8080", identity >> 8 & 127, identity >> 16 & 255, identity >> 24 & 255);
    let mut all = Vec::with_capacity(SERIES_PER_TARGET);
    for (name, _) in METRICS {
        for state in STATES {
            let mut fields = Vec::new();
            for (name, value) in [
                ("__name__", name),
                ("cluster", "production-eu-1"),
                ("container", workload),
                ("endpoint", "http-metrics"),
                ("instance", &instance),
                ("job", workload),
                ("namespace", namespace),
                ("pod", &pod),
                ("service", workload),
                ("state", state),
            ] {
                wire::label(&mut fields, name.as_bytes(), value.as_bytes());
            }
            all.push(fields);
        }
    }
    all
}

/// The value of a target's series number `index` at scrape number `step`.
pub(crate) fn value(target: u64, index: usize, step: u64) -> f64 {
    let seed = mix(target << 16 | index as u64);
    let (small, large) = (seed & 0xff, seed >> 16 & 0x000f_ffff);
    let jitter = |changes_every: u64, below: u64| mix(seed ^ (step / changes_every)) % below;
    match METRICS[index / STATES.len() % METRICS.len()].1 {
        // A rate between 1 and 5 k per scrape, most of them small.
        Counter => {
            let rate = 1 + (small * small * small) / 3300;
            (large + step * rate + jitter(1, rate)) as f64
        }
        Idle => (small / 64) as f64,
        Seconds => (large + step * (1 + small) + jitter(1, 1 + small)) as f64 / 1000.0,
        Constant => large as f64,
        Level => (small + jitter(4, 8)) as f64,
        Bytes => (4096 * (large + jitter(2, 64))) as f64,
        Ratio => (jitter(1, 1 << 53)) as f64 / (1_u64 << 53) as f64,
    }
}

fn random_name(seed: u64, length: usize) -> String {
    let letters = ALPHABET.len() as u64;
    let mut rest = mix(seed);
    let mut name = String::new();
    for _ in 0..length {
        name.push(char::from(ALPHABET[(rest % letters) as usize]));
        rest /= letters;
    }
    name
}

/// splitmix64: spreads any two inputs far apart.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
