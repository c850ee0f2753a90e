//! What the values hold. Records are JSON, which payloads are anyway and which a person can read; vectors are bytes.

use super::block;
use super::key::Key;
use crate::error::{Error, Result};
use crate::types::{Codes, ContentHash, Item, ItemId, Modality};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A collection: its number, and the spaces that answer queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CollectionRecord {
    /// Its number, in the keys of what it owns.
    pub id: u32,
    /// What users call it.
    pub name: String,
    /// Its active spaces. What is stored of a space that no collection lists is swept away.
    pub spaces: Vec<SpaceRecord>,
    /// The spaces of another model, which are filled or kept while the active ones serve; none is the rule. A program that knows
    /// nothing of them sweeps them away, and so leaves none that is out of date.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<SpaceRecord>,
}

impl CollectionRecord {
    /// The active spaces and the shadow's.
    pub fn all_spaces(&self) -> impl Iterator<Item = &SpaceRecord> {
        self.spaces.iter().chain(&self.shadow)
    }
}

/// The vectors that one encoder made from one modality.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpaceRecord {
    /// Its number, in the keys of its vectors.
    pub id: u32,
    /// What the vectors were made from.
    pub modality: Modality,
    /// The model as the user named it.
    pub model: String,
    /// What tells the model's files from any other's.
    pub fingerprint: String,
    /// Length of its vectors.
    pub dim: usize,
    /// How they are kept in memory.
    #[serde(default, skip_serializing_if = "Codes::is_default")]
    pub codes: Codes,
}

/// Where an item came from, and what it was when it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The URI of the source that listed it.
    pub source: String,
    /// What changes when the file does: ETag, or time and size.
    pub stamp: String,
    /// BLAKE3 of its bytes.
    pub hash: ContentHash,
    /// The item it became.
    pub item: ItemId,
}

/// A vector and whose it is: u64 item, then the components, f16 (see `block` for why), all little-endian.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorRecord {
    /// The item that it stands for.
    pub item: ItemId,
    /// Its components.
    pub vector: Vec<f32>,
}

impl VectorRecord {
    pub(super) fn bytes(item: ItemId, vector: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 2 * vector.len());
        bytes.extend(item.0.to_le_bytes());
        block::put_halves(vector, &mut bytes);
        bytes
    }
}

/// Where a block stands in its file.
pub(super) struct Place {
    pub offset: u64,
    pub len: u64,
}

impl Place {
    pub fn bytes(&self) -> Vec<u8> {
        [self.offset.to_le_bytes(), self.len.to_le_bytes()].concat()
    }
}

/// The graph of a space that is to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct GraphPointer {
    pub generation: u32,
    pub bytes: u64,
    pub checksum: ContentHash,
    pub last_slot: u32,
}

pub(super) fn vector(bytes: &[u8]) -> Result<VectorRecord> {
    let (item, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| unreadable("vector"))?;
    let item = ItemId(u64::from_le_bytes(*item));
    match rest.len() % 2 {
        0 => Ok(VectorRecord { item, vector: block::from_halves(rest) }),
        _ => Err(unreadable("vector")),
    }
}

/// A vector as format 1 wrote it: f32.
pub(super) fn vector_of_format_1(bytes: &[u8]) -> Result<VectorRecord> {
    let (item, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| unreadable("vector"))?;
    let (parts, []) = rest.as_chunks::<4>() else { return Err(unreadable("vector")) };
    let vector = parts.iter().map(|b| f32::from_le_bytes(*b)).collect();
    Ok(VectorRecord { item: ItemId(u64::from_le_bytes(*item)), vector })
}

pub(super) fn collection(bytes: &[u8]) -> Result<CollectionRecord> {
    from_json("collection", bytes)
}

pub(super) fn item(bytes: &[u8]) -> Result<Item> {
    from_json("item", bytes)
}

pub(super) fn manifest(bytes: &[u8]) -> Result<Manifest> {
    from_json("manifest", bytes)
}

pub(super) fn graph(bytes: &[u8]) -> Result<GraphPointer> {
    from_json("graph", bytes)
}

pub(super) fn place(bytes: &[u8]) -> Result<Place> {
    let ([offset, len], []) = bytes.as_chunks::<8>() else { return Err(unreadable("block")) };
    Ok(Place { offset: u64::from_le_bytes(*offset), len: u64::from_le_bytes(*len) })
}

pub(super) fn slot(bytes: &[u8]) -> Result<u32> {
    bytes.try_into().map(u32::from_be_bytes).map_err(|_| unreadable("slot counter"))
}

pub(super) fn number(bytes: &[u8]) -> Result<u32> {
    bytes.try_into().map(u32::from_be_bytes).map_err(|_| unreadable("number counter"))
}

pub(super) fn uri_in_key(key: &[u8]) -> Result<String> {
    let uri = key.get(Key::OWNER..).and_then(|b| std::str::from_utf8(b).ok());
    uri.map(str::to_owned).ok_or_else(|| unreadable("manifest key"))
}

pub(super) fn counter(bytes: &[u8]) -> Result<u64> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| unreadable("item counter"))
}

pub(super) fn item_in_key(key: &[u8], skip: usize) -> Result<ItemId> {
    let id = key.get(skip..).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes);
    id.map(ItemId).ok_or_else(|| unreadable("hash key"))
}

pub(super) fn slot_in_key(key: &[u8], skip: usize) -> Result<u32> {
    let slot = key.get(skip..).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    slot.ok_or_else(|| unreadable("vector key"))
}

pub(super) fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|e| Error::Storage { reason: format!("a record can't be written: {e}") })
}

pub(super) fn unreadable(what: &str) -> Error {
    Error::Corrupt { reason: format!("a {what} record can't be read") }
}

fn from_json<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|e| Error::Corrupt { reason: format!("a {what} record can't be read: {e}") })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A collection without a shadow, and with codes as everywhere, reads and writes as it did before there were any.
    #[test]
    fn shadows_and_codes_are_optional() {
        let old = br#"{"id":3,"name":"c","spaces":[]}"#;
        let mut record = collection(old).unwrap();
        assert_eq!(record.shadow, []);
        assert_eq!(json(&record).unwrap(), old);
        let (modality, model, fingerprint) = (Modality::Image, "m".to_owned(), "f".to_owned());
        let space = SpaceRecord { id: 1, modality, model, fingerprint, dim: 2, codes: Codes::Int8 };
        record.shadow = vec![space.clone(), SpaceRecord { codes: Codes::Int4, ..space }];
        let written = json(&record).unwrap();
        assert_eq!(collection(&written).unwrap(), record);
        // Codes as everywhere are not written: so was it before there were others.
        assert_eq!(String::from_utf8(written).unwrap().matches("codes").count(), 1);
        assert_eq!(record.all_spaces().count(), 2);
    }
}
