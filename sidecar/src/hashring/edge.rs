//! The edge of a bootstrap: what an operator puts around the filter. A file
//! of Envoy's own objects, of which only the places are known here; Envoy
//! judges what they say.

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The objects of an edge file, each in the words of Envoy's API.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Edge {
    /// TLS of the listener.
    transport_socket: Option<Value>,
    /// Filters before ours: they find out who the client is.
    http_filters: Vec<Value>,
    /// In place of the one that takes every domain. Without routes of its own, a host gets ours.
    virtual_hosts: Vec<Value>,
    /// What is made of answers of Envoy's own, those of its filters among them.
    local_reply_mappers: Vec<Value>,
    /// What the filters call.
    clusters: Vec<Value>,
}

impl Edge {
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = super::read(file)?;
        serde_saphyr::from_str(&text).with_context(|| format!("{} is no edge", file.display()))
    }

    /// A key of a filter chain, or nothing.
    pub(super) fn transport_socket(&self) -> anyhow::Result<String> {
        let Some(socket) = &self.transport_socket else { return Ok(String::new()) };
        yaml(&serde_json::json!({ "transport_socket": socket }))
    }

    /// Elements of a list.
    pub(super) fn http_filters(&self) -> anyhow::Result<String> {
        elements(&self.http_filters)
    }

    /// Elements of a list.
    pub(super) fn local_reply_mappers(&self) -> anyhow::Result<String> {
        elements(&self.local_reply_mappers)
    }

    /// Elements of a list.
    pub(super) fn clusters(&self) -> anyhow::Result<String> {
        elements(&self.clusters)
    }

    /// Elements of a list, `routes` in each that has none; `None` where the edge has no hosts of its own.
    pub(super) fn virtual_hosts(&self, routes: &str) -> anyhow::Result<Option<String>> {
        let mut hosts = String::new();
        for host in &self.virtual_hosts {
            hosts.push_str(&elements(std::slice::from_ref(host))?);
            if host.get("routes").is_none() {
                hosts.push_str(routes);
            }
        }
        Ok((!hosts.is_empty()).then_some(hosts))
    }
}

fn elements(values: &[Value]) -> anyhow::Result<String> {
    if values.is_empty() { Ok(String::new()) } else { yaml(&values) }
}

fn yaml(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(value)?)
}
