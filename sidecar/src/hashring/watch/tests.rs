//! A directory that Envoy would read, as the hashrings and the limits change.

use serde_json::Value;

use super::*;

const THREE: &str = r#"[{"endpoints": ["a:1", "b:1", "c:1"]}]"#;
const FOUR: &str = r#"[{"endpoints": ["b:1", "c:1", "d:1", "e:1"]}]"#;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    flags: RenderFlags,
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(hashrings: &str, limits: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.set("hashrings.json", hashrings);
        folder.set("limits.yaml", limits);
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn set(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn flags(&self) -> RenderFlags {
        let words = [
            "render".to_owned(),
            "--wasm=/r.wasm".to_owned(),
            "--listen=127.0.0.1:1".to_owned(),
            format!("--hashrings={}", self.path("hashrings.json")),
            format!("--limits={}", self.path("limits.yaml")),
            format!("--output={}", self.path("envoy.yaml")),
            format!("--discovery={}", self.path("envoy")),
            "--watch".to_owned(),
        ];
        <Line as clap::Parser>::try_parse_from(words).unwrap().flags
    }

    fn yaml(&self, name: &str) -> Value {
        serde_saphyr::from_str(&std::fs::read_to_string(self.path(name)).unwrap()).unwrap()
    }

    /// The names of all clusters, and the filter's configuration.
    fn envoy(&self) -> (Vec<String>, Value) {
        let clusters = self.yaml("envoy/clusters.yaml");
        let names = clusters["resources"].as_array().unwrap().iter().map(|cluster| {
            assert_eq!(cluster["@type"], "type.googleapis.com/envoy.config.cluster.v3.Cluster");
            assert_eq!(cluster["common_lb_config"]["healthy_panic_threshold"]["value"], 0);
            cluster["name"].as_str().unwrap().to_owned()
        });
        let filter = self.yaml("envoy/filter.yaml");
        let plugin = filter["resources"][0]["typed_config"]["config"]["configuration"]["value"].as_str();
        let plugin = plugin.unwrap();
        ringside_filter_core::Config::parse(plugin.as_bytes()).unwrap();
        (names.collect(), serde_json::from_str(plugin).unwrap())
    }
}

fn hashrings(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Looks until a change is acted upon: the second time it reads the same.
fn look(watch: &mut Watch<'_>, now: Instant) {
    watch.look(now).unwrap();
    watch.look(now).unwrap();
}

#[test]
fn the_bootstrap_names_the_files() {
    let folder = Folder::new(THREE, "");
    let flags = folder.flags();
    Watch::start(&flags, flags.discovery.as_deref().unwrap()).unwrap();
    let bootstrap = folder.yaml("envoy.yaml");
    let source = |file: &str| serde_json::json!({"path": folder.path(file), "watched_directory": {"path": folder.path("envoy")}});
    let cds = &bootstrap["dynamic_resources"]["cds_config"]["path_config_source"];
    assert_eq!(*cds, source("envoy/clusters.yaml"));
    let manager = &bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
    let filter = &manager["typed_config"]["http_filters"][0];
    assert_eq!(
        filter["config_discovery"]["config_source"]["path_config_source"],
        source("envoy/filter.yaml")
    );
    assert_eq!(bootstrap["static_resources"]["clusters"].as_array().unwrap().len(), 1);
}

#[test]
fn a_new_ring_comes_with_its_clusters_and_old_ones_go_later() {
    let folder = Folder::new(THREE, "");
    let flags = folder.flags();
    let mut watch = Watch::start(&flags, flags.discovery.as_deref().unwrap()).unwrap();
    let start = Instant::now();
    assert_eq!(folder.envoy().0, ["a:1", "b:1", "c:1"]);
    folder.set("hashrings.json", FOUR);
    watch.look(start).unwrap();
    assert_eq!(folder.envoy().1["hashrings"], hashrings(THREE), "it may be half written");
    watch.look(start).unwrap();
    let (clusters, plugin) = folder.envoy();
    assert_eq!(plugin["hashrings"], hashrings(FOUR));
    assert_eq!(clusters, ["b:1", "c:1", "d:1", "e:1", "a:1"]);
    watch.look(start + Duration::from_secs(79)).unwrap();
    assert_eq!(folder.envoy().0.len(), 5);
    watch.look(start + Duration::from_secs(80)).unwrap();
    assert_eq!(folder.envoy().0, ["b:1", "c:1", "d:1", "e:1"]);
}

#[test]
fn what_is_refused_leaves_a_note() {
    let folder = Folder::new(THREE, "default: {body_bytes: 4096}");
    let flags = folder.flags();
    let mut watch = Watch::start(&flags, flags.discovery.as_deref().unwrap()).unwrap();
    let now = Instant::now();
    let bad = [("hashrings.json", r#"[{"endpoints": ["a:1"]}]"#), ("limits.yaml", "default: {bodybytes: 1}")];
    for (name, text) in bad {
        let good = std::fs::read_to_string(folder.path(name)).unwrap();
        folder.set(name, text);
        look(&mut watch, now);
        let (clusters, plugin) = folder.envoy();
        assert_eq!((clusters.len(), &plugin["hashrings"]), (3, &hashrings(THREE)));
        assert_eq!(plugin["limits"]["body_bytes"], 4096);
        let reason = plugin["refusal"]["reason"].as_str().unwrap();
        assert!(reason.contains(name) && reason.contains("is refused"), "{reason}");
        folder.set(name, &good);
        look(&mut watch, now);
        assert!(folder.envoy().1["refusal"].is_null());
    }
    std::fs::remove_file(folder.path("hashrings.json")).unwrap();
    look(&mut watch, now);
    assert!(folder.envoy().1["refusal"]["reason"].as_str().unwrap().contains("cannot read"));
}

#[test]
fn limits_change_alone() {
    let folder = Folder::new(THREE, "");
    let flags = folder.flags();
    let mut watch = Watch::start(&flags, flags.discovery.as_deref().unwrap()).unwrap();
    folder.set("limits.yaml", "tenants: {acme: {samples_per_second: 10}}");
    look(&mut watch, Instant::now());
    let (clusters, plugin) = folder.envoy();
    assert_eq!(plugin["tenant_limits"]["acme"]["samples_per_second"], 10);
    assert_eq!(clusters.len(), 3);
    assert_eq!(watch.retire_at, None);
}

#[test]
fn a_restart_knows_what_was_good() {
    let folder = Folder::new(THREE, "");
    let flags = folder.flags();
    let directory = flags.discovery.as_deref().unwrap();
    drop(Watch::start(&flags, directory).unwrap());
    folder.set("hashrings.json", "[");
    drop(Watch::start(&flags, directory).unwrap());
    let (clusters, plugin) = folder.envoy();
    assert_eq!((clusters.len(), &plugin["hashrings"]), (3, &hashrings(THREE)));
    assert!(plugin["refusal"]["reason"].as_str().unwrap().contains("hashrings.json is refused"));
    folder.set("hashrings.json", FOUR);
    drop(Watch::start(&flags, directory).unwrap());
    assert_eq!(folder.envoy().0.len(), 5, "late writes of the run before may be under way");
    for _ in 0..2 {
        let watch = Watch::start(&flags, directory).unwrap();
        assert_eq!(folder.envoy().0.len(), 5, "those of the run before that one may be, too");
        assert!(watch.retire_at.is_some());
    }
    let mut watch = Watch::start(&flags, directory).unwrap();
    look(&mut watch, Instant::now() + Duration::from_secs(80));
    assert_eq!(folder.envoy().0, ["b:1", "c:1", "d:1", "e:1"]);
    for odd in ["", "[", "{resources: [{name: 5}, {name: f:1}, {name: '::'}, 7]}", "{resources: 7}"] {
        folder.set("envoy/clusters.yaml", odd);
        drop(Watch::start(&flags, directory).unwrap());
        let expected = if odd.contains("f:1") { 5 } else { 4 };
        assert_eq!(folder.envoy().0.len(), expected, "{odd}");
    }

    let first = Folder::new("[", "");
    let flags = first.flags();
    assert!(Watch::start(&flags, flags.discovery.as_deref().unwrap()).is_err(), "there is nothing good");
}
