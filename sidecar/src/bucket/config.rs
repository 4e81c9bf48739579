//! Thanos' objstore YAML: which bucket, and how to reach it.
//!
//! Takes the whole of what Thanos documents for `type: S3` and `type: FILESYSTEM`, so that a file written for
//! Thanos can be used as it is. A field that Thanos has and this sidecar cannot honour is refused by its name as
//! soon as it asks for anything but Thanos' default; it is never silently ignored.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// Parts of a multipart upload below this are refused by S3.
const PART_BYTES_MIN: usize = 5 << 20;
/// Part size where the configuration names none: what an upload holds in memory is a few of these.
const PART_BYTES_DEFAULT: usize = 8 << 20;
/// An upper bound that keeps memory sane; S3 itself allows 5 GiB.
const PART_BYTES_MAX: usize = 512 << 20;

/// Why a bucket configuration is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BucketConfigError {
    #[error("{0}")]
    Yaml(String),
    #[error("type {given:?} is not supported; S3 and FILESYSTEM are")]
    Type { given: String },
    #[error("config.{field}: required")]
    Missing { field: &'static str },
    #[error("config.{field}: {reason}")]
    Invalid { field: &'static str, reason: String },
    #[error("config.{field} is known to Thanos but not supported here: {reason}")]
    Unsupported { field: &'static str, reason: &'static str },
    #[error("prefix {given:?}: {reason}")]
    Prefix { given: String, reason: String },
    #[error("cannot set up the bucket: {0}")]
    Setup(#[from] object_store::Error),
    #[error("config.directory: {}: {source}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
}

/// A checked bucket configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BucketConfig {
    /// Path inside the bucket under which all blocks are kept; empty for none. Without leading or trailing `/`.
    pub(crate) prefix: String,
    pub(crate) kind: BucketKind,
}

/// Where the bucket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BucketKind {
    S3(Box<S3Config>),
    Filesystem { directory: PathBuf },
}

/// How an S3 bucket is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct S3Config {
    pub(crate) bucket: String,
    /// With scheme, and with the bucket's name where the lookup is by virtual host.
    pub(crate) endpoint: String,
    pub(crate) virtual_host: bool,
    pub(crate) insecure: bool,
    pub(crate) region: String,
    /// None: credentials come from the environment, a web identity or the instance's role.
    pub(crate) credentials: Option<Credentials>,
    pub(crate) insecure_skip_verify: bool,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) idle_connection_timeout: Duration,
    pub(crate) idle_connections_per_host_max: usize,
    /// None: every file goes up in one request.
    pub(crate) part_bytes: Option<usize>,
}

/// Keys that were given in the configuration.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) session_token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl BucketConfig {
    /// Parses and checks Thanos' objstore YAML.
    pub(crate) fn parse(yaml: &str) -> Result<Self, BucketConfigError> {
        let head: Head = from_yaml(yaml)?;
        let prefix = check_prefix(&head.prefix)?;
        let kind = match head.kind.to_ascii_uppercase().as_str() {
            "S3" => BucketKind::S3(Box::new(from_yaml::<S3File>(yaml)?.config.check()?)),
            "FILESYSTEM" => {
                let directory = from_yaml::<FilesystemFile>(yaml)?.config.directory;
                if directory.as_os_str().is_empty() {
                    return Err(BucketConfigError::Missing { field: "directory" });
                }
                BucketKind::Filesystem { directory }
            }
            _ => return Err(BucketConfigError::Type { given: head.kind }),
        };
        Ok(Self { prefix, kind })
    }
}

fn from_yaml<'de, T: Deserialize<'de>>(yaml: &'de str) -> Result<T, BucketConfigError> {
    // Snippets of the input would put a secret key into the log.
    serde_saphyr::from_str(yaml).map_err(|e| BucketConfigError::Yaml(e.without_snippet().to_string()))
}

fn check_prefix(given: &str) -> Result<String, BucketConfigError> {
    let refuse = |reason: String| BucketConfigError::Prefix { given: given.to_owned(), reason };
    let path = object_store::path::Path::parse(given).map_err(|e| refuse(e.to_string()))?;
    Ok(path.to_string())
}

/// What all bucket types share; the rest is read once the type is known.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    prefix: String,
    #[serde(default, rename = "config")]
    _config: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilesystemFile {
    #[serde(rename = "type")]
    _kind: String,
    #[serde(default, rename = "prefix")]
    _prefix: String,
    config: FilesystemFields,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilesystemFields {
    directory: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct S3File {
    #[serde(rename = "type")]
    _kind: String,
    #[serde(default, rename = "prefix")]
    _prefix: String,
    config: S3Fields,
}

/// `config:` of `type: S3`, field by field as Thanos names them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct S3Fields {
    bucket: String,
    endpoint: String,
    region: String,
    /// Dual-stack endpoints are never used, so either value is honoured.
    #[serde(rename = "disable_dualstack")]
    _disable_dualstack: bool,
    aws_sdk_auth: bool,
    access_key: String,
    insecure: bool,
    signature_version2: bool,
    secret_key: String,
    session_token: String,
    put_user_metadata: BTreeMap<String, String>,
    http_config: HttpFields,
    trace: TraceFields,
    list_objects_version: String,
    bucket_lookup_type: Lookup,
    /// Every request carries a SHA-256 of its body as part of its signature, which does what this is for.
    #[serde(rename = "send_content_md5")]
    _send_content_md5: bool,
    disable_multipart: bool,
    part_size: Option<usize>,
    sse_config: SseFields,
    sts_endpoint: String,
    max_retries: u32,
}

impl Default for S3Fields {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            endpoint: String::new(),
            region: String::new(),
            _disable_dualstack: false,
            aws_sdk_auth: false,
            access_key: String::new(),
            insecure: false,
            signature_version2: false,
            secret_key: String::new(),
            session_token: String::new(),
            put_user_metadata: BTreeMap::new(),
            http_config: HttpFields::default(),
            trace: TraceFields::default(),
            list_objects_version: String::new(),
            bucket_lookup_type: Lookup::default(),
            _send_content_md5: true,
            disable_multipart: false,
            part_size: None,
            sse_config: SseFields::default(),
            sts_endpoint: String::new(),
            max_retries: 0,
        }
    }
}

#[derive(Deserialize, Default, PartialEq, Eq, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Lookup {
    #[default]
    Auto,
    VirtualHosted,
    Path,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct TraceFields {
    enable: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct SseFields {
    r#type: String,
    kms_key_id: String,
    kms_encryption_context: BTreeMap<String, String>,
    encryption_key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HttpFields {
    idle_conn_timeout: String,
    response_header_timeout: String,
    insecure_skip_verify: bool,
    tls_handshake_timeout: String,
    expect_continue_timeout: String,
    max_idle_conns: u32,
    max_idle_conns_per_host: usize,
    max_conns_per_host: u32,
    tls_config: TlsFields,
    disable_compression: bool,
}

impl Default for HttpFields {
    fn default() -> Self {
        Self {
            idle_conn_timeout: "90s".to_owned(),
            response_header_timeout: "2m".to_owned(),
            insecure_skip_verify: false,
            tls_handshake_timeout: "10s".to_owned(),
            expect_continue_timeout: "1s".to_owned(),
            max_idle_conns: 100,
            max_idle_conns_per_host: 100,
            max_conns_per_host: 0,
            tls_config: TlsFields::default(),
            disable_compression: false,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct TlsFields {
    ca_file: PathBuf,
    cert_file: PathBuf,
    key_file: PathBuf,
    server_name: String,
    insecure_skip_verify: bool,
}

impl S3Fields {
    fn check(self) -> Result<S3Config, BucketConfigError> {
        self.refuse_unsupported()?;
        self.http_config.refuse_unsupported()?;
        if self.bucket.is_empty() {
            return Err(BucketConfigError::Missing { field: "bucket" });
        }
        let virtual_host = match self.bucket_lookup_type {
            Lookup::VirtualHosted => true,
            Lookup::Path => false,
            // A bucket name with dots cannot be a host name under a wildcard certificate.
            Lookup::Auto => self.endpoint.ends_with(".amazonaws.com") && !self.bucket.contains('.'),
        };
        let http = &self.http_config;
        Ok(S3Config {
            endpoint: self.endpoint_url(virtual_host)?,
            virtual_host,
            region: self.region_or_derived(),
            credentials: self.credentials()?,
            insecure_skip_verify: http.insecure_skip_verify || http.tls_config.insecure_skip_verify,
            ca_file: Some(http.tls_config.ca_file.clone()).filter(|p| !p.as_os_str().is_empty()),
            idle_connection_timeout: duration("http_config.idle_conn_timeout", &http.idle_conn_timeout)?,
            idle_connections_per_host_max: http.max_idle_conns_per_host,
            part_bytes: self.part_bytes()?,
            insecure: self.insecure,
            bucket: self.bucket,
        })
    }

    fn endpoint_url(&self, virtual_host: bool) -> Result<String, BucketConfigError> {
        if self.endpoint.is_empty() {
            return Err(BucketConfigError::Missing { field: "endpoint" });
        }
        if self.endpoint.contains('/') {
            let reason = format!("{:?}: give host or host:port, without scheme and path", self.endpoint);
            return Err(BucketConfigError::Invalid { field: "endpoint", reason });
        }
        let scheme = if self.insecure { "http" } else { "https" };
        let bucket = if virtual_host { format!("{}.", self.bucket) } else { String::new() };
        Ok(format!("{scheme}://{bucket}{}", self.endpoint))
    }

    /// The region as given, else the one that an AWS endpoint names, else the one that MinIO defaults to.
    fn region_or_derived(&self) -> String {
        if !self.region.is_empty() {
            return self.region.clone();
        }
        self.endpoint
            .strip_prefix("s3.")
            .and_then(|rest| rest.strip_suffix(".amazonaws.com"))
            .unwrap_or("us-east-1")
            .to_owned()
    }

    fn credentials(&self) -> Result<Option<Credentials>, BucketConfigError> {
        let invalid =
            |field, reason: &str| Err(BucketConfigError::Invalid { field, reason: reason.to_owned() });
        match (self.access_key.is_empty(), self.secret_key.is_empty()) {
            (true, true) => Ok(None),
            (true, false) => invalid("access_key", "is missing while secret_key is given"),
            (false, true) => invalid("secret_key", "is missing while access_key is given"),
            (false, false) if self.aws_sdk_auth => {
                invalid("aws_sdk_auth", "and access_key exclude each other")
            }
            (false, false) => Ok(Some(Credentials {
                access_key: self.access_key.clone(),
                secret_key: self.secret_key.clone(),
                session_token: Some(self.session_token.clone()).filter(|t| !t.is_empty()),
            })),
        }
    }

    fn part_bytes(&self) -> Result<Option<usize>, BucketConfigError> {
        let bytes = self.part_size.unwrap_or(PART_BYTES_DEFAULT);
        if !(PART_BYTES_MIN..=PART_BYTES_MAX).contains(&bytes) {
            let reason = format!("{bytes} is not between {PART_BYTES_MIN} and {PART_BYTES_MAX} bytes");
            return Err(BucketConfigError::Invalid { field: "part_size", reason });
        }
        Ok((!self.disable_multipart).then_some(bytes))
    }

    fn refuse_unsupported(&self) -> Result<(), BucketConfigError> {
        let sse = &self.sse_config;
        let sse_wanted = !(sse.r#type.is_empty()
            && sse.kms_key_id.is_empty()
            && sse.kms_encryption_context.is_empty()
            && sse.encryption_key.is_empty());
        first_unsupported(&[
            (self.signature_version2, "signature_version2", "requests are signed with version 4"),
            (sse_wanted, "sse_config", "set the encryption on the bucket instead"),
            (!self.put_user_metadata.is_empty(), "put_user_metadata", "objects carry no user metadata"),
            (self.trace.enable, "trace", "requests are not traced"),
            (!self.sts_endpoint.is_empty(), "sts_endpoint", "set AWS_ENDPOINT_URL_STS in the environment"),
            (self.max_retries != 0, "max_retries", "the shipper retries until it succeeds"),
            (
                !matches!(self.list_objects_version.as_str(), "" | "v2"),
                "list_objects_version",
                "only version 2 is spoken",
            ),
        ])
    }
}

impl HttpFields {
    fn refuse_unsupported(&self) -> Result<(), BucketConfigError> {
        let default = Self::default();
        let differs = |field, given: &str, default: &str| {
            Ok::<bool, BucketConfigError>(duration(field, given)? != duration(field, default)?)
        };
        let tls = &self.tls_config;
        let own_timeout = "requests have timeouts of their own";
        first_unsupported(&[
            (
                differs(
                    "http_config.response_header_timeout",
                    &self.response_header_timeout,
                    &default.response_header_timeout,
                )?,
                "http_config.response_header_timeout",
                own_timeout,
            ),
            (
                differs(
                    "http_config.tls_handshake_timeout",
                    &self.tls_handshake_timeout,
                    &default.tls_handshake_timeout,
                )?,
                "http_config.tls_handshake_timeout",
                own_timeout,
            ),
            (
                differs(
                    "http_config.expect_continue_timeout",
                    &self.expect_continue_timeout,
                    &default.expect_continue_timeout,
                )?,
                "http_config.expect_continue_timeout",
                "Expect: 100-continue is not sent",
            ),
            (
                self.max_idle_conns != default.max_idle_conns,
                "http_config.max_idle_conns",
                "use max_idle_conns_per_host",
            ),
            (
                self.max_conns_per_host != 0,
                "http_config.max_conns_per_host",
                "uploads go one block at a time",
            ),
            (
                !tls.cert_file.as_os_str().is_empty(),
                "http_config.tls_config.cert_file",
                "client certificates are not used",
            ),
            (
                !tls.key_file.as_os_str().is_empty(),
                "http_config.tls_config.key_file",
                "client certificates are not used",
            ),
            (!tls.server_name.is_empty(), "http_config.tls_config.server_name", "the name is the endpoint's"),
        ])
    }
}

/// The first of `(wanted, field, reason)` that is wanted is the error.
fn first_unsupported(fields: &[(bool, &'static str, &'static str)]) -> Result<(), BucketConfigError> {
    match fields.iter().find(|(wanted, ..)| *wanted) {
        Some(&(_, field, reason)) => Err(BucketConfigError::Unsupported { field, reason }),
        None => Ok(()),
    }
}

fn duration(field: &'static str, given: &str) -> Result<Duration, BucketConfigError> {
    humantime::parse_duration(given)
        .map_err(|e| BucketConfigError::Invalid { field, reason: format!("{given:?}: {e}") })
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
