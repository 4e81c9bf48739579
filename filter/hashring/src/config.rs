//! The JSON of one hashring, as Thanos spells it. This file says which fields
//! exist and of which type; `hashrings.rs` judges what they say together.
//!
//! Unknown fields are refused, where Thanos passes over them: a misspelt
//! `tenants` would make a ring the default.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::error::ConfigError;
use crate::glob::Glob;
use crate::hashring::Endpoint;
use crate::hashrings::Tenants;

/// One hashring with its fields read, but not yet its ring built.
pub(crate) struct RingConfig {
    /// Its name and place, for messages.
    pub(crate) label: String,
    pub(crate) name: String,
    pub(crate) tenants: Tenants,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) external_labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRing {
    #[serde(default)]
    hashring: Option<String>,
    #[serde(default)]
    tenants: Option<Vec<String>>,
    #[serde(default)]
    tenant_matcher_type: Option<String>,
    endpoints: Option<Vec<Value>>,
    #[serde(default)]
    algorithm: Option<String>,
    #[serde(default)]
    external_labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    shuffle_sharding_config: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEndpoint {
    address: String,
    /// Thanos' other protocol between nodes. We speak HTTP to `address`, and do not hash this either.
    #[serde(default, rename = "capnproto_address")]
    _capnproto_address: Option<String>,
    #[serde(default)]
    az: Option<String>,
}

impl RingConfig {
    /// Reads the hashring at `index` of the array.
    pub(crate) fn read(index: usize, value: Value) -> Result<Self, ConfigError> {
        let label = match value.get("hashring").and_then(Value::as_str) {
            None | Some("") => format!("#{index}"),
            Some(name) => format!("{name:?} (#{index})"),
        };
        let raw: RawRing = serde_json::from_value(value)
            .map_err(|source| ConfigError::Field { hashring: label.clone(), source })?;
        check_supported(&label, &raw)?;
        let tenants = tenants(&label, raw.tenants.unwrap_or_default(), raw.tenant_matcher_type)?;
        let endpoints = raw.endpoints.unwrap_or_default();
        let endpoints =
            endpoints.into_iter().enumerate().map(|(index, value)| endpoint(&label, index, value));
        let endpoints = endpoints.collect::<Result<_, _>>()?;
        let name = raw.hashring.unwrap_or_default();
        Ok(Self { label, name, tenants, endpoints, external_labels: raw.external_labels.unwrap_or_default() })
    }
}

fn check_supported(label: &str, raw: &RawRing) -> Result<(), ConfigError> {
    match raw.algorithm.as_deref() {
        None | Some("" | "ketama") => {}
        Some(algorithm) => {
            return Err(ConfigError::Algorithm {
                hashring: label.to_owned(),
                algorithm: algorithm.to_owned(),
            });
        }
    }
    // Programs that write this file from Thanos' own types write the field also where it is off.
    let off = match &raw.shuffle_sharding_config {
        None | Some(Value::Null) => true,
        Some(config) => config.get("shard_size").is_some_and(|size| *size == 0),
    };
    if off { Ok(()) } else { Err(ConfigError::ShuffleSharding { hashring: label.to_owned() }) }
}

fn tenants(label: &str, tenants: Vec<String>, matcher: Option<String>) -> Result<Tenants, ConfigError> {
    let glob = match matcher.as_deref() {
        None | Some("" | "exact") => false,
        Some("glob") => true,
        Some(matcher) => {
            let matcher = matcher.to_owned();
            return Err(ConfigError::TenantMatcherType { hashring: label.to_owned(), matcher });
        }
    };
    if tenants.is_empty() {
        return Ok(Tenants::All);
    }
    if !glob {
        return Ok(Tenants::Exact(tenants));
    }
    let read = |pattern: String| {
        Glob::new(&pattern).map_err(|source| ConfigError::TenantPattern {
            hashring: label.to_owned(),
            pattern,
            source,
        })
    };
    tenants.into_iter().map(read).collect::<Result<_, _>>().map(Tenants::Glob)
}

fn endpoint(label: &str, index: usize, value: Value) -> Result<Endpoint, ConfigError> {
    if let Value::String(address) = value {
        return Ok(Endpoint { address, az: String::new() });
    }
    let raw: RawEndpoint = serde_json::from_value(value).map_err(|source| ConfigError::Endpoint {
        hashring: label.to_owned(),
        index,
        source,
    })?;
    Ok(Endpoint { address: raw.address, az: raw.az.unwrap_or_default() })
}
