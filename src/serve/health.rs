//! Health that has tried: the loaded models embed a word now and then, by the queues that callers use.

use super::app::{App, stopped};
use super::proto::v1;
use crate::engine::Caller;
use crate::error::{Error, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};

/// How long a word may take before a model counts as stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// The services whose health is told, and the server as a whole.
const SERVICES: [&str; 5] = [
    "",
    <v1::search_server::SearchServer<App> as NamedService>::NAME,
    <v1::collections_server::CollectionsServer<App> as NamedService>::NAME,
    <v1::images_server::ImagesServer<App> as NamedService>::NAME,
    <v1::answer_server::AnswerServer<App> as NamedService>::NAME,
];

/// How long what a try came to is told to others who ask.
const FRESH: Duration = Duration::from_secs(1);

/// When someone tried, and why it failed where it did.
type Tried = (Instant, Result<(), String>);

/// What the health service tells.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    last: Arc<Mutex<Option<Tried>>>,
}

impl Health {
    /// Loads what is there, so that the first query need not wait for it, and goes on trying until the server stops.
    pub fn start(app: App) -> Self {
        let reporter = HealthReporter::new();
        let telling = reporter.clone();
        tokio::spawn(async move {
            let warm = app.clone();
            tell(&telling, true).await;
            _ = tokio::task::spawn_blocking(move || load_all(&warm)).await;
            let stopping = app.stopping.clone();
            tokio::select! {
                () = watch(&telling, app.probe, move || try_once(app.clone())) => {}
                () = stopped(stopping) => tell(&telling, false).await,
            }
        });
        Health { reporter, last: Arc::default() }
    }

    /// Tries now, unless someone did a moment ago. Too much to do is not illness.
    pub async fn check(&self, app: &App) -> Result<(), String> {
        let mut last = self.last.lock().await;
        if let Some((_, told)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return told.clone();
        }
        let told = match try_once(app.clone()).await {
            Ok(()) | Err(Error::Overloaded { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        *last = Some((Instant::now(), told.clone()));
        told
    }

    /// The gRPC service.
    pub fn service(&self) -> tonic_health::pb::health_server::HealthServer<HealthService> {
        tonic_health::pb::health_server::HealthServer::new(HealthService::from_health_reporter(
            self.reporter.clone(),
        ))
    }
}

/// Opens each collection and its model. One that fails is told to the operator, and to whoever asks for it.
fn load_all(app: &App) {
    let Ok(all) = app.engine.collections() else { return };
    for info in all {
        if let Err(error) = app.engine.collection(&info.name).and_then(|c| c.encoder().map(|_| ())) {
            eprintln!("collection {:?} can't be searched: {error}", info.name);
        }
    }
}

/// One try, on a thread of its own kind: a stuck model must not hold up the server.
async fn try_once(app: App) -> Result<()> {
    let caller = Caller::until(Some(Instant::now() + PATIENCE));
    let tried = tokio::task::spawn_blocking(move || app.engine.probe(&caller));
    let stuck = |_| Error::Compute { reason: "a model has not answered for 30 s".to_owned() };
    let broke = |_| Error::Compute { reason: "the program broke".to_owned() };
    tokio::time::timeout(PATIENCE, tried).await.map_err(stuck)?.map_err(broke)?
}

/// Tries every so often, for ever, and tells what came of it. Too much to do is not illness.
async fn watch<F: Future<Output = Result<()>>>(
    reporter: &HealthReporter,
    every: Duration,
    mut probe: impl FnMut() -> F,
) {
    let mut well = true;
    loop {
        tokio::time::sleep(every).await;
        let now = match probe().await {
            Ok(()) => true,
            Err(Error::Overloaded { .. }) => well,
            Err(error) => {
                if well {
                    eprintln!("health: not serving: {error}");
                }
                false
            }
        };
        if now && !well {
            eprintln!("health: serving again");
        }
        well = now;
        tell(reporter, well).await;
    }
}

async fn tell(reporter: &HealthReporter, well: bool) {
    let status = if well { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tonic_health::pb::health_server::Health as _;
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus as Told};

    #[tokio::test]
    async fn it_tells_what_the_last_try_came_to() {
        let reporter = HealthReporter::new();
        tell(&reporter, true).await;
        let service = HealthService::from_health_reporter(reporter.clone());
        let told = || async {
            let request = HealthCheckRequest { service: "eyeshot.v1.Search".into() };
            service.check(tonic::Request::new(request)).await.unwrap().into_inner().status()
        };
        let ill = || Err(Error::Compute { reason: "ill".into() });
        let busy = || Err(Error::Overloaded { what: "text", retry: Duration::ZERO });
        // What each try comes to, and what was told before it.
        let script: [(Result<()>, Told); 6] = [
            (Ok(()), Told::Serving),
            (busy(), Told::Serving),
            (ill(), Told::Serving),
            (busy(), Told::NotServing),
            (Ok(()), Told::NotServing),
            (Ok(()), Told::Serving),
        ];
        let steps = Mutex::new(script.into_iter());
        let done = tokio::sync::Notify::new();
        let probe = || async {
            let step = steps.lock().unwrap().next();
            match step {
                Some((outcome, wanted)) => {
                    assert_eq!(told().await, wanted);
                    outcome
                }
                None => {
                    done.notify_one();
                    std::future::pending().await
                }
            }
        };
        tokio::select! {
            () = watch(&reporter, Duration::from_millis(1), probe) => {}
            () = done.notified() => {}
        }
    }
}
