//! Captions from the pictures themselves, as images come in: CapFilt (Li et al., BLIP, ICML 2022), made a rule of.
//!
//! 1. Where a judge is asked, each caption that was brought is held against its picture: one that matches is kept.
//! 2. Where none is left, or one was wrong, a writer describes the picture; its caption has to convince the judge too.
//! 3. It takes the place of the first wrong one; the others are dropped. What was done, and why, is recorded with the item.

use crate::error::Result;
use crate::models::{Blip, Decoding, Features, Pixels};
use crate::types::Payload;
use image::RgbImage;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;

/// The most pictures that share a pass through a vision tower: their states are large.
const LOOKS: usize = 16;
/// How many texts the writer weighs side by side.
const BEAMS: usize = 3;
/// Where an item's payload says what became of the captions that were brought, and which model wrote one.
pub const VERDICTS: &str = "capfilt";
/// Where an item's payload says which model wrote its caption.
pub const WRITER: &str = "caption_model";

/// What writes captions and judges those that were brought.
#[derive(Clone)]
pub struct Describer {
    writer: Arc<Blip>,
    judge: Option<Judge>,
}

#[derive(Clone)]
struct Judge {
    blip: Arc<Blip>,
    least: f32,
    /// Whether it is the writer too, so that one look at a picture does for both.
    same: bool,
}

/// A picture as writer and judge take it.
pub struct Sketch {
    writer: Pixels,
    judge: Option<Pixels>,
}

/// What became of an image's captions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Described {
    /// The captions that it has from now on.
    pub captions: Vec<String>,
    /// What became of each that was brought, or written and not taken.
    pub verdicts: Vec<Verdict>,
    /// Whether one of the captions was written by the model.
    pub written: bool,
}

/// What became of one caption.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The caption.
    pub caption: String,
    /// The probability that it matches the picture.
    #[serde(rename = "match")]
    pub matched: f32,
    /// What was done.
    pub verdict: Fate,
    /// Why, for people.
    pub reason: String,
    /// What stands in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What is done with a caption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It stays.
    Kept,
    /// The written one takes its place.
    Replaced,
    /// It goes.
    Dropped,
}

impl Describer {
    /// Writes captions for pictures that have none.
    pub fn new(writer: Arc<Blip>) -> Self {
        Describer { writer, judge: None }
    }

    /// Also judges what was brought, and what is written: a caption must match with at least probability `least`. `judge` may
    /// be the writer.
    pub fn judged_by(self, judge: Arc<Blip>, least: f32) -> Self {
        let same = judge.fingerprint() == self.writer.fingerprint();
        Describer { judge: Some(Judge { blip: judge, least, same }), ..self }
    }

    /// Tells runs apart whose captions would differ.
    pub fn stamp(&self) -> String {
        match &self.judge {
            None => format!("blip:{}", self.writer.fingerprint()),
            Some(judge) => {
                let (writer, blip) = (self.writer.fingerprint(), judge.blip.fingerprint());
                format!("capfilt:{writer}:{blip}:{}", judge.least)
            }
        }
    }

    /// Whether an image that came with these captions has to be looked at.
    pub fn wants(&self, captions: &[String]) -> bool {
        self.judge.is_some() || captions.is_empty()
    }

    /// How many pixels a side its models make of a picture; None for as many as there are.
    pub fn enough(&self) -> Option<u32> {
        let judge = self.judge.as_ref().map_or(Some(0), |judge| judge.blip.enough());
        Some(self.writer.enough()?.max(judge?))
    }

    /// A picture as [`Describer::describe`] takes it. Meant to be called from many threads.
    pub fn prepare(&self, image: &RgbImage) -> Result<Sketch> {
        let judge = self.judge.as_ref().filter(|judge| !judge.same);
        let judge = judge.map(|judge| judge.blip.prepare(image)).transpose()?;
        Ok(Sketch { writer: self.writer.prepare(image)?, judge })
    }

    /// What becomes of the captions of each image, in order.
    pub fn describe(&self, images: Vec<(Sketch, Vec<String>)>) -> Result<Vec<Described>> {
        let mut all = Vec::with_capacity(images.len());
        let mut images = images.into_iter().peekable();
        while images.peek().is_some() {
            let (sketches, said): (Vec<Sketch>, Vec<Vec<String>>) = images.by_ref().take(LOOKS).unzip();
            all.extend(self.describe_some(sketches, said)?);
        }
        Ok(all)
    }

    fn describe_some(&self, sketches: Vec<Sketch>, said: Vec<Vec<String>>) -> Result<Vec<Described>> {
        let (writers, judges): (Vec<Pixels>, Vec<Option<Pixels>>) =
            sketches.into_iter().map(|sketch| (sketch.writer, sketch.judge)).unzip();
        let judges: Vec<Pixels> = judges.into_iter().flatten().collect();
        let seen = match &self.judge {
            Some(judge) if !judge.same => judge.blip.look(&judges)?,
            _ => self.writer.look(&writers)?,
        };
        let judged = match &self.judge {
            Some(judge) => judge.probabilities(&seen, &said)?,
            None => vec![vec![]; said.len()],
        };
        let wanting: Vec<usize> = (0..said.len()).filter(|at| self.lacks(at_or(&judged, *at))).collect();
        let texts = self.write(&wanting, &writers, &seen)?;
        let pairs: Vec<(usize, String)> = wanting.into_iter().zip(texts).collect();
        let proofs = match &self.judge {
            None => vec![1.0; pairs.len()],
            Some(judge) => {
                let own = |(at, text): &(usize, String)| Some((seen.get(*at)?, text.clone()));
                let pairs: Vec<(&Features, String)> = pairs.iter().filter_map(own).collect();
                judge
                    .blip
                    .matches(&pairs.iter().map(|(seen, text)| (*seen, text.as_str())).collect::<Vec<_>>())?
            }
        };
        let mut written: Vec<Option<(String, f32)>> = vec![None; said.len()];
        for ((at, text), proof) in pairs.into_iter().zip(proofs) {
            if let Some(place) = written.get_mut(at) {
                *place = (!text.trim().is_empty()).then(|| (text.trim().to_owned(), proof));
            }
        }
        let least = self.judge.as_ref().map(|judge| judge.least);
        let rows = said.into_iter().zip(judged).zip(written);
        Ok(rows.map(|((said, judged), written)| decide(said, &judged, written, least)).collect())
    }

    /// Whether an image whose captions match with these probabilities needs one written.
    fn lacks(&self, judged: &[f32]) -> bool {
        let least = self.judge.as_ref().map_or(0.0, |judge| judge.least);
        judged.is_empty() || judged.iter().any(|p| *p < least)
    }

    /// Captions for some of the pictures.
    fn write(&self, wanting: &[usize], pixels: &[Pixels], seen: &[Features]) -> Result<Vec<String>> {
        if wanting.is_empty() {
            return Ok(vec![]);
        }
        let other = self.judge.as_ref().is_some_and(|judge| !judge.same);
        let features: Vec<Features> = match other {
            true => self
                .writer
                .look(&wanting.iter().filter_map(|at| pixels.get(*at).cloned()).collect::<Vec<_>>())?,
            false => wanting.iter().filter_map(|at| seen.get(*at).cloned()).collect(),
        };
        let texts = self.writer.caption(&features.iter().collect::<Vec<_>>(), &Decoding::beam(BEAMS))?;
        Ok(texts.into_iter().map(|written| written.text).collect())
    }
}

impl Judge {
    /// The probability of each caption of each picture.
    fn probabilities(&self, seen: &[Features], said: &[Vec<String>]) -> Result<Vec<Vec<f32>>> {
        let pairs: Vec<(&Features, &str)> = seen
            .iter()
            .zip(said)
            .flat_map(|(seen, said)| said.iter().map(move |text| (seen, text.as_str())))
            .collect();
        let mut told = if pairs.is_empty() { vec![] } else { self.blip.matches(&pairs)? }.into_iter();
        Ok(said.iter().map(|said| told.by_ref().take(said.len()).collect()).collect())
    }
}

impl Described {
    /// Writes down with an item what became of its captions.
    pub fn record(&self, writer: &Describer, payload: &mut Payload) {
        if !self.verdicts.is_empty() {
            let verdicts =
                self.verdicts.iter().map(|verdict| serde_json::to_value(verdict).unwrap_or(Value::Null));
            payload.insert(VERDICTS.to_owned(), verdicts.collect());
        }
        if self.written {
            payload.insert(WRITER.to_owned(), json!(writer.writer.name()));
        }
    }
}

/// What becomes of the captions `said`, which match with the probabilities `judged` (none where nobody judges).
fn decide(
    said: Vec<String>,
    judged: &[f32],
    written: Option<(String, f32)>,
    least: Option<f32>,
) -> Described {
    let Some(least) = least else {
        // Only those without captions are described.
        let written = written.filter(|_| said.is_empty()).map(|(text, _)| text);
        return Described {
            written: written.is_some(),
            captions: said.into_iter().chain(written).collect(),
            ..Described::default()
        };
    };
    let percent = |p: f32| format!("{:.0} %", 100.0 * p);
    let (text, proof) = written.unzip();
    let convincing = text.clone().filter(|text| proof.is_some_and(|p| p >= least) && !text.is_empty());
    let known = convincing
        .as_ref()
        .is_some_and(|text| said.iter().zip(judged).any(|(said, p)| said == text && *p >= least));
    let mut new = convincing.filter(|_| !known);
    let mut out = Described::default();
    let none = said.is_empty();
    for (caption, p) in said.into_iter().zip(judged.iter().copied()) {
        let (verdict, by) = match (p >= least, new.take()) {
            (true, kept) => {
                new = kept;
                (Fate::Kept, None)
            }
            (false, Some(text)) => (Fate::Replaced, Some(text)),
            (false, None) => (Fate::Dropped, None),
        };
        let reason = match verdict {
            Fate::Kept => format!("it matches the picture with {}", percent(p)),
            _ => format!("it matches the picture with {} only, less than {}", percent(p), percent(least)),
        };
        out.written |= by.is_some();
        out.captions.push(by.clone().unwrap_or_else(|| caption.clone()));
        if verdict == Fate::Dropped {
            out.captions.pop();
        }
        out.verdicts.push(Verdict { caption, matched: p, verdict, reason, by });
    }
    match (none, new, text.zip(proof)) {
        (true, Some(text), _) => {
            out.captions.push(text);
            out.written = true;
        }
        (true, None, Some((caption, p))) => {
            let reason = format!("written, and it matches the picture with {} only", percent(p));
            out.verdicts.push(Verdict { caption, matched: p, verdict: Fate::Dropped, reason, by: None });
        }
        _ => {}
    }
    out
}

fn at_or(judged: &[Vec<f32>], at: usize) -> &[f32] {
    judged.get(at).map_or(&[], Vec::as_slice)
}

impl fmt::Debug for Describer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Describer({})", self.stamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: &[(&str, f32)], written: Option<(&str, f32)>, captions: &[&str], fates: &[Fate]) {
        let (texts, judged): (Vec<String>, Vec<f32>) =
            said.iter().map(|(text, p)| ((*text).to_owned(), *p)).unzip();
        let written = written.map(|(text, p)| (text.to_owned(), p));
        let got = decide(texts, &judged, written, Some(0.5));
        assert_eq!(got.captions, captions, "{said:?}");
        assert_eq!(got.verdicts.iter().map(|v| v.verdict).collect::<Vec<_>>(), fates, "{said:?}");
    }

    #[test]
    fn captions_that_lie_are_replaced_or_dropped() {
        use Fate::{Dropped, Kept, Replaced};
        check(&[("a cat", 0.9)], None, &["a cat"], &[Kept]);
        check(&[("a cat", 0.1)], Some(("a dog", 0.9)), &["a dog"], &[Replaced]);
        check(&[("a cat", 0.1)], Some(("a dog", 0.2)), &[], &[Dropped]);
        check(&[("a cat", 0.1), ("a cow", 0.2)], Some(("a dog", 0.9)), &["a dog"], &[Replaced, Dropped]);
        check(&[("a dog", 0.9), ("a cow", 0.2)], Some(("a dog", 0.9)), &["a dog"], &[Kept, Dropped]);
        check(
            &[("a pet", 0.9), ("a cow", 0.2)],
            Some(("a dog", 0.9)),
            &["a pet", "a dog"],
            &[Kept, Replaced],
        );
        check(&[], Some(("a dog", 0.9)), &["a dog"], &[]);
        check(&[], Some(("a dog", 0.2)), &[], &[Dropped]);
        check(&[], None, &[], &[]);
    }

    #[test]
    fn without_a_judge_only_the_silent_are_described() {
        let written = || Some(("a dog".to_owned(), 1.0));
        let got = decide(vec!["a cat".into()], &[], written(), None);
        assert_eq!((got.captions, got.written), (vec!["a cat".to_owned()], false));
        let got = decide(vec![], &[], written(), None);
        assert_eq!((got.captions, got.written), (vec!["a dog".to_owned()], true));
    }
}
