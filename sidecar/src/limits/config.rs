//! `--receive.limits-config`: Thanos' YAML of write limits, with keys of our own, checked.
//!
//! ```yaml
//! write:
//!   global: {max_concurrency: 30, head_series_limit: 5000000}
//!   default:
//!     request: {size_bytes_limit: 1048576, series_limit: 1000, samples_limit: 10000}
//!     head_series_limit: 1000000
//!     labels_per_series_limit: 50
//!     label_name_bytes_limit: 128
//!     label_value_bytes_limit: 2048
//!   tenants:
//!     acme: {request: {series_limit: 0}, head_series_limit: 2000000}
//! ```
//! Ours are `global.head_series_limit` and the three on labels. 0 stands for no limit; what a tenant does not set it
//! takes from `default`. Unknown keys are refused.

use std::collections::BTreeMap;

use ringside_proto::tenant::TenantError;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::tenant_id::TenantId;

/// All limits of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LimitsConfig {
    /// Writes that are read and stored at once; more wait. 0 for any number.
    pub(crate) concurrency_max: usize,
    /// Series in the heads of all tenants together; 0 for any number.
    pub(crate) series_max: u64,
    default: TenantLimits,
    tenants: BTreeMap<TenantId, TenantLimits>,
}

/// Limits of one tenant; 0 stands for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TenantLimits {
    /// Bytes of a body, compressed and decoded.
    pub(crate) body_bytes_max: u64,
    /// Series of a request.
    pub(crate) series_max: u64,
    /// Samples of a request, of every kind.
    pub(crate) samples_max: u64,
    /// What its storage bounds.
    pub(crate) storage: ringside_tsdb::Limits,
}

/// Why the limits are refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LimitsConfigError {
    #[error("{0}")]
    Yaml(String),
    #[error("write.tenants: {name:?}: {source}")]
    Tenant { name: String, source: TenantError },
}

impl LimitsConfig {
    /// Reads the YAML. Empty content sets no limit.
    pub(crate) fn parse(yaml: &str) -> Result<Self, LimitsConfigError> {
        let file: Option<File> =
            serde_saphyr::from_str(yaml).map_err(|e| LimitsConfigError::Yaml(e.to_string()))?;
        let write = file.unwrap_or_default().write.unwrap_or_default();
        let global = write.global.unwrap_or_default();
        let meta_monitoring = global.meta_monitoring_url.is_some()
            || global.meta_monitoring_limit_query.is_some()
            || global.meta_monitoring_http_client.is_some();
        if meta_monitoring {
            tracing::info!("limits: meta_monitoring_* is not needed, each sidecar counts its own series");
        }
        let default = write.default.unwrap_or_default().over(TenantLimits::default());
        let tenants = write.tenants.unwrap_or_default().into_iter().map(|(name, limits)| {
            let tenant =
                TenantId::parse(&name).map_err(|source| LimitsConfigError::Tenant { name, source })?;
            Ok((tenant, limits.unwrap_or_default().over(default)))
        });
        Ok(Self {
            concurrency_max: global.max_concurrency,
            series_max: global.head_series_limit,
            default,
            tenants: tenants.collect::<Result<_, LimitsConfigError>>()?,
        })
    }

    /// The limits of one tenant.
    pub(crate) fn of(&self, tenant: &TenantId) -> TenantLimits {
        self.tenants.get(tenant).copied().unwrap_or(self.default)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    write: Option<Write>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Write {
    global: Option<Global>,
    default: Option<Tenant>,
    tenants: Option<BTreeMap<String, Option<Tenant>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Global {
    max_concurrency: usize,
    head_series_limit: u64,
    meta_monitoring_url: Option<String>,
    meta_monitoring_limit_query: Option<String>,
    meta_monitoring_http_client: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tenant {
    request: Option<Request>,
    head_series_limit: Option<u64>,
    labels_per_series_limit: Option<u64>,
    label_name_bytes_limit: Option<u64>,
    label_value_bytes_limit: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Request {
    size_bytes_limit: Option<u64>,
    series_limit: Option<u64>,
    samples_limit: Option<u64>,
}

impl Tenant {
    fn over(self, base: TenantLimits) -> TenantLimits {
        let request = self.request.unwrap_or_default();
        let storage = base.storage;
        TenantLimits {
            body_bytes_max: request.size_bytes_limit.unwrap_or(base.body_bytes_max),
            series_max: request.series_limit.unwrap_or(base.series_max),
            samples_max: request.samples_limit.unwrap_or(base.samples_max),
            storage: ringside_tsdb::Limits {
                series_max: self.head_series_limit.unwrap_or(storage.series_max),
                labels_per_series_max: self.labels_per_series_limit.unwrap_or(storage.labels_per_series_max),
                label_name_bytes_max: self.label_name_bytes_limit.unwrap_or(storage.label_name_bytes_max),
                label_value_bytes_max: self.label_value_bytes_limit.unwrap_or(storage.label_value_bytes_max),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    #[test]
    fn a_file_of_thanos_is_taken_and_tenants_inherit() {
        let config = LimitsConfig::parse(
            "
write:
  global:
    max_concurrency: 30
    meta_monitoring_url: \"http://localhost:9090\"
    meta_monitoring_limit_query: \"sum(prometheus_tsdb_head_series) by (tenant)\"
    meta_monitoring_http_client:
      basic_auth: {username: a, password: b}
  default:
    request:
      size_bytes_limit: 1024
      series_limit: 1000
      samples_limit: 10
    head_series_limit: 1000
  tenants:
    acme:
      request:
        size_bytes_limit: 0
        series_limit: 100
      head_series_limit: 2000
    plain:
",
        )
        .unwrap();
        assert_eq!((config.concurrency_max, config.series_max), (30, 0));
        let storage = ringside_tsdb::Limits { series_max: 1000, ..Default::default() };
        let default = TenantLimits { body_bytes_max: 1024, series_max: 1000, samples_max: 10, storage };
        assert_eq!(config.of(&tenant("other")), default);
        assert_eq!(config.of(&tenant("plain")), default);
        let storage = ringside_tsdb::Limits { series_max: 2000, ..Default::default() };
        let acme = TenantLimits { body_bytes_max: 0, series_max: 100, samples_max: 10, storage };
        assert_eq!(config.of(&tenant("acme")), acme);
    }

    #[test]
    fn our_own_keys() {
        let config = LimitsConfig::parse(
            "write: {global: {head_series_limit: 9}, default: {labels_per_series_limit: 3}, tenants: \
             {acme: {label_name_bytes_limit: 4, label_value_bytes_limit: 5}}}",
        )
        .unwrap();
        assert_eq!(config.series_max, 9);
        let acme = config.of(&tenant("acme")).storage;
        assert_eq!(
            (acme.labels_per_series_max, acme.label_name_bytes_max, acme.label_value_bytes_max),
            (3, 4, 5)
        );
    }

    #[test]
    fn nothing_is_no_limit() {
        for yaml in ["", "\n", "# a comment\n", "{}", "write:\n", "write: {default: , tenants: }"] {
            assert_eq!(LimitsConfig::parse(yaml).unwrap(), LimitsConfig::default(), "{yaml:?}");
        }
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        for (yaml, part) in [
            ("writ: {}", "writ"),
            ("write: {default: {request: {serie_limit: 1}}}", "serie_limit"),
            ("write: {default: {head_series_limit: -1}}", "-1"),
            ("write: {default: {head_series_limit: many}}", "many"),
            ("write: {global: {max_concurrency: 1.5}}", "1.5"),
            ("write: {tenants: {\"a/b\": {}}}", "a/b"),
            ("write: [", ""),
            ("just text", ""),
        ] {
            let message = LimitsConfig::parse(yaml).unwrap_err().to_string();
            assert!(message.contains(part), "{yaml}: {message}");
        }
    }
}
