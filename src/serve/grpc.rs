//! The gRPC services, each with its limits and guard.

use super::app::App;
use super::auth::Guard;
use super::health::Health;
use super::measure::{Meter, measure, until_stop};
use super::pace;
use super::proto::{self, v1};
use super::room::{self, Room};
use super::settings::Settings;
use crate::error::{Error, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use std::sync::Arc;
use std::time::Duration;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;

/// The call whose client streams.
const UPLOADS: &str = "/eyeshot.v1.Images/Upsert";

/// All services, each behind the guard but health and reflection, which tell nothing of what is stored.
pub fn router(app: App, health: &Health, settings: &Settings, meter: Meter, room: Room) -> Result<Router> {
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
    let services = Routes::new(guarded!(v1::search_server::SearchServer<App>))
        .add_service(guarded!(v1::collections_server::CollectionsServer<App>))
        .add_service(guarded!(v1::images_server::ImagesServer<App>))
        .add_service(guarded!(v1::answer_server::AnswerServer<App>));
    let described = |file: &'static [u8]| {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(file)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let undescribed = |e: tonic_reflection::server::Error| Error::Corrupt { reason: e.to_string() };
    // Clients keep streams of these open for as long as they live.
    let endless = Routes::new(health.service())
        .add_service(described(proto::DESCRIPTORS).build_v1().map_err(undescribed)?)
        .add_service(described(proto::DESCRIPTORS).build_v1alpha().map_err(undescribed)?)
        .into_axum_router()
        .reset_fallback()
        .layer(from_fn_with_state(app.stopping.clone(), until_stop));
    let services = services.into_axum_router().layer(from_fn_with_state(room, room::count));
    let services = services.layer(from_fn_with_state(settings.patience, paced));
    Ok(services.merge(endless).layer(from_fn_with_state(meter, measure)))
}

/// Has messages come at a pace. Between two uploads there may be a pause of any length: who sends pictures may be looking for the
/// next one.
async fn paced(patience: State<Duration>, request: Request, next: Next) -> Response {
    match request.uri().path() {
        UPLOADS => pace::keep_messages(patience, request, next).await,
        _ => pace::keep(patience, request, next).await,
    }
}
