//! What is kept of one image.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Typed JSON that travels with an item: what a sidecar file or a caller said of it.
pub type Payload = serde_json::Map<String, serde_json::Value>;

/// An item's number in its collection; given once, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemId(pub u64);

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// BLAKE3 of the file's bytes: equal bytes share their vectors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        ContentHash(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for ContentHash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let hash = blake3::Hash::from_hex(text.as_bytes()).map_err(serde::de::Error::custom)?;
        Ok(ContentHash(*hash.as_bytes()))
    }
}

/// Which of an item's sides a space holds vectors of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    /// The picture: one vector an item.
    Image,
    /// Its captions: one vector a caption.
    Caption,
}

impl fmt::Display for Modality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Modality::Image => "image",
            Modality::Caption => "caption",
        })
    }
}

/// Seconds since 1970-01-01T00:00:00 as a person's clock shows them: `2024-05-31T18:00:00`. A year that no clock shows is
/// written as its seconds.
pub fn local_time(second: i64) -> String {
    let stamp = jiff::Timestamp::from_second(second).ok();
    let shown = stamp.map(|t| t.to_zoned(jiff::tz::TimeZone::UTC).datetime().to_string());
    shown.unwrap_or_else(|| second.to_string())
}

/// One image as the store keeps it, without its vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its number.
    pub id: ItemId,
    /// Its URI: `file:///...` for a file of this machine.
    pub key: String,
    /// BLAKE3 of the file's bytes.
    pub hash: ContentHash,
    /// The file's length in bytes.
    pub size: u64,
    /// Pixels across, after EXIF orientation.
    pub width: u32,
    /// Pixels down, after EXIF orientation.
    pub height: u32,
    /// The file format in lower case: `jpeg`, `png`, `webp`, `gif`, `bmp`, `tiff`.
    pub format: String,
    /// When the picture was taken, as EXIF's local date and time: seconds since 1970-01-01T00:00:00 with no time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<i64>,
    /// What is said of it, in the order given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub captions: Vec<String>,
    /// What the camera wrote into the file: `make`, `model`, `lens`, `gps`, ...
    #[serde(default, skip_serializing_if = "Payload::is_empty")]
    pub exif: Payload,
    /// What else was brought with it.
    #[serde(default, skip_serializing_if = "Payload::is_empty")]
    pub payload: Payload,
}
