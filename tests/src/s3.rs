//! A real S3 server: SeaweedFS, all its parts in one process on loopback. It can be killed and started
//! again on the same ports and data, which is how tests model a bucket that is away.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use object_store::aws::AmazonS3Builder;

use crate::bucket::Bucket;
use crate::process::{Process, Spec};
use crate::{ports, tools, wait};

const ACCESS_KEY: &str = "ringside";
const SECRET_KEY: &str = "ringside-secret";
const BUCKET: &str = "ringside";

/// The server with one bucket.
pub struct S3 {
    process: Process,
    address: SocketAddr,
    /// gRPC ports; the server leaves a socket in the temporary directory for each.
    grpc: Vec<(&'static str, u16)>,
}

impl S3 {
    /// Starts it in `folder` and creates the bucket.
    pub async fn start(folder: &Path) -> Result<Self> {
        let identities = serde_json::json!({"identities": [{
            "name": "ringside",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }]});
        std::fs::create_dir_all(folder.join("data"))?;
        std::fs::write(folder.join("identities.json"), identities.to_string())?;

        // Socket paths are relative, because the system limits their length.
        let mut args: Vec<String> = [
            "-logtostderr",
            "server",
            "-dir=data",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-master.electionTimeout=1s",
            "-master.volumeSizeLimitMB=256",
            "-volume.max=20",
            "-filer",
            "-filer.localSocket=filer.sock",
            "-s3",
            "-s3.localSocket=s3.sock",
            "-s3.config=identities.json",
            "-s3.iam=false",
            // Two catalogue services that listen on fixed ports unless told not to.
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
        .map(str::to_owned)
        .into();
        let (mut address, mut grpc) = (None, Vec::new());
        for part in ["master", "volume", "filer", "s3"] {
            let (http, rpc) = (ports::reserve()?, ports::reserve()?);
            args.push(format!("-{part}.port={}", http.port()));
            args.push(format!("-{part}.port.grpc={}", rpc.port()));
            grpc.push((part, rpc.port()));
            address = Some(http);
        }
        let process = Process::start(Spec {
            name: "s3".to_owned(),
            program: tools::weed()?,
            args,
            folder: folder.to_owned(),
        })?;
        let address = address.context("no port")?;
        let server = Self { process, address, grpc };
        server.wait_ready().await?;
        Ok(server)
    }

    /// Takes the bucket away: kill -9.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    /// Brings it back with all it had.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.restart()?;
        self.wait_ready().await
    }

    /// The server makes a bucket at the first write into it, by an administrator. It answers before its
    /// parts have found each other, so only a write that succeeds says that it is ready.
    async fn wait_ready(&self) -> Result<()> {
        let bucket = self.bucket()?;
        wait::eventually("a first write into the bucket", async || bucket.probe().await)
            .await
            .with_context(|| self.process.log_tail())
    }

    /// The bucket, to look into.
    pub fn bucket(&self) -> Result<Bucket> {
        let store = AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name(BUCKET)
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
            .with_retry(object_store::RetryConfig { max_retries: 0, ..Default::default() })
            .build()?;
        Ok(Bucket::new(store))
    }

    /// The URL of the S3 API.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Thanos' bucket configuration for a sidecar, as for MinIO.
    pub fn objstore_config(&self) -> String {
        format!(
            "type: S3\nconfig:\n  bucket: {BUCKET}\n  endpoint: {}\n  access_key: {ACCESS_KEY}\n  \
             secret_key: {SECRET_KEY}\n  insecure: true\n  region: us-east-1\n",
            self.address
        )
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let sockets = self
            .grpc
            .iter()
            .map(|(part, port)| -> PathBuf { format!("/tmp/seaweedfs-{part}-grpc-{port}.sock").into() });
        for socket in sockets {
            // It is not there if the server never came that far.
            drop(std::fs::remove_file(socket));
        }
    }
}
