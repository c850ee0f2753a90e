//! The engine's verbs over gRPC and HTTP, safe by default.
//!
//! A request's journey:
//! 1. `listen`  takes connections, plain or TLS, bounds how many and how slow they are, and ends them when the server stops.
//! 2. `measure` counts, times and logs it for `metrics`, and opens its span for `trace`.
//!    `pace` gives up bodies that dawdle on their way, `room` bounds what all of them take.
//! 3. `auth`    tells the caller by an API key, before the message is read.
//! 4. `proto`   is what `proto/eyeshot/v1` says, generated: messages and services; `grpc` puts these together.
//! 5. `search`, `collections`, `images` (with `upsert` and `index`) and `answer` are the services, a file each.
//! 6. `work`    gives blocking work one of a bounded number of places, with a deadline, and tells it when the client has left.
//! 7. `convert` is the edge: messages to the words of `types` and back, errors to statuses, and nowhere else.
//! 8. `sources` says which URIs of a request may be followed.
//! 9. `health`  has the models embed a word now and then, and says what came of it.
//!
//! `http` has the same verbs as JSON, pictures and the web page, on another port, and the gRPC services for browsers (gRPC-web).
//!
//! `settings` are checked once; this file binds, serves, and stops: new requests are refused, those in flight finish.
//!
//! Must not know: tensors, graphs, sled, what a model is made of, how a query is answered.

mod answer;
mod app;
mod auth;
mod collections;
mod convert;
mod grpc;
mod health;
mod http;
mod images;
mod index;
mod listen;
mod measure;
mod metrics;
mod pace;
pub mod proto;
mod room;
mod search;
mod settings;
mod sources;
mod trace;
mod upsert;
mod work;

pub use auth::{Access, Keys};
pub use settings::{Settings, Tls};
pub use trace::destination as traces_to;

use crate::engine::Engine;
use crate::error::{Error, Result};
use app::App;
use measure::Meter;
use metrics::Metrics;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

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
    // Dropped last, so that the spans of what ended last leave too.
    let _traces = settings.traces.as_deref().map(trace::Traces::start).transpose()?;
    let failed = |e| Error::io("the server's threads", e);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(settings.concurrency + 64)
        .build()
        .map_err(failed)?;
    engine.watch_recall(settings.recall_sample);
    let outcome = runtime.block_on(run(engine, settings, ready));
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome
}

async fn run(engine: Engine, settings: &Settings, ready: impl FnOnce(Bound)) -> Result<()> {
    let bind = async |address: SocketAddr| {
        let named = |e| Error::io(address.to_string(), e);
        let listener = TcpListener::bind(address).await.map_err(named)?;
        let bound = listener.local_addr().map_err(named)?;
        Ok::<_, Error>((listener, bound))
    };
    let (grpc, grpc_bound) = bind(settings.grpc).await?;
    let http = match settings.http {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let bound = Bound { grpc: grpc_bound, http: http.as_ref().map(|(_, bound)| *bound) };
    let tls = settings.tls.as_ref().map(listen::acceptor).transpose()?;
    let signals = Signals::new()?;
    let (stop, stopping) = watch::channel(false);
    let app = App::new(engine, settings, stopping.clone())?;
    let health = health::Health::start(app.clone());
    let metrics = Arc::new(Metrics::new(app.clone()));
    let meter = |protocol| Meter { metrics: metrics.clone(), protocol, log: settings.log };
    let room = room::Room::for_bodies(settings.message_bytes, settings.patience);
    let services = grpc::router(app.clone(), &health, settings, meter("grpc"), room.clone())?;
    let page = http::router(app, health, settings, meter("http"), services.clone(), room);
    let bounds = listen::Bounds::from(settings);
    let grpc = listen::serve(grpc, tls.clone(), services, bounds, stopping.clone());
    let http = async {
        if let Some((listener, _)) = http {
            listen::serve(listener, tls, page, bounds, stopping).await;
        }
    };
    let servers = async { tokio::join!(grpc, http) };
    tokio::pin!(servers);
    ready(bound);
    tokio::select! {
        _ = &mut servers => {}
        () = signals.wait() => {
            _ = stop.send(true);
            // Who has not finished by then is cut off; what was acknowledged is on disk.
            _ = tokio::time::timeout(settings.grace, &mut servers).await;
        }
    }
    Ok(())
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
