//! Thanos' YAML to settings: what is honoured, and what is refused by the name of the field.

use super::*;

fn s3(config: &str) -> Result<S3Config, BucketConfigError> {
    match BucketConfig::parse(&format!("type: S3\nconfig:\n{config}"))?.kind {
        BucketKind::S3(s3) => Ok(*s3),
        other => panic!("not S3: {other:?}"),
    }
}

const MINIO: &str =
    "  bucket: blocks\n  endpoint: minio:9000\n  insecure: true\n  access_key: key\n  secret_key: s3cr3t\n";

#[test]
fn minio_is_reached_by_path_over_http() {
    let config = s3(MINIO).unwrap();
    assert_eq!(config.endpoint, "http://minio:9000");
    assert!(!config.virtual_host && config.insecure);
    assert_eq!(config.region, "us-east-1");
    assert_eq!(config.part_bytes, Some(PART_BYTES_DEFAULT));
    let credentials = config.credentials.unwrap();
    assert_eq!((credentials.access_key.as_str(), credentials.secret_key.as_str()), ("key", "s3cr3t"));
    assert!(!format!("{credentials:?}").contains("s3cr3t"));
}

#[test]
fn aws_is_reached_by_virtual_host_over_https() {
    let config = s3("  bucket: blocks\n  endpoint: s3.eu-west-1.amazonaws.com\n").unwrap();
    assert_eq!(config.endpoint, "https://blocks.s3.eu-west-1.amazonaws.com");
    assert!(config.virtual_host);
    assert_eq!(config.region, "eu-west-1");
    assert!(config.credentials.is_none());
    let dotted = s3("  bucket: my.blocks\n  endpoint: s3.eu-west-1.amazonaws.com\n").unwrap();
    assert!(!dotted.virtual_host);
    let forced = s3(&format!("{MINIO}  bucket_lookup_type: virtual-hosted\n")).unwrap();
    assert_eq!(forced.endpoint, "http://blocks.minio:9000");
}

#[test]
fn the_template_of_thanos_documentation_is_accepted() {
    let config = BucketConfig::parse(
        r#"
type: S3
config:
  bucket: "blocks"
  endpoint: "minio:9000"
  region: ""
  disable_dualstack: false
  aws_sdk_auth: false
  access_key: ""
  insecure: false
  signature_version2: false
  secret_key: ""
  session_token: ""
  put_user_metadata: {}
  http_config:
    idle_conn_timeout: 1m30s
    response_header_timeout: 2m
    insecure_skip_verify: true
    tls_handshake_timeout: 10s
    expect_continue_timeout: 1s
    max_idle_conns: 100
    max_idle_conns_per_host: 100
    max_conns_per_host: 0
    tls_config:
      ca_file: ""
      cert_file: ""
      key_file: ""
      server_name: ""
      insecure_skip_verify: false
    disable_compression: false
  trace:
    enable: false
  list_objects_version: ""
  bucket_lookup_type: auto
  send_content_md5: true
  disable_multipart: false
  part_size: 67108864
  sse_config:
    type: ""
    kms_key_id: ""
    kms_encryption_context: {}
    encryption_key: ""
  sts_endpoint: ""
  max_retries: 0
prefix: "/team/blocks/"
"#,
    )
    .unwrap();
    assert_eq!(config.prefix, "team/blocks");
    let BucketKind::S3(s3) = config.kind else { panic!("not S3") };
    assert!(s3.insecure_skip_verify);
    assert_eq!(s3.part_bytes, Some(64 << 20));
    assert_eq!(s3.idle_connection_timeout, Duration::from_secs(90));
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    for (line, field) in [
        ("  signature_version2: true", "config.signature_version2"),
        ("  sse_config: {type: SSE-S3}", "config.sse_config"),
        ("  put_user_metadata: {a: b}", "config.put_user_metadata"),
        ("  trace: {enable: true}", "config.trace"),
        ("  sts_endpoint: http://sts", "config.sts_endpoint"),
        ("  max_retries: 3", "config.max_retries"),
        ("  list_objects_version: v1", "config.list_objects_version"),
        ("  http_config: {response_header_timeout: 1s}", "config.http_config.response_header_timeout"),
        ("  http_config: {max_conns_per_host: 4}", "config.http_config.max_conns_per_host"),
        ("  http_config: {idle_conn_timeout: soon}", "config.http_config.idle_conn_timeout"),
        ("  http_config: {tls_config: {cert_file: /c}}", "config.http_config.tls_config.cert_file"),
        ("  part_size: 1024", "config.part_size"),
        ("  aws_sdk_auth: true", "config.aws_sdk_auth"),
    ] {
        let message = s3(&format!("{MINIO}{line}\n")).unwrap_err().to_string();
        assert!(message.contains(field), "{line}: {message}");
    }
}

#[test]
fn mistakes_are_refused_by_name_and_without_the_secret() {
    for (yaml, part) in [
        ("type: GCS\nconfig: {bucket: b}", "GCS"),
        ("type: S3\nconfig: {endpoint: e}", "config.bucket"),
        ("type: S3\nconfig: {bucket: b}", "config.endpoint"),
        ("type: S3\nconfig: {bucket: b, endpoint: 'http://e'}", "config.endpoint"),
        ("type: S3\nconfig: {bucket: b, endpoint: e, access_key: k}", "config.secret_key"),
        ("type: S3\nconfig: {bucket: b, endpoint: e, secret_key: hushhush}", "config.access_key"),
        ("type: S3\nconfig: {bucket: b, endpoint: e, secret_key: hushhush, buckett: c}", "buckett"),
        ("type: S3\nconfig: {bucket: b, endpoint: e, bucket_lookup_type: dns}", "dns"),
        ("type: S3\nconfig: {bucket: b, endpoint: e}\nprefixx: a", "prefixx"),
        ("type: S3\nconfig: {bucket: b, endpoint: e}\nprefix: a//b", "prefix"),
        ("type: FILESYSTEM\nconfig: {directory: ''}", "config.directory"),
        ("type: FILESYSTEM\nconfig: {}", "directory"),
        ("type: FILESYSTEM\nconfig: {directory: /d, mode: 1}", "mode"),
        ("config: {bucket: b}", "type"),
        ("- nonsense", ""),
    ] {
        let message = BucketConfig::parse(yaml).unwrap_err().to_string();
        assert!(message.contains(part), "{yaml}: {message}");
        assert!(!message.contains("hushhush"), "{message}");
    }
}

#[test]
fn filesystem_with_prefix() {
    let config = BucketConfig::parse("type: filesystem\nconfig:\n  directory: /b\nprefix: x").unwrap();
    assert_eq!(config.kind, BucketKind::Filesystem { directory: PathBuf::from("/b") });
    assert_eq!(config.prefix, "x");
}
