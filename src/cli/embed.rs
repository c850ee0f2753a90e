//! `eyeshot embed`: vectors for other programs.

use super::args::Shared;
use super::terms::bytes;
use super::{Outcome, output};
use crate::engine::{DEFAULT_MODEL, Encoder, decode};
use crate::error::{Error, Result};
use clap::{ArgMatches, Args, FromArgMatches};
use serde::Serialize;

/// Print the unit vectors of words and pictures, in the order given
///
///   eyeshot embed --text "a cat" --image cat.jpg --json
#[derive(Args)]
#[command(verbatim_doc_comment)]
struct Flags {
    /// Words
    #[arg(long, value_name = "T")]
    text: Vec<String>,
    /// A picture: a path or an http(s) URL
    #[arg(short, long, value_name = "PATH|URL")]
    image: Vec<String>,
    /// The model: a Hugging Face id, an OpenCLIP name, a directory, or demo
    #[arg(long, value_name = "M", env = "EYESHOT_MODEL", default_value = DEFAULT_MODEL)]
    model: String,
}

/// The flags with texts and images in the order written, which clap keeps apart.
pub(super) struct Embed {
    model: String,
    inputs: Vec<Input>,
}

#[derive(Clone)]
enum Input {
    Text(String),
    Image(String),
}

#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    dim: usize,
    kind: &'static str,
    input: &'a str,
    embedding: Vec<f32>,
}

impl Embed {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        if self.inputs.is_empty() {
            return Err(Error::invalid(
                "nothing to embed",
                "give --text T or --image PATH, as often as you like",
            ));
        }
        let options = shared.models()?;
        let encoder =
            crate::engine::load_encoder(&self.model, &options, &super::progress::Downloads::default())?;
        for input in &self.inputs {
            let (kind, name, embedding) = match input {
                Input::Text(text) => ("text", text, encoder.embed_texts(&[text.as_str()])?),
                Input::Image(path) => ("image", path, vec![image(&encoder, path)?]),
            };
            let embedding = embedding.into_iter().next().unwrap_or_default();
            let line = Line { model: encoder.name(), dim: encoder.dim(), kind, input: name, embedding };
            if shared.json { output::json(&line)? } else { output::text(summary(&line))? }
        }
        Ok(Outcome::Done)
    }
}

fn image(encoder: &Encoder, path: &str) -> Result<Vec<f32>> {
    let decoded = decode::decode(&bytes(path)?, &decode::Limits::default())
        .map_err(|e| Error::image(format!("{path}: {e}")))?;
    let pixels = encoder.prepare(&decoded.image)?;
    Ok(encoder.embed_pixels(&[pixels])?.pop().unwrap_or_default())
}

fn summary(line: &Line<'_>) -> String {
    let first: Vec<String> = line.embedding.iter().take(6).map(|x| format!("{x:.4}")).collect();
    format!(
        "{} {:?}: {} numbers, {}, ... (all of them with --json)",
        line.kind,
        line.input,
        line.dim,
        first.join(", ")
    )
}

impl FromArgMatches for Embed {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = Flags::from_arg_matches(matches)?;
        let places =
            |name: &str| matches.indices_of(name).map(Iterator::collect::<Vec<_>>).unwrap_or_default();
        let texts = places("text").into_iter().zip(flags.text.into_iter().map(Input::Text));
        let images = places("image").into_iter().zip(flags.image.into_iter().map(Input::Image));
        let mut inputs: Vec<(usize, Input)> = texts.chain(images).collect();
        inputs.sort_by_key(|(place, _)| *place);
        Ok(Embed { model: flags.model, inputs: inputs.into_iter().map(|(_, input)| input).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Embed {
    fn augment_args(command: clap::Command) -> clap::Command {
        Flags::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Flags::augment_args_for_update(command)
    }
}
