//! `eyeshot match`: how probably pictures and texts belong together.

use super::args::{Matching, Shared};
use super::pictures::{self, Looked};
use super::progress::Downloads;
use super::{Outcome, output};
use crate::engine::{DEFAULT_MODEL, load_matcher};
use crate::error::{Error, Result};
use clap::Args;
use serde::Serialize;

/// Print the probability that a picture and words match, for every picture and text given
///
///   eyeshot match --image cat.jpg --text "a cat left of a dog" --text "a dog left of a cat"
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Match {
    /// Words
    #[arg(long, value_name = "T", required = true)]
    text: Vec<String>,
    /// A picture: a path or an http(s) URL
    #[arg(short, long, value_name = "PATH|URL", required = true)]
    image: Vec<String>,
    #[command(flatten)]
    matching: Matching,
}

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    image: &'a str,
    #[serde(rename = "match")]
    matched: f32,
    /// Of the matcher's own embeddings of picture and text.
    cosine: f32,
}

impl Match {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        if self.text.iter().any(|text| text.trim().is_empty()) {
            return Err(Error::invalid("an empty text", "give some words after --text"));
        }
        let model = self.matching.matcher.as_deref().unwrap_or(DEFAULT_MODEL);
        let blip = load_matcher(model, &self.matching.models(shared)?, &Downloads::default())?;
        for text in &self.text {
            let excess = blip.excess(text)?;
            if excess > 0 {
                eprintln!("{text:?} has {excess} tokens more than {model} reads; its end is left out");
            }
        }
        pictures::each(&blip, &self.image, |Looked { name, features }| {
            let pairs: Vec<_> = self.text.iter().map(|text| (&features, text.as_str())).collect();
            let (matches, cosines) = (blip.matches(&pairs)?, blip.similarities(&pairs)?);
            for ((text, matched), cosine) in self.text.iter().zip(matches).zip(cosines) {
                let line = Line { text, image: name, matched, cosine };
                match shared.json {
                    true => output::json(&line)?,
                    false => output::text(format!("{:>5.1} %  {name}  {text:?}", 100.0 * matched))?,
                }
            }
            Ok(())
        })
    }
}
