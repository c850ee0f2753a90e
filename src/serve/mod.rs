//! The engine's verbs over gRPC and HTTP, safe by default.
//!
//! A request's journey:
//! 1. `auth`    tells the caller by an API key, before the message is read.
//! 2. `proto`   is what `proto/eyeshot/v1` says, generated: messages and services.
//! 3. `search`, `collections`, `images` (with `upsert` and `index`) and `answer` are the services, a file each.
//! 4. `work`    gives blocking work one of a bounded number of places, with a deadline, and tells it when the client has left.
//! 5. `convert` is the edge: messages to the words of `types` and back, errors to statuses, and nowhere else.
//! 6. `sources` says which URIs of a request may be followed.
//! 7. `health`  has the models embed a word now and then, and says what came of it.
//!
//! `http` has the same verbs as JSON, pictures and the web page, on another port.
//!
//! `settings` are checked once; this file binds, serves, and stops: new requests are refused, those in flight finish.
//!
//! Must not know: tensors, graphs, sled, what a model is made of, how a query is answered.

mod answer;
mod app;
mod auth;
mod collections;
mod convert;
mod health;
mod http;
mod images;
mod index;
pub mod proto;
mod search;
mod settings;
mod sources;
mod upsert;
mod work;

pub use auth::{Access, Keys};
pub use settings::{Settings, Tls};

use crate::engine::Engine;
use crate::error::{Error, Result};
use app::App;
use auth::Guard;
use proto::v1;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::{Router, TcpIncoming};
use tonic::transport::{Identity, Server, ServerTlsConfig};

/// The most headers that a request may bring, in bytes.
const HEADER_BYTES: u32 = 16 << 10;

/// Where the server listens.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// gRPC.
    pub grpc: SocketAddr,
    /// HTTP, where it is served.
    pub http: Option<SocketAddr>,
}

/// Serves `engine` until someone asks the process to stop (SIGINT, SIGTERM); `ready` hears the addresses, once bound.
///
/// # Errors
/// Settings that contradict one another or are not safe; an address that is taken; certificates that cannot be read.
pub fn serve(engine: Engine, settings: &Settings, ready: impl FnOnce(Bound)) -> Result<()> {
    settings.check()?;
    let failed = |e| Error::io("the server's threads", e);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(settings.concurrency + 64)
        .build()
        .map_err(failed)?;
    let outcome = runtime.block_on(run(engine, settings, ready));
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome
}

async fn run(engine: Engine, settings: &Settings, ready: impl FnOnce(Bound)) -> Result<()> {
    let named = |address: SocketAddr| move |e| Error::io(address.to_string(), e);
    let incoming = TcpIncoming::bind(settings.grpc).map_err(named(settings.grpc))?;
    let grpc = incoming.local_addr().map_err(named(settings.grpc))?;
    let listener = match settings.http {
        Some(address) => Some(TcpListener::bind(address).await.map_err(named(address))?),
        None => None,
    };
    let bound = listener.as_ref().map(TcpListener::local_addr).transpose();
    let bound = Bound { grpc, http: bound.map_err(|e| Error::io("the address for HTTP", e))? };
    let tls = settings.tls.as_ref().map(http::listen::acceptor).transpose()?;
    let signals = Signals::new()?;
    let (stop, stopping) = watch::channel(false);
    let app = App::new(engine, settings, stopping.clone())?;
    let health = health::Health::start(app.clone());
    let grpc = routes(app.clone(), &health, settings)?
        .serve_with_incoming_shutdown(incoming.with_nodelay(Some(true)), app::stopped(stopping.clone()));
    let http = async {
        if let Some(listener) = listener {
            let router = http::router(app, health, settings);
            http::listen::serve(listener, tls, router, settings.into(), stopping).await;
        }
    };
    let servers = async { tokio::join!(grpc, http).0.map_err(broken) };
    tokio::pin!(servers);
    ready(bound);
    tokio::select! {
        ended = &mut servers => ended,
        () = signals.wait() => {
            _ = stop.send(true);
            // Who has not finished by then is cut off; what was acknowledged is on disk.
            tokio::time::timeout(settings.grace, &mut servers).await.unwrap_or(Ok(()))
        }
    }
}

/// All services, each behind the guard but health and reflection, which tell nothing of what is stored.
fn routes(app: App, health: &health::Health, settings: &Settings) -> Result<Router> {
    let guard = Guard(Arc::new(settings.keys.clone()));
    let limit = settings.message_bytes;
    /// One service with the limits and the guard that all have.
    macro_rules! guarded {
        ($server:ty) => {
            InterceptedService::new(
                <$server>::new(app.clone())
                    .max_decoding_message_size(limit)
                    .max_encoding_message_size(usize::MAX),
                guard.clone(),
            )
        };
    }
    let mut server = Server::builder()
        .http2_max_header_list_size(HEADER_BYTES)
        .max_concurrent_streams(u32::try_from(settings.concurrency).unwrap_or(u32::MAX))
        // Half-open connections are found and closed.
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .tcp_keepalive(Some(Duration::from_secs(60)));
    if let Some(tls) = &settings.tls {
        server = server.tls_config(tls_config(tls)?).map_err(broken)?;
    }
    let described = |file: &'static [u8]| {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(file)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let undescribed = |e: tonic_reflection::server::Error| Error::Corrupt { reason: e.to_string() };
    Ok(server
        .add_service(guarded!(v1::search_server::SearchServer<App>))
        .add_service(guarded!(v1::collections_server::CollectionsServer<App>))
        .add_service(guarded!(v1::images_server::ImagesServer<App>))
        .add_service(guarded!(v1::answer_server::AnswerServer<App>))
        .add_service(health.service())
        .add_service(described(proto::DESCRIPTORS).build_v1().map_err(undescribed)?)
        .add_service(described(proto::DESCRIPTORS).build_v1alpha().map_err(undescribed)?))
}

fn tls_config(tls: &Tls) -> Result<ServerTlsConfig> {
    let read = |path: &std::path::Path| std::fs::read(path).map_err(|e| Error::io(path, e));
    let config = ServerTlsConfig::new().identity(Identity::from_pem(read(&tls.cert)?, read(&tls.key)?));
    Ok(match &tls.client_ca {
        Some(ca) => config.client_ca_root(tonic::transport::Certificate::from_pem(read(ca)?)),
        None => config,
    })
}

fn broken(error: tonic::transport::Error) -> Error {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        reason = format!("{reason}: {inner}");
        source = inner.source();
    }
    Error::invalid(reason, "check the addresses and the TLS files")
}

/// Being asked to stop, by a person or by the machine.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |e| Error::io("signals", e);
        Ok(Signals {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    #[cfg(unix)]
    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn new() -> Result<Self> {
        Ok(Signals {})
    }

    #[cfg(not(unix))]
    async fn wait(self) {
        _ = tokio::signal::ctrl_c().await;
    }
}
