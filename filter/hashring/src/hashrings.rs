//! All hashrings of a `hashrings.json`, and which of them is a tenant's. Rings
//! are tried in the order of the file and the first match wins, as in Thanos.
//!
//! What cannot serve, or could serve differently than it reads, is refused as
//! a whole: whoever loads a new file keeps the last good one.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::RingConfig;
use crate::error::ConfigError;
use crate::glob::Glob;
use crate::hashring::Hashring;

/// The tenants of a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenants {
    /// Every tenant that no ring before it matches: the default ring.
    All,
    /// These tenants.
    Exact(Vec<String>),
    /// The tenants that match one of these patterns.
    Glob(Vec<Glob>),
}

impl Tenants {
    /// Whether a tenant is among them.
    pub fn matches(&self, tenant: &str) -> bool {
        match self {
            Tenants::All => true,
            Tenants::Exact(tenants) => tenants.iter().any(|listed| listed == tenant),
            Tenants::Glob(patterns) => patterns.iter().any(|pattern| pattern.matches(tenant)),
        }
    }
}

/// One ring of the file.
#[derive(Debug, Clone)]
pub struct NamedRing {
    name: String,
    tenants: Tenants,
    external_labels: BTreeMap<String, String>,
    ring: Hashring,
}

impl NamedRing {
    /// The name; empty where the file gives none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tenants that it is for.
    pub fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// Labels that Thanos adds to the blocks of tenants that are listed exactly.
    pub fn external_labels(&self) -> &BTreeMap<String, String> {
        &self.external_labels
    }

    /// The ring itself.
    pub fn ring(&self) -> &Hashring {
        &self.ring
    }
}

/// A whole `hashrings.json`. There is at least one ring.
#[derive(Debug, Clone)]
pub struct Hashrings {
    rings: Vec<NamedRing>,
    /// The ring of each tenant that is listed exactly.
    exact: BTreeMap<String, usize>,
    /// The other rings, ascending: patterns, and the default.
    others: Vec<usize>,
}

impl Hashrings {
    /// Reads the text of a `hashrings.json`.
    pub fn parse(json: &[u8], replication_factor: usize) -> Result<Self, ConfigError> {
        let value = serde_json::from_slice(json).map_err(ConfigError::Json)?;
        Self::from_value(value, replication_factor)
    }

    /// Reads a `hashrings.json` that is part of a larger document.
    pub fn from_value(value: Value, replication_factor: usize) -> Result<Self, ConfigError> {
        let Value::Array(values) = value else { return Err(ConfigError::NotAnArray) };
        if values.is_empty() {
            return Err(ConfigError::Empty);
        }
        let configs = values.into_iter().enumerate().map(|(index, value)| RingConfig::read(index, value));
        let configs = configs.collect::<Result<Vec<_>, _>>()?;
        let (exact, others) = match_tenants(&configs)?;
        let rings = configs.into_iter().map(|config| build(config, replication_factor));
        Ok(Self { rings: rings.collect::<Result<_, _>>()?, exact, others })
    }

    /// The ring of a tenant, if it has one.
    pub fn for_tenant(&self, tenant: &str) -> Option<&Hashring> {
        self.named_for_tenant(tenant).map(NamedRing::ring)
    }

    /// The ring of a tenant, with its name.
    pub fn named_for_tenant(&self, tenant: &str) -> Option<&NamedRing> {
        let exact = self.exact.get(tenant).copied();
        let others = self.others.iter().copied();
        let earlier = others.take_while(|other| exact.is_none_or(|exact| *other < exact));
        let matches = |ring: &usize| self.rings.get(*ring).is_some_and(|ring| ring.tenants.matches(tenant));
        let first = { earlier }.find(matches).or(exact)?;
        self.rings.get(first)
    }

    /// The ring of a name. Rings without one are not found by it.
    pub fn named(&self, name: &str) -> Option<&Hashring> {
        let named = |ring: &&NamedRing| !name.is_empty() && ring.name == name;
        self.rings.iter().find(named).map(NamedRing::ring)
    }

    /// Every ring, in the order of the file.
    pub fn rings(&self) -> &[NamedRing] {
        &self.rings
    }
}

/// Which ring lists which tenant exactly, and which rings match otherwise.
fn match_tenants(configs: &[RingConfig]) -> Result<(BTreeMap<String, usize>, Vec<usize>), ConfigError> {
    let label = |index: usize| configs.get(index).map(|config| config.label.clone()).unwrap_or_default();
    let mut exact = BTreeMap::new();
    let mut patterns = BTreeMap::new();
    let mut others = Vec::new();
    let mut default = None;
    for (index, config) in configs.iter().enumerate() {
        let list = |listed: &mut BTreeMap<String, usize>, tenant: &str| {
            let first = *listed.entry(tenant.to_owned()).or_insert(index);
            if first == index {
                return Ok(());
            }
            let (tenant, first, second) = (tenant.to_owned(), label(first), label(index));
            Err(ConfigError::TenantTwice { tenant, first, second })
        };
        match &config.tenants {
            Tenants::Exact(tenants) => tenants.iter().try_for_each(|tenant| list(&mut exact, tenant))?,
            Tenants::Glob(globs) => {
                globs.iter().try_for_each(|glob| list(&mut patterns, glob.as_str()))?;
                others.push(index);
            }
            Tenants::All => {
                others.push(index);
                if let Some(first) = default.replace(index) {
                    return Err(ConfigError::DefaultTwice { first: label(first), second: label(index) });
                }
                if config.endpoints.len() == 1 {
                    return Err(ConfigError::DefaultOfOne { hashring: label(index) });
                }
            }
        }
    }
    Ok((exact, others))
}

fn build(config: RingConfig, replication_factor: usize) -> Result<NamedRing, ConfigError> {
    let RingConfig { label, name, tenants, endpoints, external_labels } = config;
    let ring = Hashring::ketama(endpoints, replication_factor)
        .map_err(|source| ConfigError::Ring { hashring: label, source })?;
    Ok(NamedRing { name, tenants, external_labels, ring })
}

#[cfg(test)]
mod tests;
