//! The bucket: one object store behind a prefix, with a time limit on every step.
//!
//! Uploads files and small objects and tells whether an object exists. It retries nothing beyond what one request
//! needs: endless retry, and the order of objects, are the shipper's.

mod config;

use std::error::Error;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, Certificate, ClientOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
    WriteMultipart,
};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

pub(crate) use config::{BucketConfig, BucketConfigError, BucketKind, S3Config};

use crate::metrics::{BucketLabels, Metrics};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of one HTTP request, be it a part of an upload.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Retries inside one step; the shipper comes back to the whole block later.
const REQUEST_RETRIES_MAX: usize = 2;
/// Of one step (existence check, put, part, completion) with its retries, whatever the store does.
const STEP_TIMEOUT: Duration = Duration::from_secs(120);
/// Of an existence check, which carries no body.
const EXISTS_TIMEOUT: Duration = Duration::from_secs(15);
/// Parts of one file on their way at once.
const PARTS_IN_FLIGHT_MAX: usize = 2;
/// Part size for stores that have no setting for it.
const PART_BYTES: usize = 8 << 20;

// A step must be able to see its own retries through.
const _: () = assert!(EXISTS_TIMEOUT.as_secs() < STEP_TIMEOUT.as_secs());

/// What went wrong between this sidecar and the bucket, or with the file that was to be uploaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BucketError {
    #[error("{operation} {key}: {}", with_causes(source))]
    Store { operation: &'static str, key: String, source: object_store::Error },
    #[error("{operation} {key}: no answer within {} s", limit.as_secs())]
    Timeout { operation: &'static str, key: String, limit: Duration },
    #[error("read {file}: {source}")]
    File { file: String, source: std::io::Error },
}

/// The message with those of its causes: why a request failed stands at the bottom.
fn with_causes(error: &object_store::Error) -> String {
    let mut message = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        next = cause.source();
    }
    message
}

/// A bucket under its prefix.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    name: String,
    /// None: every file goes up in one request.
    part_bytes: Option<usize>,
    metrics: Arc<Metrics>,
}

impl Bucket {
    /// Sets the client up. Does not contact the bucket: it may be away when the sidecar starts.
    pub(crate) fn new(config: &BucketConfig, metrics: Arc<Metrics>) -> Result<Self, BucketConfigError> {
        let (store, name, part_bytes): (Arc<dyn ObjectStore>, String, Option<usize>) = match &config.kind {
            BucketKind::S3(s3) => (Arc::new(s3_store(s3)?), s3.bucket.clone(), s3.part_bytes),
            BucketKind::Filesystem { directory } => {
                ringside_tsdb::fs::create_dir_durable(directory)
                    .map_err(|source| BucketConfigError::Directory { path: directory.clone(), source })?;
                let store = LocalFileSystem::new_with_prefix(directory)?.with_fsync(true);
                (Arc::new(store), directory.display().to_string(), Some(PART_BYTES))
            }
        };
        Ok(Self { store, prefix: Path::from(config.prefix.as_str()), name, part_bytes, metrics })
    }

    /// A bucket over any store, for tests that inject faults.
    #[cfg(test)]
    pub(crate) fn over(store: Arc<dyn ObjectStore>, part_bytes: usize, metrics: Arc<Metrics>) -> Self {
        let prefix = Path::default();
        Self { store, prefix, name: "test".to_owned(), part_bytes: Some(part_bytes), metrics }
    }

    /// The bucket's name, or its directory.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Tells whether the object is there.
    pub(crate) async fn exists(&self, key: &str) -> Result<bool, BucketError> {
        let path = self.path(key);
        let head = async {
            match self.store.head(&path).await {
                Ok(_) => Ok(true),
                Err(object_store::Error::NotFound { .. }) => Ok(false),
                Err(e) => Err(e),
            }
        };
        let outcome = self.step("exists", key, EXISTS_TIMEOUT, head).await;
        self.count("exists", outcome.is_ok());
        outcome
    }

    /// Writes a small object in one request.
    pub(crate) async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BucketError> {
        let outcome = self.put_one(key, bytes).await;
        self.count("upload", outcome.is_ok());
        outcome
    }

    /// Uploads a file, in parts where it is longer than one. Holds a few parts in memory, never the file.
    pub(crate) async fn upload_file(&self, key: &str, file: &FilePath) -> Result<(), BucketError> {
        let outcome = self.upload(key, file).await;
        self.count("upload", outcome.is_ok());
        outcome
    }

    async fn upload(&self, key: &str, file: &FilePath) -> Result<(), BucketError> {
        let unreadable = |source| BucketError::File { file: file.display().to_string(), source };
        let mut reader = tokio::fs::File::open(file).await.map_err(unreadable)?;
        let size = reader.metadata().await.map_err(unreadable)?.len();
        let part_bytes = self.part_bytes.unwrap_or(usize::MAX);
        if usize::try_from(size).is_ok_and(|size| size <= part_bytes) {
            let mut bytes = Vec::with_capacity(size as usize);
            reader.read_to_end(&mut bytes).await.map_err(unreadable)?;
            return self.put_one(key, bytes.into()).await;
        }
        let path = self.path(key);
        let start = self.store.put_multipart(&path);
        let upload = self.step("upload", key, STEP_TIMEOUT, start).await?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, part_bytes);
        match self.upload_parts(&mut writer, key, &mut reader, part_bytes, &unreadable).await {
            Ok(()) => self.step("upload", key, STEP_TIMEOUT, writer.finish()).await.map(drop),
            Err(e) => {
                // What was uploaded is of no use; that the clean-up may fail too changes nothing.
                let _ = timeout(EXISTS_TIMEOUT, writer.abort()).await;
                Err(e)
            }
        }
    }

    async fn upload_parts(
        &self,
        writer: &mut WriteMultipart,
        key: &str,
        reader: &mut tokio::fs::File,
        part_bytes: usize,
        unreadable: &impl Fn(std::io::Error) -> BucketError,
    ) -> Result<(), BucketError> {
        loop {
            let mut part = BytesMut::with_capacity(part_bytes);
            while part.len() < part_bytes {
                if reader.read_buf(&mut part).await.map_err(unreadable)? == 0 {
                    break;
                }
            }
            if part.is_empty() {
                return Ok(());
            }
            let room = writer.wait_for_capacity(PARTS_IN_FLIGHT_MAX);
            self.step("upload", key, STEP_TIMEOUT, room).await?;
            writer.put(part.freeze());
        }
    }

    async fn put_one(&self, key: &str, bytes: Bytes) -> Result<(), BucketError> {
        let path = self.path(key);
        let put = self.store.put(&path, PutPayload::from_bytes(bytes));
        self.step("upload", key, STEP_TIMEOUT, put).await.map(drop)
    }

    async fn step<T>(
        &self,
        operation: &'static str,
        key: &str,
        limit: Duration,
        step: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, BucketError> {
        match timeout(limit, step).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(BucketError::Store { operation, key: key.to_owned(), source }),
            Err(_) => Err(BucketError::Timeout { operation, key: key.to_owned(), limit }),
        }
    }

    fn count(&self, operation: &'static str, ok: bool) {
        let labels = BucketLabels { bucket: self.name.clone(), operation };
        self.metrics.bucket_operations.get_or_create(&labels).inc();
        if !ok {
            self.metrics.bucket_failures.get_or_create(&labels).inc();
        }
    }

    fn path(&self, key: &str) -> Path {
        self.prefix.parts().chain(Path::from(key).parts()).collect()
    }
}

fn s3_store(config: &S3Config) -> Result<object_store::aws::AmazonS3, BucketConfigError> {
    let mut client = ClientOptions::new()
        .with_allow_http(config.insecure)
        .with_allow_invalid_certificates(config.insecure_skip_verify)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(REQUEST_TIMEOUT)
        .with_pool_idle_timeout(config.idle_connection_timeout)
        .with_pool_max_idle_per_host(config.idle_connections_per_host_max);
    if let Some(path) = &config.ca_file {
        let invalid = |reason: String| BucketConfigError::Invalid {
            field: "http_config.tls_config.ca_file",
            reason: format!("{}: {reason}", path.display()),
        };
        let pem = std::fs::read(path).map_err(|e| invalid(e.to_string()))?;
        for certificate in Certificate::from_pem_bundle(&pem).map_err(|e| invalid(e.to_string()))? {
            client = client.with_root_certificate(certificate);
        }
    }
    let builder = match &config.credentials {
        // The environment is where a web identity, a container's role or plain keys are found.
        None => AmazonS3Builder::from_env(),
        Some(keys) => {
            let builder = AmazonS3Builder::new()
                .with_access_key_id(&keys.access_key)
                .with_secret_access_key(&keys.secret_key);
            match &keys.session_token {
                Some(token) => builder.with_token(token),
                None => builder,
            }
        }
    };
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: REQUEST_RETRIES_MAX,
        retry_timeout: REQUEST_TIMEOUT,
    };
    Ok(builder
        .with_bucket_name(&config.bucket)
        .with_endpoint(&config.endpoint)
        .with_region(&config.region)
        .with_virtual_hosted_style_request(config.virtual_host)
        .with_client_options(client)
        .with_retry(retry)
        .build()?)
}

#[cfg(test)]
mod tests;
