//! Whether a model knows how the parts of a picture stand to one another: What's Up's protocol (Kamath et al., EMNLP 2023).
//!
//! 1. `sets` reads pictures that come in sets of four, each with four captions of which one is true of it alone.
//! 2. Each stage scores every picture with every choice: the encoder's cosine, the matcher's cosine (ITC), its probability (ITM),
//!    and probability and cosine fused as reranking does it.
//! 3. `score` counts: pictures whose highest choice is the true one, or is at least above its opposite; opposites with both right,
//!    sets with all four right.
//! 4. The same with a blank picture in the place of each, and with another set's picture: what stays above chance then was
//!    read off the captions, not the pictures.

mod score;
mod sets;

pub use score::Row;
pub use sets::{Picture, read};

use crate::engine::{Blip, Encoder, Features, Pixels, decode, fused};
use crate::error::{Error, Result};
use crate::types::ContentHash;
use image::{Rgb, RgbImage};

/// How many pictures or texts a model sees at once.
const BATCH: usize = 32;

/// What stands in the place of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shown {
    /// The picture itself.
    Own,
    /// Plain grey: only the captions are left to go by.
    Blank,
    /// A picture of another set of the same contrast.
    Shuffled,
}

/// What one stage says of each picture's choices, in order.
type Scores = Vec<Vec<f32>>;

/// A picture as both models take it.
struct Seen {
    vector: Vec<f32>,
    features: Features,
}

/// Measures every stage on `pictures`; `each` is called after each step of [`steps`].
pub fn run(encoder: &Encoder, blip: &Blip, pictures: &[Picture], each: &dyn Fn()) -> Result<Vec<Row>> {
    let mut seen = Vec::with_capacity(pictures.len());
    for pictures in pictures.chunks(BATCH) {
        let images = pictures.iter().map(load).collect::<Result<Vec<_>>>()?;
        seen.extend(look(encoder, blip, &images)?);
        each();
    }
    let grey = RgbImage::from_pixel(64, 64, Rgb([128, 128, 128]));
    let blank = look(encoder, blip, &[grey])?.pop().ok_or_else(|| nothing("a grey picture"))?;
    let texts = Texts::of(encoder, pictures)?;
    let mut rows = Vec::new();
    for shown in [Shown::Own, Shown::Blank, Shown::Shuffled] {
        let mut scores: [Scores; 4] = Default::default();
        for (at, picture) in pictures.iter().enumerate() {
            let in_place = match shown {
                Shown::Own => seen.get(at),
                Shown::Blank => Some(&blank),
                Shown::Shuffled => donor(pictures, at).and_then(|other| seen.get(other)),
            };
            let told = stages(blip, &texts, picture, in_place.ok_or_else(|| nothing("another set"))?)?;
            scores.iter_mut().zip(told).for_each(|(all, one)| all.push(one));
            if at % BATCH == 0 {
                each();
            }
        }
        for (stage, scores) in ["clip", "blip-itc", "blip-itm", "fused"].into_iter().zip(&scores) {
            rows.extend(score::rows(stage, shown, pictures, scores));
        }
    }
    Ok(rows)
}

/// How often [`run`] calls back.
pub fn steps(pictures: &[Picture]) -> usize {
    4 * pictures.len().div_ceil(BATCH)
}

fn load(picture: &Picture) -> Result<RgbImage> {
    let bytes = std::fs::read(&picture.path).map_err(|e| Error::io(&picture.path, e))?;
    let decoded = decode::decode(&bytes, &decode::Limits::default());
    Ok(decoded.map_err(|e| Error::image(format!("{}: {e}", picture.path.display())))?.image)
}

fn look(encoder: &Encoder, blip: &Blip, images: &[RgbImage]) -> Result<Vec<Seen>> {
    let for_encoder: Vec<Pixels> =
        images.iter().map(|image| encoder.prepare(image)).collect::<Result<_>>()?;
    let for_blip: Vec<Pixels> = images.iter().map(|image| blip.prepare(image)).collect::<Result<_>>()?;
    let both = encoder.embed_pixels(&for_encoder)?.into_iter().zip(blip.look(&for_blip)?);
    Ok(both.map(|(vector, features)| Seen { vector, features }).collect())
}

/// The choices' vectors.
struct Texts(std::collections::HashMap<String, Vec<f32>>);

impl Texts {
    fn of(encoder: &Encoder, pictures: &[Picture]) -> Result<Self> {
        let mut texts: Vec<&str> = pictures.iter().flat_map(|p| &p.choices).map(String::as_str).collect();
        texts.sort_unstable();
        texts.dedup();
        let mut vectors = std::collections::HashMap::new();
        for texts in texts.chunks(BATCH) {
            let made = encoder.embed_texts(texts)?;
            vectors.extend(texts.iter().map(|text| (*text).to_owned()).zip(made));
        }
        Ok(Texts(vectors))
    }

    fn cosine(&self, text: &str, vector: &[f32]) -> f32 {
        self.0.get(text).map_or(0.0, |own| own.iter().zip(vector).map(|(a, b)| a * b).sum())
    }
}

/// What each of the four stages says of a picture's choices, when it is shown `seen`.
fn stages(blip: &Blip, texts: &Texts, picture: &Picture, seen: &Seen) -> Result<[Vec<f32>; 4]> {
    let pairs: Vec<(&Features, &str)> =
        picture.choices.iter().map(|text| (&seen.features, text.as_str())).collect();
    let clip: Vec<f32> = picture.choices.iter().map(|text| texts.cosine(text, &seen.vector)).collect();
    let (itc, itm) = (blip.similarities(&pairs)?, blip.matches(&pairs)?);
    let both = itm.iter().zip(&clip).map(|(p, cosine)| fused(*p, *cosine)).collect();
    Ok([clip, itc, itm, both])
}

/// A picture of another set of the same contrast, drawn by the hash of this one's name.
fn donor(pictures: &[Picture], at: usize) -> Option<usize> {
    let own = pictures.get(at)?;
    let others: Vec<usize> = pictures
        .iter()
        .enumerate()
        .filter(|(_, other)| other.contrast == own.contrast && other.set != own.set)
        .map(|(at, _)| at)
        .collect();
    let [a, b, c, d, ..] = ContentHash::of(own.path.as_os_str().as_encoded_bytes()).0;
    let draw = u32::from_le_bytes([a, b, c, d]) as usize;
    others.get(draw.checked_rem(others.len())?).copied()
}

fn nothing(what: &str) -> Error {
    Error::invalid(format!("there is no {what} to compare with"), "give at least two sets of each contrast")
}
