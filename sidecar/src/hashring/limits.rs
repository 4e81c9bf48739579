//! `--limits`: what tenants may send, as the filter enforces it.
//!
//! ```yaml
//! default: {samples_per_second: 100000, burst: 300000, body_bytes: 4194304}
//! tenants:
//!   acme: {samples_per_second: 500000, series_per_request: 10000, labels_per_series: 60}
//! ```
//! A tenant that is listed has its own limits as a whole, none of the default's. What is not set is not limited.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use ringside_proto::settings::{LIMIT_NAMES, LIMIT_VALUES};
use ringside_proto::tenant;
use serde::Deserialize;
use serde_json::{Value, json};

/// Limits that the filter takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    default: OfOne,
    tenants: BTreeMap<String, OfOne>,
}

type OfOne = BTreeMap<String, u64>;

impl Limits {
    /// Reads the text of a file. Empty content sets no limit.
    pub(super) fn parse(yaml: &str) -> anyhow::Result<Self> {
        let limits: Option<Self> = serde_saphyr::from_str(yaml)?;
        let limits = limits.unwrap_or_default();
        judge(&limits.default).context("default")?;
        for (name, own) in &limits.tenants {
            tenant::validate(name).with_context(|| format!("tenant {name:?}"))?;
            judge(own).with_context(|| format!("tenant {name:?}"))?;
        }
        Ok(limits)
    }

    /// The fields of the filter's configuration that it makes.
    pub(super) fn fields(&self) -> Vec<(&'static str, Value)> {
        let default = (!self.default.is_empty()).then(|| ("limits", json!(self.default)));
        let tenants = (!self.tenants.is_empty()).then(|| ("tenant_limits", json!(self.tenants)));
        default.into_iter().chain(tenants).collect()
    }
}

/// Refuses what the filter would refuse.
fn judge(limits: &OfOne) -> anyhow::Result<()> {
    for (name, value) in limits {
        ensure!(
            LIMIT_NAMES.contains(&name.as_str()),
            "{name:?} is no limit: they are {}",
            LIMIT_NAMES.join(", ")
        );
        let (min, max) = (LIMIT_VALUES.start(), LIMIT_VALUES.end());
        ensure!(LIMIT_VALUES.contains(value), "{name} is {value}; it must be {min} to {max}");
    }
    let alone = limits.contains_key("burst") && !limits.contains_key("samples_per_second");
    ensure!(!alone, "burst needs samples_per_second beside it");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_takes_what_is_taken_here() {
        let all: OfOne = LIMIT_NAMES.into_iter().map(|name| (name.to_owned(), *LIMIT_VALUES.end())).collect();
        let yaml = json!({"default": all, "tenants": {"acme": all, "free": {}}}).to_string();
        let limits = Limits::parse(&yaml).unwrap();
        let mut config = json!({"hashrings": [{"endpoints": ["a", "b", "c"]}]});
        for (name, value) in limits.fields() {
            config[name] = value;
        }
        let config = ringside_filter_core::Config::parse(config.to_string().as_bytes()).unwrap();
        assert_eq!(config.limits.body_bytes, Some(*LIMIT_VALUES.end()));
        assert_eq!(config.tenant_limits.len(), 2);
    }

    #[test]
    fn nothing_is_no_limit() {
        for yaml in ["", "{}", "default: {}\n", "# later\n"] {
            assert!(Limits::parse(yaml).unwrap().fields().is_empty(), "{yaml}");
        }
    }

    #[test]
    fn refusals_name_the_limit() {
        let error = |yaml: &str| format!("{:#}", Limits::parse(yaml).unwrap_err());
        assert!(error("default: {sample_rate: 5}").contains("\"sample_rate\" is no limit"));
        assert!(error("default: {body_bytes: 0}").contains("default: body_bytes is 0; it must be 1 to"));
        assert!(error("tenants: {acme: {burst: 5}}").contains("tenant \"acme\": burst needs"));
        assert!(error("tenants: {a/b: {}}").contains("tenant \"a/b\""));
        assert!(error("tenant: {}").contains("tenant"));
    }
}
