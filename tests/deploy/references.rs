//! The objects agree with each other: what one names, another one is.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::manifests::{
    Manifests, container, containers, items, labels, matches, name_of, pod, pod_labels, port, sources, text,
    texts,
};
use crate::ring::MODULE;

#[test]
fn everything_is_in_the_namespace() -> Result<()> {
    let manifests = Manifests::build()?;
    let namespace = name_of(manifests.get("Namespace", "ringside")?);
    for object in manifests.objects().iter().filter(|object| object["kind"] != "Namespace") {
        ensure!(object["metadata"]["namespace"] == namespace, "{} {}", object["kind"], name_of(object));
    }
    Ok(())
}

#[test]
fn a_workload_selects_its_own_pods_only() -> Result<()> {
    let manifests = Manifests::build()?;
    ensure!(manifests.workloads().count() == 2, "one StatefulSet and one Deployment");
    for workload in manifests.workloads() {
        let spec = &workload["spec"];
        let apart = &pod(workload)["affinity"]["podAntiAffinity"];
        let required = items(&apart["requiredDuringSchedulingIgnoredDuringExecution"]).iter();
        let preferred = items(&apart["preferredDuringSchedulingIgnoredDuringExecution"]).iter();
        let spread = items(&pod(workload)["topologySpreadConstraints"]).iter();
        let selectors: Vec<&Value> = std::iter::once(&spec["selector"])
            .chain(required.chain(spread).map(|term| &term["labelSelector"]))
            .chain(preferred.map(|term| &term["podAffinityTerm"]["labelSelector"]))
            .collect();
        ensure!(selectors.len() == 3, "{}: itself, apart and spread", name_of(workload));
        for selector in selectors {
            let selected = manifests.selected(&labels(&selector["matchLabels"]));
            let names: Vec<&str> = selected.iter().map(|one| name_of(one)).collect();
            ensure!(names == [name_of(workload)], "{selector} of {} selects {names:?}", name_of(workload));
        }
    }
    Ok(())
}

#[test]
fn services_and_budgets_select_pods_that_have_their_ports() -> Result<()> {
    let manifests = Manifests::build()?;
    for service in manifests.all("Service") {
        let selected = manifests.selected(&labels(&service["spec"]["selector"]));
        ensure!(selected.len() == 1, "Service {} selects {} workloads", name_of(service), selected.len());
        for service_port in items(&service["spec"]["ports"]) {
            let target = port(&container(selected[0])?["ports"], text(&service_port["targetPort"])?)?;
            ensure!(
                service_port["port"] == target,
                "{}: {service_port} is {target} in the pod",
                name_of(service)
            );
        }
    }
    let mut budgeted = BTreeSet::new();
    for budget in manifests.all("PodDisruptionBudget") {
        let selected = manifests.selected(&labels(&budget["spec"]["selector"]["matchLabels"]));
        ensure!(selected.len() == 1, "budget {} selects {} workloads", name_of(budget), selected.len());
        ensure!(budget["spec"]["maxUnavailable"] == 1, "{}", name_of(budget));
        budgeted.insert(name_of(selected[0]));
    }
    ensure!(budgeted.len() == manifests.workloads().count(), "only {budgeted:?} have a budget");
    Ok(())
}

#[test]
fn sidecars_keep_a_quorum_through_every_planned_disruption() -> Result<()> {
    let manifests = Manifests::build()?;
    let sidecars = manifests.get("StatefulSet", "ringside")?;
    let spec = &sidecars["spec"];
    ensure!(spec["replicas"].as_u64() >= Some(3), "fewer than three sidecars");
    ensure!(spec["podManagementPolicy"] == "Parallel", "a quorum must not wait for pods one by one");
    ensure!(spec["updateStrategy"]["type"] == "RollingUpdate", "{}", spec["updateStrategy"]);
    let apart =
        &pod(sidecars)["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    ensure!(apart["topologyKey"] == "kubernetes.io/hostname", "two sidecars may share a node");
    let keep = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
    ensure!(spec["persistentVolumeClaimRetentionPolicy"] == keep, "a disk is deleted with its pod");

    let service = manifests.get("Service", text(&spec["serviceName"])?)?;
    ensure!(service["spec"]["clusterIP"] == "None", "pod names need a headless Service");
    ensure!(service["spec"]["publishNotReadyAddresses"] == true, "a place in the ring depends on health");
    ensure!(matches(&labels(&service["spec"]["selector"]), &pod_labels(sidecars)), "{}", name_of(service));
    Ok(())
}

#[test]
fn volumes_and_mounts_name_what_exists() -> Result<()> {
    let manifests = Manifests::build()?;
    for workload in manifests.workloads() {
        let volumes = items(&pod(workload)["volumes"]);
        for volume in volumes {
            let sources = sources(volume);
            ensure!(
                !sources.is_empty() || volume["emptyDir"]["sizeLimit"].is_string(),
                "{volume} holds what?"
            );
            for (kind, name) in sources {
                manifests.get(kind, name)?;
            }
        }
        let claims = items(&workload["spec"]["volumeClaimTemplates"]);
        let known: BTreeSet<&str> = volumes.iter().chain(claims).map(name_of).collect();
        let mounts = containers(workload).flat_map(|container| items(&container["volumeMounts"]));
        let mounted: BTreeSet<&str> = mounts.map(name_of).collect();
        ensure!(known == mounted, "{}: has {known:?}, mounts {mounted:?}", name_of(workload));
    }
    Ok(())
}

/// Every file that an argument names lies in a volume, and is a key of what is mounted there, where that does not start
/// empty. The module lies in Envoy's image.
#[test]
fn arguments_name_files_that_are_mounted() -> Result<()> {
    let manifests = Manifests::build()?;
    let mut files = 0;
    for workload in manifests.workloads() {
        for (container, argument) in arguments(workload)? {
            let value = argument.split_once('=').map_or(argument, |(_, value)| value);
            if !value.starts_with('/') || value == MODULE {
                continue;
            }
            let mount = items(&container["volumeMounts"])
                .iter()
                .find(|mount| mount["mountPath"].as_str().is_some_and(|path| value.starts_with(path)))
                .with_context(|| format!("{argument} lies in no volume"))?;
            let key = value.trim_start_matches(text(&mount["mountPath"])?).trim_start_matches('/');
            let volume =
                items(&pod(workload)["volumes"]).iter().find(|volume| volume["name"] == mount["name"]);
            let sources = volume.map(sources).unwrap_or_default();
            if sources.is_empty() {
                continue;
            }
            let objects = sources.into_iter().map(|(kind, name)| manifests.get(kind, name));
            let objects = objects.collect::<Result<Vec<_>>>()?;
            let is_there = objects.iter().any(|object| !object["data"][key].is_null());
            ensure!(is_there, "{argument}: there is no {key} in {}", name_of(mount));
            files += 1;
        }
    }
    ensure!(
        files == 6,
        "{files} files are named: a bucket, a ring, and twice a ring and limits are expected"
    );
    Ok(())
}

/// The arguments of all containers of a workload.
fn arguments(workload: &Value) -> Result<Vec<(&Value, &str)>> {
    let mut arguments = Vec::new();
    for container in containers(workload) {
        arguments.extend(texts(&container["args"])?.into_iter().map(|argument| (container, argument)));
    }
    Ok(arguments)
}

#[test]
fn pods_have_no_more_rights_than_they_need() -> Result<()> {
    let manifests = Manifests::build()?;
    let namespace = manifests.get("Namespace", "ringside")?;
    ensure!(labels(&namespace["metadata"]["labels"])["pod-security.kubernetes.io/enforce"] == "restricted");
    for workload in manifests.workloads() {
        let name = name_of(workload);
        let pod = pod(workload);
        ensure!(pod["automountServiceAccountToken"] == false, "{name} has a token of the API");
        // A Service called ringside would set variables of the environment that begin with RINGSIDE_.
        ensure!(pod["enableServiceLinks"] == false, "{name} has variables of other Services");
        ensure!(pod["securityContext"]["runAsNonRoot"] == true, "{name}");
        ensure!(pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", "{name}");
        let expected = json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        });
        for container in containers(workload) {
            ensure!(container["securityContext"] == expected, "{name}: {}", container["securityContext"]);
            ensure!(container["resources"]["limits"]["memory"].is_string(), "{name} has no bound of memory");
        }
    }
    Ok(())
}
