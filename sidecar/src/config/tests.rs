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
        &["--objstore.config=a", "--objstore.config-file=b"],
    ] {
        let message = flags(args).unwrap_err().to_string();
        assert!(message.contains(args[0].split('=').next().unwrap()), "{message}");
    }
}
