//! `/v1/collections`.

use super::extract::{Body, MayWrite, Path};
use super::failure::{Failure, Failures};
use super::json::Collection;
use crate::engine;
use crate::serve::app::App;
use crate::types::Codes;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All collections.
#[derive(Serialize, ToSchema)]
pub struct Collections {
    collections: Vec<Collection>,
}

/// A collection to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCollection {
    /// 1 to 128 letters, digits, `-`, `_` or `.`, not beginning with `.`.
    #[schema(pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$")]
    name: String,
    /// The server's default where none is named.
    #[serde(default)]
    model: Option<String>,
    /// How vectors are kept in memory: `int8`, or `int4`, which takes three quarters of that and finds 98 of 100 that are nearest. `int8` where
    /// nothing is named.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^int[48]$")]
    codes: Option<Codes>,
}

/// Every collection, by name.
#[utoipa::path(get, path = "/v1/collections", tag = "collections",
    responses((status = 200, body = Collections), Failures))]
pub async fn list(State(app): State<App>) -> Result<Json<Collections>, Failure> {
    let there = app.clone();
    let all = app.work.run(app.patience(), move |_| there.engine.collections()).await?;
    Ok(Json(Collections { collections: all.into_iter().map(Collection::from).collect() }))
}

/// Makes a collection.
#[utoipa::path(post, path = "/v1/collections", tag = "collections", request_body = NewCollection,
    responses((status = 201, body = Collection), Failures))]
pub async fn create(
    State(app): State<App>,
    _: MayWrite,
    Body(new): Body<NewCollection>,
) -> Result<(StatusCode, Json<Collection>), Failure> {
    let there = app.clone();
    // A model may have to be fetched first, which takes as long as it takes.
    let made = app.work.run(None, move |_| {
        let model = there.model(new.model.as_deref().unwrap_or_default());
        there.engine.create_collection(&new.name, engine::NewCollection { model, codes: new.codes })?.info()
    });
    Ok((StatusCode::CREATED, Json(made.await?.into())))
}

/// One collection.
#[utoipa::path(get, path = "/v1/collections/{collection}", tag = "collections", params(("collection" = String, Path)),
    responses((status = 200, body = Collection), Failures))]
pub async fn show(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Collection>, Failure> {
    let there = app.clone();
    let info = app.work.run(app.patience(), move |_| there.collection(&name)?.info()).await?;
    Ok(Json(info.into()))
}

/// Removes a collection and all that it holds. Files that were indexed stay.
#[utoipa::path(delete, path = "/v1/collections/{collection}", tag = "collections",
    params(("collection" = String, Path)),
    responses((status = 204, description = "It is gone"), Failures))]
pub async fn delete(
    State(app): State<App>,
    _: MayWrite,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    let there = app.clone();
    app.work.run(app.patience(), move |_| there.drop_collection(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How a collection is to be switched.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Flip {
    /// Remove the items that the shadow lacks, rather than refuse.
    remove_missing: bool,
}

/// Switches a collection to the model that filled its shadow (an index run with `shadow`). Each query is answered by one of the two
/// models alone; the model before becomes the shadow, so that flipping again goes back. Refused (409), with how many, where items
/// have no vectors in the shadow as they are now.
#[utoipa::path(post, path = "/v1/collections/{collection}/flip", tag = "collections",
    params(("collection" = String, Path)), request_body = Flip,
    responses((status = 200, body = Collection), Failures))]
pub async fn flip(
    State(app): State<App>,
    _: MayWrite,
    Path(name): Path<String>,
    Body(how): Body<Flip>,
) -> Result<Json<Collection>, Failure> {
    let there = app.clone();
    // A model may have to be loaded first.
    let info = app.work.run(None, move |_| there.flip(&name, how.remove_missing)).await?;
    Ok(Json(info.into()))
}

/// Drops the shadow of a collection; what serves stays.
#[utoipa::path(delete, path = "/v1/collections/{collection}/shadow", tag = "collections",
    params(("collection" = String, Path)),
    responses((status = 204, description = "It is gone"), Failures))]
pub async fn drop_shadow(
    State(app): State<App>,
    _: MayWrite,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    let there = app.clone();
    app.work.run(app.patience(), move |_| there.engine.drop_shadow(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}
