//! `/v1/collections/{collection}/duplicates`.

use super::extract::{Path, Query};
use super::failure::{Failure, Failures};
use crate::engine::{Caller, Collection, Group, Likeness, Sameness, decode};
use crate::serve::app::App;
use crate::types::Item;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// How many groups an answer has where nobody says.
const LIMIT: usize = 100;

/// How alike, and which of the groups.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct How {
    /// The most that 1 - cosine of the embeddings may be, from 0 to 1.
    #[param(minimum = 0, maximum = 1)]
    distance: Option<f32>,
    /// The most bits of 64 in which the perceptual hashes may differ.
    #[param(minimum = 0, maximum = 64)]
    hamming: Option<u32>,
    #[serde(default)]
    #[param(default = 0, maximum = 4_294_967_295_u32)]
    offset: u32,
    /// 100 where absent.
    #[param(maximum = 4_294_967_295_u32)]
    limit: Option<u32>,
}

/// Groups of items that show the same picture: those of the same bytes first.
#[derive(Serialize, ToSchema)]
pub struct Groups {
    groups: Vec<GroupBody>,
    /// How many there are on all pages.
    total: u64,
}

/// Items that show the same picture, by id.
#[derive(Serialize, ToSchema)]
pub struct GroupBody {
    kind: GroupKind,
    items: Vec<TwinBody>,
}

/// `same`: byte by byte. `near`: they look alike.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupKind {
    Same,
    Near,
}

/// An item, and how far it is from the first of its group.
#[derive(Serialize, ToSchema)]
pub struct TwinBody {
    id: u64,
    key: String,
    /// 1 - cosine of the embeddings.
    distance: f32,
    /// Bits in which the perceptual hashes differ; null where one of the pictures cannot be read.
    hamming: Option<u32>,
}

/// Which images are there more than once. Nothing is removed. Every item is looked at, which takes a while in a large collection.
#[utoipa::path(get, path = "/v1/collections/{collection}/duplicates", tag = "items",
    params(("collection" = String, Path), How), responses((status = 200, body = Groups), Failures))]
pub async fn list(
    State(app): State<App>,
    Path(collection): Path<String>,
    Query(how): Query<How>,
) -> Result<Json<Groups>, Failure> {
    let (there, usual) = (app.clone(), Likeness::default());
    let likeness = Likeness {
        distance: how.distance.unwrap_or(usual.distance),
        hamming: how.hamming.unwrap_or(usual.hamming),
    };
    let groups = app.work.run(None, move |caller| {
        let collection = there.collection(&collection)?;
        let looks = |item: &Item| looks(&there, &collection, item, caller);
        collection.duplicates(likeness, &looks, caller)
    });
    let groups = groups.await?;
    let total = groups.len() as u64;
    let page =
        groups.into_iter().skip(how.offset as usize).take(how.limit.map_or(LIMIT, |limit| limit as usize));
    Ok(Json(Groups { groups: page.map(GroupBody::from).collect(), total }))
}

fn looks(app: &App, collection: &Collection, item: &Item, caller: &Caller) -> Option<u64> {
    let bytes = app.sources.picture(item, collection, caller).ok()?;
    let decoded = app.engine.memory().decode(&bytes).ok()?;
    Some(decode::looks(&decoded.image))
}

impl From<Group> for GroupBody {
    fn from(group: Group) -> Self {
        let kind = match group.kind {
            Sameness::Same => GroupKind::Same,
            Sameness::Near => GroupKind::Near,
        };
        let twin = |twin: crate::engine::Twin| TwinBody {
            id: twin.id.0,
            key: twin.key,
            distance: twin.distance,
            hamming: twin.hamming,
        };
        GroupBody { kind, items: group.items.into_iter().map(twin).collect() }
    }
}
