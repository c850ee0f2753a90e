//! The shapes that several answers share.

use crate::engine::Info;
use crate::types::item::local_time;
use crate::types::{Item, Payload};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A collection, and what it holds.
#[derive(Serialize, ToSchema)]
pub struct Collection {
    pub name: String,
    /// How many items.
    pub items: u64,
    /// Its active spaces.
    pub spaces: Vec<Space>,
    /// Those of its other model, which do not serve.
    pub shadow: Vec<Space>,
    /// The models that made the vectors that serve, each once.
    pub models: Vec<String>,
    /// What more can be asked of it.
    pub features: Features,
    /// What the data directory takes on disk, with all collections in it.
    pub bytes: u64,
}

/// What can be asked of a collection beside searching it.
#[derive(Serialize, ToSchema)]
pub struct Features {
    /// Whether hits can be reranked: whether there is a matcher.
    pub rerank: bool,
    /// Whether questions about pictures are answered.
    pub ask: bool,
}

/// The vectors that one model made from one side of the items.
#[derive(Serialize, ToSchema)]
pub struct Space {
    pub model: String,
    /// `image` or `caption`.
    pub modality: String,
    pub dim: u64,
    pub vectors: u64,
    /// How they are kept in memory: `int8` or `int4`.
    pub codes: String,
}

/// One image.
#[derive(Serialize, ToSchema)]
pub struct ItemBody {
    pub id: u64,
    /// Its URI: `file:///...` for a file of the server's machine.
    pub key: String,
    /// BLAKE3 of the file's bytes, in hex.
    pub hash: String,
    /// Pixels across, after EXIF orientation.
    pub width: u32,
    /// Pixels down, after EXIF orientation.
    pub height: u32,
    /// `jpeg`, `png`, `webp`, `gif`, `bmp` or `tiff`.
    pub format: String,
    /// The file's length.
    pub bytes: u64,
    /// When it was taken, by the camera's clock: `2024-05-31T18:00:00`.
    pub taken: Option<String>,
    pub captions: Vec<String>,
    /// What was brought with it.
    #[schema(value_type = Object)]
    pub payload: Payload,
    /// What the camera wrote.
    #[schema(value_type = Object)]
    pub exif: Payload,
}

impl From<Info> for Collection {
    fn from(info: Info) -> Self {
        let mut models: Vec<String> = info.spaces.iter().map(|space| space.model.clone()).collect();
        models.sort_unstable();
        models.dedup();
        let space = |space: crate::engine::SpaceInfo| Space {
            model: space.model,
            modality: space.modality.to_string(),
            dim: space.dim as u64,
            vectors: space.vectors as u64,
            codes: space.codes.to_string(),
        };
        let spaces = info.spaces.into_iter().map(space).collect();
        let shadow = info.shadow.into_iter().map(space).collect();
        let features = Features { rerank: info.matcher.is_some(), ask: info.answerer.is_some() };
        let (items, bytes) = (info.items as u64, info.bytes);
        Collection { name: info.name, items, spaces, shadow, models, features, bytes }
    }
}

impl From<Item> for ItemBody {
    fn from(item: Item) -> Self {
        ItemBody {
            id: item.id.0,
            key: item.key,
            hash: item.hash.to_string(),
            width: item.width,
            height: item.height,
            format: item.format,
            bytes: item.size,
            taken: item.taken.map(local_time),
            captions: item.captions,
            payload: item.payload,
            exif: item.exif,
        }
    }
}

/// A value of any type.
pub type Any = Value;
