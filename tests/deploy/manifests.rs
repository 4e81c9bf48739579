//! What `kubectl kustomize` makes of deploy/kubernetes, as values, and how to find things in them. Owns no
//! judgement.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use ringside_e2e::tools;
use serde_json::Value;

/// Labels, or a selector's matchLabels.
pub(crate) type Labels = BTreeMap<String, String>;

/// The manifests, in the order in which they would be applied.
pub(crate) struct Manifests {
    /// As kustomize wrote them.
    pub(crate) text: String,
    objects: Vec<Value>,
}

impl Manifests {
    /// Builds the kustomization.
    pub(crate) fn build() -> Result<Self> {
        let output = Command::new(tool("kubectl")?).arg("kustomize").arg(path("kubernetes")).output()?;
        if !output.status.success() {
            bail!("kubectl kustomize: {}", String::from_utf8_lossy(&output.stderr));
        }
        let text = String::from_utf8(output.stdout)?;
        let objects = serde_saphyr::from_multiple::<Value>(&text)?;
        Ok(Self { text, objects })
    }

    /// The one object of that kind and name.
    pub(crate) fn get(&self, kind: &str, name: &str) -> Result<&Value> {
        let found = self.objects.iter().find(|object| object["kind"] == kind && name_of(object) == name);
        found.with_context(|| format!("there is no {kind} {name}"))
    }

    /// All objects of a kind.
    pub(crate) fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// All objects.
    pub(crate) fn objects(&self) -> &[Value] {
        &self.objects
    }

    /// The objects that make pods.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = &Value> {
        self.all("StatefulSet").chain(self.all("Deployment"))
    }

    /// The workloads whose pods a selector selects.
    pub(crate) fn selected(&self, selector: &Labels) -> Vec<&Value> {
        self.workloads().filter(|workload| matches(selector, &pod_labels(workload))).collect()
    }

    /// The content of a key of a ConfigMap whose name is the given one, with or without kustomize's digest.
    pub(crate) fn config(&self, name: &str, key: &str) -> Result<&str> {
        let digested =
            |full: &str| full.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        let map = self.all("ConfigMap").find(|map| digested(name_of(map)) && !map["data"][key].is_null());
        text(&map.with_context(|| format!("there is no ConfigMap {name} with {key}"))?["data"][key])
    }
}

/// The name of an object, or of anything else that has one.
pub(crate) fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().or(object["name"].as_str()).unwrap_or_default()
}

/// The labels of a workload's pods.
pub(crate) fn pod_labels(workload: &Value) -> Labels {
    labels(&workload["spec"]["template"]["metadata"]["labels"])
}

/// The pod of a workload.
pub(crate) fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

/// The first container of a workload's pods, which is what they are there for.
pub(crate) fn container(workload: &Value) -> Result<&Value> {
    items(&pod(workload)["containers"]).first().with_context(|| format!("{} has none", name_of(workload)))
}

/// All containers of a workload's pods, those first that run before the others.
pub(crate) fn containers(workload: &Value) -> impl Iterator<Item = &Value> {
    items(&pod(workload)["initContainers"]).iter().chain(items(&pod(workload)["containers"]))
}

/// A container of a workload's pods, by its name.
pub(crate) fn container_named<'a>(workload: &'a Value, name: &str) -> Result<&'a Value> {
    let named = containers(workload).find(|container| name_of(container) == name);
    named.with_context(|| format!("{} has no container {name}", name_of(workload)))
}

/// The ConfigMaps and Secrets of a volume, by kind and name; none for one that starts empty.
pub(crate) fn sources(volume: &Value) -> Vec<(&'static str, &str)> {
    std::iter::once(volume).chain(items(&volume["projected"]["sources"])).filter_map(source).collect()
}

/// What a volume, or one of the parts of a projected one, names.
fn source(of: &Value) -> Option<(&'static str, &str)> {
    let map = of["configMap"]["name"].as_str().map(|name| ("ConfigMap", name));
    // A volume of its own and a part of one name a Secret differently.
    let secret = || of["secret"]["secretName"].as_str().or(of["secret"]["name"].as_str());
    map.or_else(|| Some(("Secret", secret()?)))
}

/// A map of strings; empty where there is none.
pub(crate) fn labels(value: &Value) -> Labels {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// Whether a selector selects what has these labels. An empty selector is none here: ours all name something.
pub(crate) fn matches(selector: &Labels, labels: &Labels) -> bool {
    !selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

/// The items of a list; none where there is no list.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The strings of a list.
pub(crate) fn texts(value: &Value) -> Result<Vec<&str>> {
    items(value).iter().map(text).collect()
}

/// A string.
pub(crate) fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("{value} is no string"))
}

/// A port of a container or of a Service, by its name.
pub(crate) fn port(ports: &Value, name: &str) -> Result<u16> {
    let port = items(ports).iter().find(|port| port["name"] == name);
    let port = port.with_context(|| format!("there is no port {name} in {ports}"))?;
    let number = port["containerPort"].as_u64().or(port["port"].as_u64());
    Ok(u16::try_from(number.with_context(|| format!("{port} has no number"))?)?)
}

/// A path in deploy/.
pub(crate) fn path(relative: &str) -> PathBuf {
    tools::root().join("deploy").join(relative)
}

/// A file in deploy/.
pub(crate) fn file(relative: &str) -> Result<String> {
    std::fs::read_to_string(path(relative)).with_context(|| format!("deploy/{relative}"))
}

/// A program that `scripts/tools k8s` installs. That it is missing is a failure, never a reason to skip.
pub(crate) fn tool(program: &str) -> Result<PathBuf> {
    let found = tools::root().join(".tools/bin").join(program);
    if !found.is_file() {
        bail!(".tools/bin/{program} is missing; this makes it: scripts/tools k8s");
    }
    Ok(found)
}
