//! Flags to settings: defaults as in Thanos, and refusals that name the flag.

use super::*;

fn flags(args: &[&str]) -> Result<SidecarFlags, clap::Error> {
    let cli = Cli::try_parse_from(["ringside", "sidecar"].iter().chain(args))?;
    let Command::Sidecar(flags) = cli.command else { panic!("another command") };
    Ok(*flags)
}

fn config(args: &[&str]) -> Result<Config, ConfigError> {
    flags(args).unwrap().into_config()
}

#[test]
fn defaults_are_those_of_thanos() {
    let config = config(&["--label", "replica=\"0\""]).unwrap();
    assert_eq!(config.data_dir, PathBuf::from("./data"));
    assert_eq!(config.http_address, "0.0.0.0:10902");
    assert_eq!(config.grpc_address, "0.0.0.0:10901");
    assert_eq!(config.remote_write_address, "0.0.0.0:19291");
    assert_eq!(config.tsdb.retention_ms, 15 * 24 * 3_600_000);
    assert!(matches!(config.tsdb.wal_sync, ringside_tsdb::WalSync::Group));
    assert_eq!(config.default_tenant.as_str(), "default-tenant");
    assert_eq!(config.tenant_header, "thanos-tenant");
    assert_eq!(config.tenant_label_name, "tenant_id");
    assert!(config.bucket.is_none());
    assert!(config.hashrings_file.is_none());
    assert_eq!(config.tsdb.retention_bytes, 0);
    assert_eq!(config.limits.every, Duration::from_secs(1));
    assert_eq!(config.limits.config, LimitsConfig::default());
    assert_eq!(config.min_free, Share::Percent(5.0));
}

#[test]
fn sizes_and_ceilings() {
    let label = ["--label", "replica=\"0\""];
    let with = |args: &[&str]| config(&[&label[..], args].concat()).unwrap();
    assert_eq!(with(&["--tsdb.max-retention-bytes=10GB"]).tsdb.retention_bytes, 10 << 30);
    assert_eq!(with(&["--storage.min-free=2GiB"]).min_free, Share::Bytes(2 << 30));
    assert_eq!(with(&["--receive.memory-max=0"]).memory_max, None);
    let small = with(&["--receive.memory-max=128MiB"]);
    assert_eq!(small.memory_max, Some(128 << 20));
    assert_eq!(small.in_flight_bytes_max, BODY_BYTES_MAX + ringside_proto::DECODED_BYTES_MAX);
    assert_eq!(with(&["--receive.memory-max=1GiB"]).in_flight_bytes_max, 128 << 20);
    assert_eq!(with(&["--receive.memory-max=8GiB"]).in_flight_bytes_max, limits::IN_FLIGHT_BYTES_MAX);
}

#[test]
fn limits_come_from_a_file_or_the_command_line() {
    let label = ["--label", "replica=\"0\""];
    let yaml = "write: {global: {head_series_limit: 7}}";
    let given = config(&[&label[..], &["--receive.limits-config", yaml]].concat()).unwrap().limits;
    assert_eq!((given.config.series_max, given.file), (7, None));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("limits.yaml");
    std::fs::write(&path, yaml).unwrap();
    let flags = ["--receive.limits-config-file", path.to_str().unwrap()];
    let given = config(&[&label[..], &flags].concat()).unwrap().limits;
    assert_eq!((given.config.series_max, given.file), (7, Some((path, yaml.to_owned()))));
}

#[test]
fn durations_addresses_and_modes() {
    let label = ["--label", "replica=\"0\""];
    let with = |args: &[&str]| config(&[&label[..], args].concat());
    assert_eq!(with(&["--tsdb.retention=36h"]).unwrap().tsdb.retention_ms, 36 * 3_600_000);
    assert_eq!(with(&["--tsdb.retention=0d"]).unwrap().tsdb.retention_ms, 0);
    assert_eq!(with(&["--http-address=:9"]).unwrap().http_address, "0.0.0.0:9");
    assert_eq!(with(&["--http-address=localhost:9"]).unwrap().http_address, "localhost:9");
    assert_eq!(with(&["--http-address=[::1]:9"]).unwrap().http_address, "[::1]:9");
    assert!(matches!(
        with(&["--wal.sync=interval"]).unwrap().tsdb.wal_sync,
        ringside_tsdb::WalSync::Interval(WAL_SYNC_INTERVAL)
    ));
    assert!(with(&["--objstore.config="]).unwrap().bucket.is_none());
}

#[test]
fn refusals_name_the_flag() {
    let label = ["--label", "replica=\"0\""];
    for (args, flag) in [
        (&["--receive.default-tenant-id=a/b"][..], "--receive.default-tenant-id"),
        (&["--receive.tenant-header=a b"], "--receive.tenant-header"),
        (&["--receive.tenant-label-name=__t"], "--receive.tenant-label-name"),
        (&["--http-address=9"], "--http-address"),
        (&["--grpc-address=a:b"], "--grpc-address"),
        (&["--remote-write.address=::1:70000"], "--remote-write.address"),
        (&["--objstore.config=type: GCS"], "--objstore.config"),
        (&["--objstore.config-file=/does/not/exist"], "--objstore.config-file"),
        (&["--receive.in-flight-bytes-max=1"], "--receive.in-flight-bytes-max"),
        (&["--receive.tenant-label-name=replica"], "--receive.tenant-label-name"),
        (&["--receive.limits-config=write: {x: 1}"], "--receive.limits-config"),
        (&["--receive.limits-config-file=/does/not/exist"], "--receive.limits-config-file"),
        (&["--receive.limits-config-reload-timer=0s"], "--receive.limits-config-reload-timer"),
        (&["--receive.memory-max=100MiB"], "--receive.memory-max"),
    ] {
        let message = config(&[&label[..], args].concat()).unwrap_err().to_string();
        assert!(message.contains(flag), "{message}");
    }
    assert!(config(&[]).unwrap_err().to_string().contains("--label"));
}

#[test]
fn clap_refuses_what_it_can_judge_alone() {
    for args in [
        &["--tsdb.retention=soon"][..],
        &["--wal.sync=sometimes"],
        &["--log.level=trace-ish"],
        &["--no-such-flag"],
        &["--storage.min-free=101%"],
        &["--tsdb.max-retention-bytes=lots"],
        &["--receive.memory-max=-1"],
        &["--receive.limits-config=a", "--receive.limits-config-file=b"],
        &["--objstore.config=a", "--objstore.config-file=b"],
    ] {
        let message = flags(args).unwrap_err().to_string();
        assert!(message.contains(args[0].split('=').next().unwrap()), "{message}");
    }
}
