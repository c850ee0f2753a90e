//! `eyeshot caption`: what pictures show, in words.

use super::args::Shared;
use super::pictures::{self, Looked};
use super::progress::Downloads;
use super::{Outcome, output};
use crate::engine::{DEFAULT_MODEL, Decoding, load_captioner};
use crate::error::Result;
use clap::Args;
use serde::Serialize;

/// Write a caption for each picture
///
///   eyeshot caption cat.jpg dog.jpg
///   eyeshot caption ~/Pictures/*.jpg --captioner Salesforce/blip-image-captioning-base --prompt "a picture of"
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Caption {
    /// Pictures: paths or http(s) URLs
    #[arg(required = true, value_name = "PATH|URL")]
    images: Vec<String>,
    /// The captioner: a Hugging Face id, a directory, or demo (knows emoji scenes only)
    #[arg(long, value_name = "M", env = "EYESHOT_CAPTIONER", default_value = DEFAULT_MODEL)]
    captioner: String,
    /// How many captions are weighed side by side; 1 takes the likeliest word each time
    #[arg(long, value_name = "N", env = "EYESHOT_BEAMS", default_value_t = 3)]
    beams: usize,
    /// How the captions begin
    #[arg(long, value_name = "TEXT", env = "EYESHOT_PROMPT")]
    prompt: Option<String>,
    /// The most tokens of a caption
    #[arg(long, value_name = "N", env = "EYESHOT_MAX_TOKENS", default_value_t = Decoding::default().max_new_tokens)]
    max_tokens: usize,
}

#[derive(Serialize)]
struct Line<'a> {
    image: &'a str,
    caption: String,
    token_ids: Vec<u32>,
}

impl Caption {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        let blip = load_captioner(&self.captioner, &shared.models()?, &Downloads::default())?;
        let how = if self.beams == 1 { Decoding::default() } else { Decoding::beam(self.beams) };
        let how = Decoding { prefix: self.prompt.clone(), max_new_tokens: self.max_tokens, ..how };
        pictures::each(&blip, &self.images, |Looked { name, features }| {
            for written in blip.caption(&[&features], &how)? {
                let line = Line { image: name, caption: written.text, token_ids: written.token_ids };
                match shared.json {
                    true => output::json(&line)?,
                    false => output::text(format!("{name}: {}", line.caption))?,
                }
            }
            Ok(())
        })
    }
}
