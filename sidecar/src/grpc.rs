//! gRPC: health checks (`grpc.health.v1.Health`), and for now nothing else.
//!
//! Thanos' Info and Store services are to be served here; until they are, Thanos Query cannot read from the head,
//! and reads come from the bucket through Thanos Store.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

/// Sets what health checks say of the whole server.
pub(crate) async fn set_serving(reporter: &HealthReporter, serving: bool) {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    reporter.set_service_status("", status).await;
}

/// Serves until `stop`; `reporter` says what health checks are told.
pub(crate) async fn serve(listener: TcpListener, reporter: HealthReporter, stop: CancellationToken) {
    let service = HealthServer::new(HealthService::from_health_reporter(reporter));
    let served = Server::builder()
        .add_service(service)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "gRPC stopped");
    }
}
