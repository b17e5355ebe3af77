//! All services on one listener.
use super::accept::connections;
use super::cluster::{Admin, Cluster};
use super::desk::Desk;
use super::kv::{Kv, Session};
use super::options::FrontOptions;
use crate::intake::Intake;
use crate::peers::Peers;
use kvarts_wire::v1::admin_server::AdminServer;
use kvarts_wire::v1::cluster_server::ClusterServer;
use kvarts_wire::v1::kv_server::{KvServer, SERVICE_NAME};
use kvarts_wire::v1::session_server::SessionServer;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};

/// How often it is looked whether a leader is known.
const HEALTH_INTERVAL: Duration = Duration::from_millis(100);
/// Connections are tried, by a ping, this often; closed where it is unanswered for so long.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes under way to us per stream and per connection.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Largest HTTP/2 frame taken: fewer frames for large values.
const FRAME_BYTES: u32 = 64 << 10;

/// The front door.
pub struct Front;

impl Front {
    /// Serves clients and other nodes until `shutdown`. Then calls under way are answered, within `options.drain`; streams end.
    pub async fn serve(
        listener: TcpListener,
        intake: Arc<dyn Intake>,
        peers: Peers,
        options: FrontOptions,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let (stop, stopped) = watch::channel(false);
        let reporter = HealthReporter::new();
        let health = HealthService::from_health_reporter(reporter.clone());
        let drain = options.drain;
        let desk = Arc::new(Desk { intake, leaders: Default::default(), stop: stopped.clone(), options });
        let bytes_max = desk.options.message_bytes_max;
        let mut router = Server::builder()
            .http2_keepalive_interval(Some(PING_INTERVAL))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .max_concurrent_streams(desk.options.connection_calls_max)
            .add_service(KvServer::new(Kv(Arc::clone(&desk))).max_decoding_message_size(bytes_max))
            .add_service(SessionServer::new(Session(Arc::clone(&desk))))
            .add_service(ClusterServer::new(Cluster(Arc::clone(&desk))))
            .add_service(AdminServer::new(Admin(Arc::clone(&desk))).max_decoding_message_size(bytes_max))
            .add_service(peers.service(stopped.clone()))
            .add_service(tonic_health::pb::health_server::HealthServer::new(health));
        if let Ok(reflection) = reflection().build_v1() {
            router = router.add_service(reflection);
        }
        if let Ok(reflection) = reflection().build_v1alpha() {
            router = router.add_service(reflection);
        }
        let mut told = stopped.clone();
        let serving = router.serve_with_incoming_shutdown(connections(listener), async move {
            drop(told.wait_for(|stop| *stop).await);
        });
        let life = async {
            tokio::select! {
                () = watch_health(&desk, &reporter) => {}
                () = shutdown => {}
            }
            for service in ["", SERVICE_NAME] {
                reporter.set_service_status(service, ServingStatus::NotServing).await;
            }
            stop.send_replace(true);
            for service in ["", SERVICE_NAME] {
                // Whoever watches hears of it, and the stream ends.
                reporter.clone().clear_service_status(service).await;
            }
            tokio::time::sleep(drain).await;
        };
        tokio::select! {
            _ = serving => {}
            () = life => {}
        }
    }
}

/// Keeps the health of KV: serving while a leader is known.
async fn watch_health(desk: &Desk, reporter: &HealthReporter) {
    let mut interval = tokio::time::interval(HEALTH_INTERVAL);
    let mut known = None;
    loop {
        interval.tick().await;
        let leads = desk.intake.describe(Default::default()).leader_id != 0;
        if known.replace(leads) != Some(leads) {
            let status = if leads { ServingStatus::Serving } else { ServingStatus::NotServing };
            reporter.set_service_status(SERVICE_NAME, status).await;
        }
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(kvarts_wire::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
