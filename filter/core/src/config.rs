//! The plugin configuration: its JSON, defaults and bounds.
//!
//! Owns what an operator may set. The hashrings within are read by `ringside_hashring`.
//!
//! Invariant: a [`Config`] exists only if every bound holds; the error names the field and the bound.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ringside_hashring::{ConfigError as RingError, Hashrings, hash_bytes};
use ringside_proto::DECODED_BYTES_MAX;
use ringside_proto::settings::{
    BODY_BYTES, IN_FLIGHT_BYTES, REPLICATION_FACTOR, TIMEOUT_MS, is_header_name, late_write_timeout_ms,
};
use ringside_proto::tenant::TenantError;
use serde::Deserialize;

use crate::limits::{Limits, LimitsError, RawLimits};
use crate::tenant::TenantId;

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which sidecars hold which tenant's series.
    pub hashrings: Hashrings,
    /// The number of sidecars that hold each series, 1 to 16, default 3.
    pub replication_factor: usize,
    /// The request header that may name the tenant, in lower case; default `thanos-tenant`.
    pub tenant_header: String,
    /// The tenant of requests that name none; default `default-tenant`.
    pub default_tenant: TenantId,
    /// How long a client may wait for its verdict, 10 to 300,000 ms, default 5,000. A sidecar that has not answered
    /// by then counts as unavailable.
    pub write_timeout_ms: u32,
    /// How long a sidecar may take to answer, `write_timeout_ms` to 300,000 ms, default three times
    /// `write_timeout_ms`: a write that is late for its client is still worth storing.
    pub late_write_timeout_ms: u32,
    /// The largest body as it arrives, 1 KiB to 32 MiB, default 32 MiB.
    pub body_bytes_max: usize,
    /// The largest body as it declares itself decompressed, 1 KiB to 32 MiB, default 32 MiB.
    pub decoded_bytes_max: usize,
    /// The most bytes under way to all sidecars from one worker, 1 MiB to 1 GiB, default 256 MiB; and as many again of
    /// bodies that are not whole. Beyond it a write gets 503 at once.
    pub in_flight_bytes_max: usize,
    /// The most that may be under way from one worker of writes that have their verdict, 1 MiB to 1 GiB, default half of
    /// `in_flight_bytes_max`. Beyond it, the sidecars that keep it waiting get nothing more.
    pub late_write_bytes_max: usize,
    /// Whether every body is looked into here whose tenant has a limit; default false. Sidecars say how much they were sent
    /// and judge what is in it, Thanos Receive ingestors do neither.
    pub looks_inside: bool,
    /// Whether Envoy's access log is told the tenant, the series and the verdict of each write; default false. The sidecars
    /// are then asked how many series an unchanged body has.
    pub access_log: bool,
    /// The limits of tenants for which neither metadata nor `tenant_limits` has any, default no limit.
    pub limits: Limits,
    /// The limits of single tenants, each as a whole in place of `limits`.
    pub tenant_limits: BTreeMap<TenantId, Limits>,
    /// What `ringside hashring render` refused after it wrote this configuration.
    pub refusal: Option<Refusal>,
    /// Tells this configuration from others.
    pub hash: u64,
    /// Tells its hashrings from others.
    pub hashrings_hash: u64,
}

/// A change of the hashrings or the limits that was not made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Why, in one line.
    pub reason: String,
    /// When, in milliseconds since the Unix epoch, which tells it from the ones before.
    pub at_ms: u64,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    #[error("the plugin configuration is not valid: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{field} is {value}; it must be {min} to {max}")]
    Bounds { field: &'static str, value: u64, min: u64, max: u64 },
    #[error("tenant_header is {value:?}; it must be the name of an HTTP header")]
    TenantHeader { value: String },
    #[error("default_tenant is {value:?}: {error}")]
    DefaultTenant { value: String, error: TenantError },
    #[error("tenant_limits of {value:?}: {error}")]
    LimitedTenant { value: String, error: TenantError },
    #[error(transparent)]
    Limits(#[from] LimitsError),
    #[error(transparent)]
    Hashrings(#[from] RingError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    hashrings: serde_json::Value,
    #[serde(default = "default_replication_factor")]
    replication_factor: u64,
    #[serde(default = "default_tenant_header")]
    tenant_header: String,
    #[serde(default = "default_tenant")]
    default_tenant: String,
    #[serde(default = "default_write_timeout_ms")]
    write_timeout_ms: u64,
    late_write_timeout_ms: Option<u64>,
    #[serde(default = "default_body_bytes_max")]
    body_bytes_max: u64,
    #[serde(default = "default_body_bytes_max")]
    decoded_bytes_max: u64,
    #[serde(default = "default_in_flight_bytes_max")]
    in_flight_bytes_max: u64,
    late_write_bytes_max: Option<u64>,
    #[serde(default)]
    looks_inside: bool,
    #[serde(default)]
    access_log: bool,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    tenant_limits: BTreeMap<String, RawLimits>,
    refusal: Option<Refusal>,
}

fn default_replication_factor() -> u64 {
    3
}

fn default_tenant_header() -> String {
    "THANOS-TENANT".to_owned()
}

fn default_tenant() -> String {
    "default-tenant".to_owned()
}

fn default_write_timeout_ms() -> u64 {
    5000
}

fn default_body_bytes_max() -> u64 {
    DECODED_BYTES_MAX as u64
}

fn default_in_flight_bytes_max() -> u64 {
    256 << 20
}

impl Config {
    /// Reads and judges the plugin configuration.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let raw: Raw = serde_json::from_slice(json)?;
        let replication_factor =
            bounded("replication_factor", raw.replication_factor, REPLICATION_FACTOR)? as usize;
        let write_timeout_ms = bounded("write_timeout_ms", raw.write_timeout_ms, TIMEOUT_MS)?;
        let late = raw.late_write_timeout_ms.unwrap_or_else(|| late_write_timeout_ms(write_timeout_ms));
        let late_write_timeout_ms =
            bounded("late_write_timeout_ms", late, write_timeout_ms..=*TIMEOUT_MS.end())?;
        let body_bytes_max = bounded("body_bytes_max", raw.body_bytes_max, BODY_BYTES)? as usize;
        let decoded_bytes_max = bounded("decoded_bytes_max", raw.decoded_bytes_max, BODY_BYTES)? as usize;
        let in_flight_bytes_max = bounded("in_flight_bytes_max", raw.in_flight_bytes_max, IN_FLIGHT_BYTES)?;
        let late_write_bytes_max =
            raw.late_write_bytes_max.unwrap_or((in_flight_bytes_max / 2).max(*IN_FLIGHT_BYTES.start()));
        let late_write_bytes_max = bounded("late_write_bytes_max", late_write_bytes_max, IN_FLIGHT_BYTES)?;
        if !is_header_name(&raw.tenant_header) {
            return Err(ConfigError::TenantHeader { value: raw.tenant_header });
        }
        let default_tenant = match TenantId::new(&raw.default_tenant) {
            Ok(tenant) => tenant,
            Err(error) => return Err(ConfigError::DefaultTenant { value: raw.default_tenant, error }),
        };
        let hashrings_hash = hash_bytes(raw.hashrings.to_string().as_bytes(), 0);
        let mut tenant_limits = BTreeMap::new();
        for (value, limits) in raw.tenant_limits {
            let tenant =
                TenantId::new(&value).map_err(|error| ConfigError::LimitedTenant { value, error })?;
            tenant_limits.insert(tenant, limits.try_into()?);
        }
        Ok(Self {
            hashrings: Hashrings::from_value(raw.hashrings, replication_factor)?,
            replication_factor,
            tenant_header: raw.tenant_header.to_ascii_lowercase(),
            default_tenant,
            write_timeout_ms: write_timeout_ms as u32,
            late_write_timeout_ms: late_write_timeout_ms as u32,
            body_bytes_max,
            decoded_bytes_max,
            in_flight_bytes_max: in_flight_bytes_max as usize,
            late_write_bytes_max: late_write_bytes_max as usize,
            looks_inside: raw.looks_inside,
            access_log: raw.access_log,
            limits: raw.limits.try_into()?,
            tenant_limits,
            refusal: raw.refusal,
            hash: hash_bytes(json, 0),
            hashrings_hash,
        })
    }

    /// The limits of a tenant for which metadata has none.
    pub fn limits_of(&self, tenant: &TenantId) -> &Limits {
        self.tenant_limits.get(tenant).unwrap_or(&self.limits)
    }
}

fn bounded(field: &'static str, value: u64, bounds: RangeInclusive<u64>) -> Result<u64, ConfigError> {
    if bounds.contains(&value) {
        return Ok(value);
    }
    let (min, max) = bounds.into_inner();
    Err(ConfigError::Bounds { field, value, min, max })
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{Config, Limits, TenantId};

    const RINGS: &str = r#""hashrings":[{"endpoints":["a:1","b:1","c:1"],"algorithm":"ketama"}]"#;

    fn error(fields: &str) -> String {
        Config::parse(format!("{{{RINGS}{fields}}}").as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn only_the_hashrings_are_required() {
        let config = Config::parse(format!("{{{RINGS}}}").as_bytes()).unwrap();
        assert_eq!(config.replication_factor, 3);
        assert_eq!(config.tenant_header, "thanos-tenant");
        assert_eq!(config.default_tenant.as_str(), "default-tenant");
        assert_eq!((config.write_timeout_ms, config.late_write_timeout_ms), (5000, 15_000));
        assert_eq!((config.body_bytes_max, config.decoded_bytes_max), (32 << 20, 32 << 20));
        assert_eq!(config.in_flight_bytes_max, 256 << 20);
        assert_eq!(config.late_write_bytes_max, 128 << 20);
        assert!(!config.looks_inside);
        assert_eq!((config.limits, config.refusal), (Limits::default(), None));
    }

    #[test]
    fn every_field_is_read() {
        let json = format!(
            r#"{{{RINGS},"replication_factor":2,"tenant_header":"X-Scope-OrgID","default_tenant":"t",
                "write_timeout_ms":250,"late_write_timeout_ms":300,"body_bytes_max":2048,"decoded_bytes_max":4096,
                "in_flight_bytes_max":2097152,"late_write_bytes_max":1048577,
                "looks_inside":true,"limits":{{"samples_per_second":10,"label_value_bytes":5}},
                "tenant_limits":{{"a":{{"series_per_request":7}},"b":{{}}}},
                "refusal":{{"reason":"no","at_ms":5}}}}"#
        );
        let config = Config::parse(json.as_bytes()).unwrap();
        assert_eq!(config.replication_factor, 2);
        assert_eq!(config.tenant_header, "x-scope-orgid");
        assert_eq!(config.default_tenant.as_str(), "t");
        assert_eq!((config.write_timeout_ms, config.late_write_timeout_ms), (250, 300));
        assert_eq!((config.body_bytes_max, config.decoded_bytes_max), (2048, 4096));
        assert_eq!(config.in_flight_bytes_max, 2 << 20);
        assert_eq!(config.late_write_bytes_max, (1 << 20) + 1);
        assert_eq!(config.refusal.as_ref().map(|refusal| (&*refusal.reason, refusal.at_ms)), Some(("no", 5)));
        assert!(config.looks_inside);
        let limits_of = |tenant| *config.limits_of(&TenantId::new(tenant).unwrap());
        assert_eq!(limits_of("a").content.series_per_request, Some(7));
        assert_eq!((limits_of("a").rate, limits_of("b")), (None, Limits::default()));
        assert_eq!(limits_of("c"), config.limits);
        assert_eq!(config.limits.rate.map(|rate| rate.burst), Some(10));
        assert_eq!(config.limits.content.label_value_bytes, Some(5));
    }

    #[test]
    fn errors_name_the_field_and_the_bound() {
        assert_eq!(error(r#","replication_factor":0"#), "replication_factor is 0; it must be 1 to 16");
        assert_eq!(error(r#","write_timeout_ms":0"#), "write_timeout_ms is 0; it must be 10 to 300000");
        let late = error(r#","late_write_timeout_ms":4999"#);
        assert_eq!(late, "late_write_timeout_ms is 4999; it must be 5000 to 300000");
        assert_eq!(error(r#","body_bytes_max":7"#), "body_bytes_max is 7; it must be 1024 to 33554432");
        assert!(error(r#","decoded_bytes_max":4294967296"#).starts_with("decoded_bytes_max is 4294967296"));
        assert!(error(r#","in_flight_bytes_max":1"#).starts_with("in_flight_bytes_max is 1; it must be"));
        assert!(error(r#","limits":{"body_bytes":0}"#).starts_with("the limit body_bytes must be"));
        assert!(error(r#","limits":{"burst":5}"#).contains("needs samples_per_second"));
        assert!(error(r#","tenant_limits":{"..":{}}"#).starts_with("tenant_limits of \"..\""));
        assert!(error(r#","late_write_bytes_max":1"#).starts_with("late_write_bytes_max is 1; it must be"));
        assert!(error(r#","limits":{"bodybytes":5}"#).contains("unknown field `bodybytes`"));
        assert!(error(r#","tenant_header":"a b""#).starts_with("tenant_header is \"a b\""));
        assert!(error(r#","default_tenant":"..""#).starts_with("default_tenant is \"..\""));
        assert!(error(r#","replicaton_factor":3"#).contains("unknown field `replicaton_factor`"));
        assert!(error(r#","write_timeout_ms":"5s""#).contains("invalid type: string"));
    }

    #[test]
    fn hashrings_are_required_and_judged() {
        assert!(Config::parse(b"{}").unwrap_err().to_string().contains("missing field `hashrings`"));
        assert!(Config::parse(b"").unwrap_err().to_string().contains("EOF"));
        let too_few = br#"{"hashrings":[{"endpoints":["a:1"],"algorithm":"ketama"}]}"#;
        assert!(Config::parse(too_few).unwrap_err().to_string().contains("hashring"));
    }
}
