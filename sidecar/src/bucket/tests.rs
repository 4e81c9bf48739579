//! The S3 client against a stand-in that notes requests, and time limits against stores that never answer.

use std::fmt;
use std::sync::Mutex;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
    PutOptions, PutResult, Result,
};
use tokio::net::TcpListener;

use super::*;

/// What the stand-in saw, one line per request.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

/// Answers as S3 does to the few requests that the shipper makes; every object is absent.
async fn stand_in(State(seen): State<Seen>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap().len();
    let query = parts.uri.query().unwrap_or_default();
    let signed = parts.headers["authorization"].to_str().unwrap().contains("Credential=key/");
    seen.0.lock().unwrap().push(format!(
        "{} {}?{query} {bytes} {}",
        parts.method,
        parts.uri.path(),
        if signed { "signed" } else { "unsigned" }
    ));
    let mut headers = HeaderMap::new();
    headers.insert("etag", "\"e\"".parse().unwrap());
    let xml = |root: &str, fields: &str| format!("<{root}><Bucket>b</Bucket><Key>k</Key>{fields}</{root}>");
    match parts.method {
        Method::HEAD => StatusCode::NOT_FOUND.into_response(),
        Method::PUT => headers.into_response(),
        Method::POST if query.starts_with("uploads") => {
            xml("InitiateMultipartUploadResult", "<UploadId>u</UploadId>").into_response()
        }
        _ => xml("CompleteMultipartUploadResult", "<ETag>e</ETag>").into_response(),
    }
}

async fn stand_in_bucket(prefix: &str) -> (Bucket, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap();
    let seen = Seen::default();
    let router = Router::new().fallback(stand_in).with_state(seen.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let yaml = format!(
        "type: S3\nprefix: {prefix}\nconfig: {{bucket: blocks, endpoint: '{endpoint}', insecure: true, \
         access_key: key, secret_key: secret, part_size: 5242880}}"
    );
    let config = BucketConfig::parse(&yaml).unwrap();
    (Bucket::new(&config, Metrics::new().0).unwrap(), seen)
}

#[tokio::test]
async fn s3_requests_are_signed_and_go_by_path_under_the_prefix() {
    let (bucket, seen) = stand_in_bucket("team/a").await;
    assert!(!bucket.exists("01ABC/meta.json").await.unwrap());
    bucket.put("01ABC/meta.json", Bytes::from_static(b"{}")).await.unwrap();
    let seen = seen.0.lock().unwrap().clone();
    assert_eq!(
        seen,
        ["HEAD /blocks/team/a/01ABC/meta.json? 0 signed", "PUT /blocks/team/a/01ABC/meta.json? 2 signed"]
    );
}

#[tokio::test]
async fn a_long_file_goes_up_in_parts() {
    let (bucket, seen) = stand_in_bucket("''").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("000001");
    std::fs::write(&file, vec![7; (12 << 20) + 5]).unwrap();
    bucket.upload_file("01ABC/chunks/000001", &file).await.unwrap();
    let mut seen = seen.0.lock().unwrap().clone();
    assert!(seen.first().unwrap().starts_with("POST /blocks/01ABC/chunks/000001?uploads"), "{seen:?}");
    assert!(seen.last().unwrap().starts_with("POST /blocks/01ABC/chunks/000001?uploadId=u"), "{seen:?}");
    seen.sort();
    let part = |number: usize, bytes: usize| {
        format!("PUT /blocks/01ABC/chunks/000001?partNumber={number}&uploadId=u {bytes} signed")
    };
    assert_eq!(seen[2..], [part(1, 5 << 20), part(2, 5 << 20), part(3, (2 << 20) + 5)]);
}

#[tokio::test]
async fn a_missing_file_is_told_from_a_missing_bucket() {
    let (bucket, seen) = stand_in_bucket("''").await;
    let error = bucket.upload_file("k", FilePath::new("/does/not/exist")).await.unwrap_err();
    assert!(matches!(error, BucketError::File { .. }), "{error}");
    assert!(seen.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_refused_connection_is_named_as_such() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let yaml = format!(
        "type: S3\nconfig: {{bucket: b, endpoint: '{unused}', insecure: true, access_key: k, secret_key: s}}"
    );
    let bucket = Bucket::new(&BucketConfig::parse(&yaml).unwrap(), Metrics::new().0).unwrap();
    let message = bucket.exists("k").await.unwrap_err().to_string();
    assert!(message.contains("exists k") && message.contains("Connection refused"), "{message}");
}

/// Takes every request and never answers, as behind a firewall that drops packets.
#[derive(Debug)]
struct BlackHole;

impl fmt::Display for BlackHole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlackHole")
    }
}

#[async_trait::async_trait]
impl ObjectStore for BlackHole {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        std::future::pending().await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        std::future::pending().await
    }

    async fn get_opts(&self, _: &Path, _: GetOptions) -> Result<GetResult> {
        std::future::pending().await
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        Box::pin(futures::stream::pending())
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        Box::pin(futures::stream::pending())
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        std::future::pending().await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        std::future::pending().await
    }
}

/// The clock is a paused one: the limits pass at once.
#[tokio::test(start_paused = true)]
async fn a_black_hole_ends_in_a_timeout() {
    let bucket = Bucket::over(Arc::new(BlackHole), 10, Metrics::new().0);
    let dir = tempfile::tempdir().unwrap();
    let (short, long) = (dir.path().join("short"), dir.path().join("long"));
    std::fs::write(&short, b"abc").unwrap();
    std::fs::write(&long, [0; 100]).unwrap();
    let error = bucket.exists("k").await.unwrap_err();
    assert!(matches!(error, BucketError::Timeout { operation: "exists", .. }), "{error}");
    for file in [&short, &long] {
        let error = bucket.upload_file("k", file).await.unwrap_err();
        assert!(matches!(error, BucketError::Timeout { operation: "upload", .. }), "{error}");
    }
}
