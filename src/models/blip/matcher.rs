//! How well a text fits a picture: by reading both together (ITM), or by two embeddings (ITC).

use super::cross::Source;
use super::network::Judge;
use super::text::TextModel;
use super::{Blip, Features};
use crate::models::layers::{padding_mask, unit_rows};
use crate::{Error, Result};
use candle_core::{DType, IndexOp, Tensor};
use candle_nn::Module;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// How many texts are read at once.
const TEXTS: usize = 64;

/// Which start token a text has that is read beside a picture, and what pairs are ranked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Matching {
    /// transformers' way: `[CLS]`, ranked by the probability.
    #[default]
    Cls,
    /// The original's: `[ENC]`, ranked by the logit of "fits" plus the cosine of the contrastive heads.
    Enc,
}

impl FromStr for Matching {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "cls" => Ok(Matching::Cls),
            "enc" => Ok(Matching::Enc),
            _ => Err(Error::invalid(format!("matching convention {text:?}"), "one of cls, enc")),
        }
    }
}

impl fmt::Display for Matching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Matching::Cls => "cls",
            Matching::Enc => "enc",
        })
    }
}

/// What the matcher thinks of a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// The head's two logits: "doesn't fit", "fits".
    pub logits: [f32; 2],
    /// The probability that the text fits: softmax of the logits.
    pub probability: f32,
    /// What pairs are ranked by: the probability, or in the original's convention the logit of "fits" plus the cosine.
    pub rank: f32,
}

/// The pairs that look at one picture.
struct Group<'a> {
    image: &'a Features,
    pairs: Vec<usize>,
}

/// As [`Blip::judge`].
pub(super) fn judge(blip: &Blip, pairs: &[(&Features, &str)]) -> Result<Vec<Judgement>> {
    let (reader, heads) = parts(blip)?;
    let mut known: HashMap<&str, Vec<u32>> = HashMap::new();
    for (_, text) in pairs {
        if !known.contains_key(text) {
            known.insert(text, blip.looking_ids(text)?);
        }
    }
    let ids: Vec<&[u32]> =
        pairs.iter().map(|(_, text)| known.get(text).map_or(&[][..], Vec::as_slice)).collect();
    let mut logits = vec![[0.0; 2]; pairs.len()];
    for job in jobs(pairs) {
        let mut sources = Vec::with_capacity(job.len());
        for group in &job {
            sources.push(Source::new(blip.states(group.image)?, group.pairs.len()));
        }
        let places: Vec<usize> = job.iter().flat_map(|group| group.pairs.iter().copied()).collect();
        if let (true, [source]) = (places.len() > TEXTS, sources.as_slice()) {
            // More texts for one picture than go at once: its keys and values are kept between.
            let source = source.clone().project(reader)?;
            for places in places.chunks(TEXTS) {
                score(blip, reader, heads, &ids, places, &[source.with_rows(places.len())], &mut logits)?;
            }
        } else {
            score(blip, reader, heads, &ids, &places, &sources, &mut logits)?;
        }
    }
    let cosines = match blip.matching {
        super::Matching::Enc => similarities(blip, pairs)?,
        super::Matching::Cls => vec![0.0; pairs.len()],
    };
    logits.into_iter().zip(cosines).map(|(logits, cosine)| conclude(blip.matching, logits, cosine)).collect()
}

fn conclude(matching: Matching, logits: [f32; 2], cosine: f32) -> Result<Judgement> {
    let [against, fits] = logits;
    let probability = 1.0 / (1.0 + (against - fits).exp());
    if !probability.is_finite() {
        let reason = format!("the matcher's logits are {logits:?}; in f16 this is an overflow: try f32");
        return Err(Error::Compute { reason });
    }
    let rank = match matching {
        Matching::Cls => probability,
        Matching::Enc => fits + cosine,
    };
    Ok(Judgement { logits, probability, rank })
}

/// The pairs sorted by picture, in portions of at most [`TEXTS`] texts; a picture with more has one to itself.
fn jobs<'a>(pairs: &[(&'a Features, &str)]) -> Vec<Vec<Group<'a>>> {
    let mut groups: Vec<Group> = Vec::new();
    let mut found: HashMap<usize, usize> = HashMap::new();
    for (at, (image, _)) in pairs.iter().enumerate() {
        let place = *found.entry(image.address()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.pairs.push(at),
            None => groups.push(Group { image, pairs: vec![at] }),
        }
    }
    let mut jobs: Vec<Vec<Group>> = Vec::new();
    let mut room = 0;
    for group in groups {
        let count = group.pairs.len();
        match jobs.last_mut() {
            Some(job) if count <= room => {
                room -= count;
                job.push(group);
            }
            _ => {
                room = TEXTS.saturating_sub(count);
                jobs.push(vec![group]);
            }
        }
    }
    jobs
}

/// Scores the pairs at `places`, whose pictures are `sources`, into `logits`.
fn score(
    blip: &Blip,
    reader: &TextModel,
    heads: &Judge,
    ids: &[&[u32]],
    places: &[usize],
    sources: &[Source],
    logits: &mut [[f32; 2]],
) -> Result<()> {
    let texts: Vec<&[u32]> = places.iter().filter_map(|place| ids.get(*place).copied()).collect();
    let states = first_states(blip, reader, &texts, sources)?;
    let rows = heads.itm.forward(&states)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
    for (place, row) in places.iter().zip(rows) {
        if let (Some(target), [against, fits]) = (logits.get_mut(*place), row.as_slice()) {
            *target = [*against, *fits];
        }
    }
    Ok(())
}

/// The states of the first token of each text, (texts, width), after reading.
fn first_states(blip: &Blip, reader: &TextModel, texts: &[&[u32]], sources: &[Source]) -> Result<Tensor> {
    let (ids, mask) = batch(blip, texts)?;
    Ok(reader.read(&ids, mask.as_ref(), sources, reader.depth())?.i((.., 0))?.contiguous()?)
}

/// `texts` padded to the longest, (texts, longest), with the mask that hides the padding; none where there is none.
pub(super) fn batch(blip: &Blip, texts: &[&[u32]]) -> Result<(Tensor, Option<Tensor>)> {
    let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let mut ids = Vec::with_capacity(texts.len() * longest);
    for text in texts {
        ids.extend_from_slice(text);
        ids.resize(ids.len() + longest - text.len(), blip.config.text.pad_token_id);
    }
    let unequal = lengths.iter().any(|length| *length != longest);
    let mask = unequal.then(|| padding_mask(&lengths, &blip.device)).transpose()?;
    Ok((Tensor::from_vec(ids, (texts.len(), longest), &blip.device)?, mask))
}

/// As [`Blip::similarities`].
pub(super) fn similarities(blip: &Blip, pairs: &[(&Features, &str)]) -> Result<Vec<f32>> {
    let (mut images, mut texts) = (Vec::new(), Vec::new());
    let (mut image_at, mut text_at) = (HashMap::new(), HashMap::new());
    let mut places = Vec::with_capacity(pairs.len());
    for (image, text) in pairs {
        let image_place = *image_at.entry(image.address()).or_insert_with(|| {
            images.push(*image);
            images.len() - 1
        });
        let text_place = *text_at.entry(*text).or_insert_with(|| {
            texts.push(*text);
            texts.len() - 1
        });
        places.push((image_place, text_place));
    }
    let (images, texts) = (image_embeddings(blip, &images)?, text_embeddings(blip, &texts)?);
    let cosine = |(image, text): (usize, usize)| match (images.get(image), texts.get(text)) {
        (Some(image), Some(text)) => image.iter().zip(text).map(|(a, b)| a * b).sum(),
        _ => 0.0,
    };
    Ok(places.into_iter().map(cosine).collect())
}

/// As [`Blip::image_embeddings`].
pub(super) fn image_embeddings(blip: &Blip, images: &[&Features]) -> Result<Vec<Vec<f32>>> {
    let (_, heads) = parts(blip)?;
    let mut embeddings = Vec::with_capacity(images.len());
    for images in images.chunks(TEXTS) {
        let first = |image: &&Features| -> Result<Tensor> { Ok(blip.states(image)?.get(0)?) };
        let first = images.iter().map(first).collect::<Result<Vec<_>>>()?;
        embeddings.extend(unit_rows(&heads.image.forward(&Tensor::stack(&first, 0)?)?)?);
    }
    Ok(embeddings)
}

/// As [`Blip::text_embeddings`].
pub(super) fn text_embeddings(blip: &Blip, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
    let (reader, heads) = parts(blip)?;
    let mut embeddings = Vec::with_capacity(texts.len());
    for texts in texts.chunks(TEXTS) {
        let ids = blip.token_ids(texts)?;
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let states = first_states(blip, reader, &ids, &[])?;
        embeddings.extend(unit_rows(&heads.text.forward(&states)?)?);
    }
    Ok(embeddings)
}

fn parts(blip: &Blip) -> Result<(&TextModel, &Judge)> {
    match (&blip.network.reader, &blip.network.judge) {
        (Some(reader), Some(judge)) => Ok((reader, judge)),
        _ => Err(blip.lacks("match", "BlipForImageTextRetrieval")),
    }
}
