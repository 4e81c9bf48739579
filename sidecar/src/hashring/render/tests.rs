//! What render writes: the committed example, every form of an address, and refusals.

use ringside_filter_core::Config;
use serde_json::Value;

use super::*;

/// The rendering that `envoy/envoy.yaml` holds, as its README says to run it.
const EXAMPLE: [&str; 10] = [
    "--hashrings",
    "envoy/hashrings.json",
    "--wasm",
    "target/ringside.wasm",
    "--listen",
    "127.0.0.1:19290",
    "--admin",
    "127.0.0.1:9901",
    "--output",
    "envoy/envoy.yaml",
];

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    flags: RenderFlags,
}

fn root() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), ".."].iter().collect()
}

fn flags(words: &[&str]) -> RenderFlags {
    let line = [&["render"], words].concat();
    <Line as clap::Parser>::try_parse_from(line).unwrap().flags
}

/// A rendering of these hashrings, with further flags.
fn rendered(hashrings: &str, further: &[&str]) -> anyhow::Result<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hashrings.json");
    std::fs::write(&file, hashrings).unwrap();
    let file = file.display().to_string();
    let words = [&["--hashrings", &file, "--wasm", "/r.wasm", "--listen", "0.0.0.0:80"], further].concat();
    run(&flags(&words))
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn manager(bootstrap: &Value) -> &Value {
    let listener = &bootstrap["static_resources"]["listeners"][0];
    &listener["filter_chains"][0]["filters"][0]["typed_config"]
}

/// The filter's configuration, as Envoy hands it over.
fn plugin(bootstrap: &Value) -> &str {
    let config = &manager(bootstrap)["http_filters"][0]["typed_config"]["config"];
    config["configuration"]["value"].as_str().unwrap()
}

const THREE: &str = r#"[{"endpoints": ["a.ringside:1", "10.0.0.1:2", "[::1]:3"]}]"#;

#[test]
fn the_committed_example_is_what_render_writes() {
    let mut flags = flags(&EXAMPLE);
    flags.hashrings = root().join(flags.hashrings);
    let output = flags.output.take().unwrap();
    let committed = std::fs::read_to_string(root().join(output)).unwrap();
    assert!(
        run(&flags).unwrap() == committed,
        "envoy/envoy.yaml is out of date; run:  ringside hashring render {}",
        EXAMPLE.join(" ")
    );
    let readme = std::fs::read_to_string(root().join("envoy/README.md")).unwrap().replace("\\\n", " ");
    let words = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains(&format!("ringside hashring render {}", EXAMPLE.join(" "))),
        "envoy/README.md: {words}"
    );
}

#[test]
fn a_cluster_for_each_address() {
    let json = r#"[{"tenants": ["a"], "endpoints": ["a.ringside:1", "10.0.0.1:2", "[::1]:3"]},
                   {"endpoints": ["a.ringside:1", "b.ringside:1", {"address": "10.0.0.1:2", "az": "1"}]}]"#;
    let bootstrap = yaml(&rendered(json, &[]).unwrap());
    let clusters = bootstrap["static_resources"]["clusters"].as_array().unwrap();
    let seen: Vec<_> = clusters[1..]
        .iter()
        .map(|cluster| {
            let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
            let address = &endpoint["address"]["socket_address"];
            assert_eq!(cluster["load_assignment"]["cluster_name"], cluster["name"]);
            // Settings of the first cluster hold for all.
            assert_eq!(cluster["common_lb_config"]["healthy_panic_threshold"]["value"], 0);
            assert_eq!(cluster["health_checks"], clusters[1]["health_checks"]);
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (
                text(&cluster["name"]),
                text(&cluster["type"]),
                text(&address["address"]),
                address["port_value"].clone(),
            )
        })
        .collect();
    let row =
        |name: &str, kind: &str, host: &str, port: u16| (name.into(), kind.into(), host.into(), port.into());
    assert_eq!(
        seen,
        [
            row("a.ringside:1", "STRICT_DNS", "a.ringside", 1),
            row("10.0.0.1:2", "STATIC", "10.0.0.1", 2),
            row("[::1]:3", "STATIC", "::1", 3),
            row("b.ringside:1", "STRICT_DNS", "b.ringside", 1),
        ]
    );
    let unused = &clusters[0];
    assert!(
        unused["load_assignment"].is_null(),
        "a write that gets past the filter has nowhere to go: {unused}"
    );
}

#[test]
fn one_sidecar_under_two_names_is_refused() {
    let error = |json: &str, further: &[&str]| format!("{:#}", rendered(json, further).unwrap_err());
    let ports = r#"[{"endpoints": ["a:1", "a:2", "b:1"]}]"#;
    assert!(rendered(ports, &[]).is_ok());
    let said = error(ports, &["--upstream-port", "19291"]);
    assert_eq!(said, r#"the endpoints "a:1" and "a:2" are one sidecar, at port 19291 of a"#);
    for json in [
        r#"[{"endpoints": ["a:1", "A.:1", "b:1"]}]"#,
        r#"[{"endpoints": ["[::1]:1", "[0:0::1]:1", "b:1"]}]"#,
        r#"[{"tenants": ["t"], "endpoints": ["a:1", "b:1", "c:1"]}, {"endpoints": ["b:01", "c:1", "d:1"]}]"#,
    ] {
        assert!(error(json, &[]).contains("are one sidecar"), "{json}");
    }
}

#[test]
fn the_plugin_gets_the_rings_as_they_are() {
    let json = "[\n  {\"hashring\": \"ü \\\"x\\\" ${wasm}\",\r\n\n   \"endpoints\": [\"a:1\",\t\"b:1\", \"c:1\"]}\n]\n";
    let further =
        ["--write-timeout", "250ms", "--body-bytes-max", "2048", "--tenant-header", "X-Scope-OrgID"];
    let bootstrap = yaml(&rendered(json, &further).unwrap());
    assert_eq!(manager(&bootstrap)["stream_idle_timeout"], "2.250s");
    let plugin: Value = serde_json::from_str(plugin(&bootstrap)).unwrap();
    let expected = serde_json::json!({
        "hashrings": serde_json::from_str::<Value>(json).unwrap(),
        "replication_factor": 3,
        "tenant_header": "X-Scope-OrgID",
        "default_tenant": "default-tenant",
        "write_timeout_ms": 250,
        "body_bytes_max": 2048,
    });
    assert_eq!(plugin, expected);
}

#[test]
fn the_filter_takes_every_setting_that_render_takes() {
    let endpoints: Vec<_> = (0..*REPLICATION_FACTOR.end()).map(|n| format!("sidecar-{n}:1")).collect();
    let json = serde_json::json!([{ "endpoints": endpoints }]).to_string();
    let longest = "h".repeat(ringside_proto::settings::HEADER_NAME_BYTES_MAX);
    let bounds = [
        (REPLICATION_FACTOR.start(), TIMEOUT_MS.start(), BODY_BYTES.start(), "x"),
        (REPLICATION_FACTOR.end(), TIMEOUT_MS.end(), BODY_BYTES.end(), &longest),
    ];
    for (factor, timeout_ms, bytes, header) in bounds {
        let further = [
            format!("--replication-factor={factor}"),
            format!("--write-timeout={timeout_ms}ms"),
            format!("--body-bytes-max={bytes}"),
            format!("--tenant-header={header}"),
        ];
        let bootstrap = yaml(&rendered(&json, &further.each_ref().map(String::as_str)).unwrap());
        let config = Config::parse(plugin(&bootstrap).as_bytes()).unwrap();
        assert_eq!(config.replication_factor as u64, *factor);
        assert_eq!(u64::from(config.write_timeout_ms), *timeout_ms);
        assert_eq!(config.body_bytes_max as u64, *bytes);
        assert_eq!(config.tenant_header, header);
    }
    let config = Config::parse(plugin(&yaml(&rendered(THREE, &[]).unwrap())).as_bytes()).unwrap();
    let bare = Config::parse(format!(r#"{{"hashrings": {THREE}}}"#).as_bytes()).unwrap();
    let settings = |config: &Config| {
        let tenant = (config.tenant_header.clone(), config.default_tenant.clone());
        (config.replication_factor, tenant, config.write_timeout_ms, config.body_bytes_max)
    };
    assert_eq!(settings(&config), settings(&bare), "the defaults are the same");
}

#[test]
fn a_sidecar_that_went_without_a_word_is_found_below_http() {
    let bootstrap = yaml(&rendered(THREE, &[]).unwrap());
    for cluster in &bootstrap["static_resources"]["clusters"].as_array().unwrap()[1..] {
        let options = &cluster["typed_extension_protocol_options"];
        let protocol = &options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
        assert!(protocol["explicit_http_config"]["http_protocol_options"].is_object());
        assert_eq!(cluster["upstream_connection_options"]["tcp_keepalive"]["keepalive_time"], 10);
    }
}

/// A rendering of [`THREE`] with this edge.
fn edged(edge: &str) -> anyhow::Result<Value> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("edge.yaml");
    std::fs::write(&file, edge).unwrap();
    Ok(yaml(&rendered(THREE, &["--edge", file.to_str().unwrap()])?))
}

#[test]
fn an_edge_stands_around_the_filter() {
    let edge = "{transport_socket: {name: tls}, http_filters: [{name: a}, {name: b}], clusters: [{name: c}],
                 virtual_hosts: [{name: d, domains: [d]}, {name: e, domains: [e], routes: [{name: f}]}]}";
    let (with, without) = (edged(edge).unwrap(), yaml(&rendered(THREE, &[]).unwrap()));
    let chain = |bootstrap: &Value| bootstrap["static_resources"]["listeners"][0]["filter_chains"][0].clone();
    assert_eq!(chain(&with)["transport_socket"], serde_json::json!({"name": "tls"}));
    assert!(chain(&without)["transport_socket"].is_null());

    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let filters = |bootstrap: &Value| names(&manager(bootstrap)["http_filters"]);
    assert_eq!(filters(&with), ["a", "b", "ringside", "envoy.filters.http.router"]);
    assert_eq!(filters(&without), ["ringside", "envoy.filters.http.router"]);
    let clusters = |bootstrap: &Value| names(&bootstrap["static_resources"]["clusters"]);
    assert_eq!(clusters(&with), [clusters(&without), vec!["c".to_owned()]].concat());

    let hosts = |bootstrap: &Value| manager(bootstrap)["route_config"]["virtual_hosts"].clone();
    assert_eq!(
        (names(&hosts(&with)), names(&hosts(&without))),
        (vec!["d".into(), "e".into()], vec!["any".into()])
    );
    assert_eq!(hosts(&with)[0]["routes"], hosts(&without)[0]["routes"], "ours, where a host has none");
    assert_eq!(hosts(&with)[1]["routes"], serde_json::json!([{"name": "f"}]));
}

#[test]
fn an_edge_has_four_places() {
    let error = format!("{:#}", edged("listeners: []").unwrap_err());
    assert!(error.contains("edge.yaml is no edge") && error.contains("listeners"), "{error}");
    assert_eq!(edged("{}").unwrap(), yaml(&rendered(THREE, &[]).unwrap()));
}

#[test]
fn thanos_ingestors_get_http1_on_their_write_port() {
    let text = rendered(THREE, &["--upstream", "thanos-receive", "--upstream-port", "19291"]).unwrap();
    let cluster = &yaml(&text)["static_resources"]["clusters"][1];
    assert_eq!(cluster["name"], "a.ringside:1", "the ring's address stays the name");
    assert!(cluster.to_string().contains(r#""port_value":19291"#), "{cluster}");
    assert!(text.contains("http_protocol_options: {}") && !text.contains("health_check"), "{text}");
    let counts = |text: &str| Config::parse(plugin(&yaml(text)).as_bytes()).unwrap().looks_inside;
    assert!(counts(&text), "an ingestor does not say how much it was sent");
    assert!(!counts(&rendered(THREE, &[]).unwrap()));
    assert!(
        cluster["outlier_detection"]["enforcing_consecutive_5xx"] == 0,
        "answers do not eject: {cluster}"
    );
    assert!(
        !rendered(THREE, &[]).unwrap().contains("outlier_detection:"),
        "checks judge the health of sidecars"
    );
}

#[test]
fn writes_the_file_whole() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("envoy.yaml");
    std::fs::write(&output, "old").unwrap();
    let said = rendered(THREE, &["--output", output.to_str().unwrap()]).unwrap();
    assert!(said.starts_with("wrote "), "{said}");
    assert_eq!(std::fs::read_to_string(&output).unwrap(), rendered(THREE, &[]).unwrap());
    let names: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["envoy.yaml"], "nothing else is left");

    assert!(rendered(r#"[{"endpoints": ["a:1"]}]"#, &["--output", output.to_str().unwrap()]).is_err());
    assert_eq!(
        std::fs::read_to_string(&output).unwrap(),
        rendered(THREE, &[]).unwrap(),
        "the last good one stays"
    );
}

#[test]
fn refusals_say_what_is_at_fault() {
    let error = |json: &str, further: &[&str]| format!("{:#}", rendered(json, further).unwrap_err());
    let ring = |address: &str| format!(r#"[{{"endpoints": ["a:1", "b:1", "{address}"]}}]"#);
    for (address, reason) in [
        ("c", "\"c\" has no port"),
        ("c:", "port of the endpoint \"c:\""),
        ("c:70000", "port of the endpoint \"c:70000\""),
        (":1", "\":1\" has no host"),
        ("::1:1", "an IPv6 address stands in [ ]"),
    ] {
        let error = error(&ring(address), &[]);
        assert!(error.contains(reason), "{address}: {error}");
    }
    for timeout in ["0s", "9ms", "300001ms", "1000years"] {
        let error = error(THREE, &["--write-timeout", timeout]);
        assert!(error.contains("--write-timeout, in ms, must be 10 to 300000"), "{timeout}: {error}");
    }
    for bytes in ["1", "1023", "33554433", "134217728"] {
        let error = error(THREE, &["--body-bytes-max", bytes]);
        assert!(error.contains("--body-bytes-max must be 1024 to 33554432"), "{bytes}: {error}");
    }
    for flag in ["--in-flight-bytes-max", "--late-write-bytes-max"] {
        let error = error(THREE, &[flag, "1000000"]);
        assert!(error.contains(&format!("{flag} must be 1048576 to 1073741824")), "{error}");
    }
    for factor in ["0", "17"] {
        let error = error(THREE, &["--replication-factor", factor]);
        assert!(error.contains("--replication-factor must be 1 to 16"), "{factor}: {error}");
    }
    for header in ["", "a b", ":path", &"h".repeat(129)] {
        assert!(error(THREE, &["--tenant-header", header]).contains("--tenant-header"), "{header:?}");
    }
    assert!(error(THREE, &["--heap-bytes-max", "100000000"]).contains("--heap-bytes-max"));
    assert!(error(THREE, &["--default-tenant", "a/b"]).contains("--default-tenant"));
    assert!(error(THREE, &["--replication-factor", "4"]).contains("3 endpoints, fewer than"));
}

#[test]
fn a_sidecar_that_left_keeps_its_cluster_up_to_the_next_rendering() {
    let dir = tempfile::tempdir().unwrap();
    let discovery = format!("--discovery={}", dir.path().display());
    let clusters = |of: [&str; 3]| {
        let endpoints = of.map(|name| format!("{name}:19291"));
        rendered(&serde_json::json!([{ "endpoints": endpoints }]).to_string(), &[&discovery]).unwrap();
        let file = yaml(&std::fs::read_to_string(dir.path().join(CLUSTERS_NAME)).unwrap());
        let names = file["resources"].as_array().unwrap().iter();
        names
            .map(|cluster| cluster["name"].as_str().unwrap().split(':').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(clusters(["a", "b", "c"]), ["a", "b", "c"]);
    assert_eq!(clusters(["c", "d", "e"]), ["c", "d", "e", "a", "b"]);
    assert_eq!(clusters(["c", "d", "e"]), ["c", "d", "e"]);
}
