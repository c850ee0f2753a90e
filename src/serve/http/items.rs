//! `/v1/collections/{collection}/items`.

use super::extract::{MayWrite, Path, Query};
use super::failure::{Failure, Failures};
use super::json::ItemBody;
use crate::engine::Collection;
use crate::error::{Error, Result};
use crate::serve::app::App;
use crate::serve::convert;
use crate::serve::proto::v1 as pb;
use crate::types::{Item, ItemId};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// How many items a page has where nobody says, and at most.
const LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// Which items.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    #[serde(default)]
    #[param(default = 0, maximum = 4_294_967_295_u32)]
    offset: u32,
    /// 1 to 1000; 100 where absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only items that pass; the language of `eyeshot search --filter`.
    #[param(format = "filter")]
    filter: Option<String>,
}

/// Items by id.
#[derive(Serialize, ToSchema)]
pub struct Items {
    items: Vec<ItemBody>,
    /// How many there are on all pages.
    total: u64,
}

/// Items, page by page.
#[utoipa::path(get, path = "/v1/collections/{collection}/items", tag = "items",
    params(("collection" = String, Path), Which), responses((status = 200, body = Items), Failures))]
pub async fn list(
    State(app): State<App>,
    Path(collection): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<Items>, Failure> {
    let there = app.clone();
    let page = app.work.run(app.patience(), move |_| {
        let limit = which.limit.unwrap_or(LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Error::invalid(format!("limit {limit}"), format!("it is from 1 to {MAX_LIMIT}")));
        }
        let message = |expression| pb::Filter { expression, ..pb::Filter::default() };
        let filter = which.filter.map(|text| convert::filter(message(text))).transpose()?;
        there.collection(&collection)?.page(filter.as_ref(), which.offset as usize, limit)
    });
    let page = page.await?;
    let items = page.items.into_iter().map(ItemBody::from).collect();
    Ok(Json(Items { items, total: page.total as u64 }))
}

/// One item.
#[utoipa::path(get, path = "/v1/collections/{collection}/items/{id}", tag = "items",
    params(("collection" = String, Path), ("id" = u64, Path)),
    responses((status = 200, body = ItemBody), Failures))]
pub async fn show(
    State(app): State<App>,
    Path((collection, id)): Path<(String, u64)>,
) -> Result<Json<ItemBody>, Failure> {
    let there = app.clone();
    let item =
        app.work.run(app.patience(), move |_| item(there.collection(&collection)?.as_ref(), id)).await?;
    Ok(Json(item.into()))
}

/// Removes an item. Its file stays where it is.
#[utoipa::path(delete, path = "/v1/collections/{collection}/items/{id}", tag = "items",
    params(("collection" = String, Path), ("id" = u64, Path)),
    responses((status = 204, description = "It is gone"), Failures))]
pub async fn delete(
    State(app): State<App>,
    _: MayWrite,
    Path((collection, id)): Path<(String, u64)>,
) -> Result<StatusCode, Failure> {
    let there = app.clone();
    let gone = app.work.run(app.patience(), move |_| {
        let collection = there.collection(&collection)?;
        let key = item(&collection, id)?.key;
        collection.remove_keys(&[key])
    });
    gone.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The item of that id, which must be there.
pub fn item(collection: &Collection, id: u64) -> Result<Item> {
    collection.item(ItemId(id))?.ok_or_else(|| Error::NotFound {
        kind: "item",
        name: id.to_string(),
        fix: format!("GET /v1/collections/{}/items lists what there is", collection.name()),
    })
}
