//! Who reaches which port, as the network policies say it: evaluated here as the API defines it, for ingress.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::manifests::{Labels, Manifests, container, items, labels, matches, name_of, pod_labels, port};

/// A pod somewhere in the cluster.
struct Pod {
    namespace: &'static str,
    labels: Labels,
}

impl Pod {
    fn new(namespace: &'static str, pairs: &[(&str, &str)]) -> Self {
        let labels = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { namespace, labels }
    }
}

/// Whether a selector, with matchLabels, matchExpressions or neither, selects these labels.
fn selects(selector: &Value, labels_of_pod: &Labels) -> bool {
    let by_labels = labels(&selector["matchLabels"]);
    let by_expressions = items(&selector["matchExpressions"]).iter().all(|expression| {
        let key = expression["key"].as_str().unwrap_or_default();
        let value = labels_of_pod.get(key);
        expression["operator"] == "In"
            && items(&expression["values"]).iter().any(|one| one.as_str() == value.map(String::as_str))
    });
    by_expressions && (by_labels.is_empty() || matches(&by_labels, labels_of_pod))
}

/// Whether `from` reaches the named port of a workload's pods.
fn reaches(manifests: &Manifests, from: &Pod, workload: &Value, port_name: &str) -> Result<bool> {
    let number = port(&container(workload)?["ports"], port_name)?;
    let policies: Vec<&Value> = manifests
        .all("NetworkPolicy")
        .filter(|policy| selects(&policy["spec"]["podSelector"], &pod_labels(workload)))
        .collect();
    ensure!(!policies.is_empty(), "no policy selects {}", name_of(workload));
    let allowed = policies.iter().flat_map(|policy| items(&policy["spec"]["ingress"])).any(|rule| {
        let by_port = items(&rule["ports"]).iter().any(|p| p["port"] == port_name || p["port"] == number);
        let by_peer = items(&rule["from"]).iter().any(|peer| {
            let namespace = match &peer["namespaceSelector"] {
                Value::Null => from.namespace == "ringside",
                Value::Object(any) => any.is_empty(),
                _ => false,
            };
            namespace && selects(&peer["podSelector"], &from.labels)
        });
        by_port && by_peer
    });
    Ok(allowed)
}

#[test]
fn the_write_port_is_for_envoy_alone() -> Result<()> {
    let manifests = Manifests::build()?;
    let sidecar = manifests.get("StatefulSet", "ringside")?;
    let envoy = manifests.get("Deployment", "ringside-envoy")?;
    let name = "app.kubernetes.io/name";
    let envoy_pod = Pod { namespace: "ringside", labels: pod_labels(envoy) };
    let envoy_elsewhere = Pod { namespace: "default", labels: pod_labels(envoy) };
    let sidecar_pod = Pod { namespace: "ringside", labels: pod_labels(sidecar) };
    let query = Pod::new("thanos", &[(name, "thanos-query")]);
    let prometheus = Pod::new("monitoring", &[(name, "prometheus")]);
    let neighbour = Pod::new("ringside", &[(name, "other")]);
    let stranger = Pod::new("default", &[]);

    let expected = [
        ("Envoy", &envoy_pod, [true, false, false]),
        ("a pod elsewhere with Envoy's labels", &envoy_elsewhere, [false, false, false]),
        ("another sidecar", &sidecar_pod, [false, false, false]),
        ("Thanos Query", &query, [false, true, false]),
        ("Prometheus", &prometheus, [false, false, true]),
        ("a pod of the same namespace", &neighbour, [false, false, false]),
        ("a pod of another namespace", &stranger, [false, false, false]),
    ];
    for (who, from, allowed) in expected {
        for (port_name, allowed) in ["remote-write", "grpc", "http"].into_iter().zip(allowed) {
            let reached = reaches(&manifests, from, sidecar, port_name)?;
            ensure!(reached == allowed, "{who} to a sidecar's {port_name}: {reached}, expected {allowed}");
        }
    }
    Ok(())
}

#[test]
fn senders_reach_envoy() -> Result<()> {
    let manifests = Manifests::build()?;
    let envoy = manifests.get("Deployment", "ringside-envoy")?;
    for from in
        [Pod::new("default", &[]), Pod::new("monitoring", &[("app.kubernetes.io/name", "prometheus")])]
    {
        ensure!(
            reaches(&manifests, &from, envoy, "remote-write")?,
            "{} does not reach Envoy",
            from.namespace
        );
    }
    Ok(())
}

#[test]
fn prometheus_alone_reaches_the_statistics_of_envoy() -> Result<()> {
    let manifests = Manifests::build()?;
    let envoy = manifests.get("Deployment", "ringside-envoy")?;
    let prometheus = Pod::new("monitoring", &[("app.kubernetes.io/name", "prometheus")]);
    ensure!(reaches(&manifests, &prometheus, envoy, "metrics")?, "Prometheus does not");
    let stranger = Pod::new("default", &[]);
    ensure!(!reaches(&manifests, &stranger, envoy, "metrics")?, "a stranger does");
    Ok(())
}

#[test]
fn policies_name_ports_that_exist() -> Result<()> {
    let manifests = Manifests::build()?;
    for policy in manifests.all("NetworkPolicy") {
        ensure!(policy["spec"]["policyTypes"] == serde_json::json!(["Ingress"]), "{}", name_of(policy));
        let selected = manifests.selected(&labels(&policy["spec"]["podSelector"]["matchLabels"]));
        ensure!(selected.len() == 1, "{} selects {} workloads", name_of(policy), selected.len());
        for workload in selected {
            for allowed in items(&policy["spec"]["ingress"]).iter().flat_map(|rule| items(&rule["ports"])) {
                let port_name = allowed["port"].as_str().unwrap_or_default();
                port(&container(workload)?["ports"], port_name)?;
            }
        }
    }
    Ok(())
}
