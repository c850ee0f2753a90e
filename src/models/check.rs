//! `eyeshot model check`: every tensor that a checkpoint ought to hold, beside what it does hold.

use super::blip::Blip;
use super::clip::Clip;
use super::files::ModelFiles;
use super::generate::Decoding;
use super::kind::Kind;
use super::llava::{Llava, Prompt};
use super::options::ModelOptions;
use super::weights::TensorRow;
use crate::Result;
use serde::Serialize;

/// What there is to say of a checkpoint.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The model as the user named it.
    pub name: String,
    /// Where its files are.
    pub origin: String,
    /// What it is.
    pub kind: Kind,
    /// Every tensor: first those that the network asks for, then those that it leaves alone.
    pub tensors: Vec<TensorRow>,
    /// How many numbers the tensors hold that the network asks for.
    pub parameters: u64,
    /// The length of the weight files in bytes.
    pub bytes: u64,
    /// What is wrong; none means that the model runs.
    pub problems: Vec<String>,
}

impl Report {
    /// Whether the model can be run.
    pub fn runs(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Looks at the checkpoint `files`: first at each tensor, then, where all are there, by loading it and running it once.
///
/// # Errors
/// Only when not even the kind or the list of weights can be read; all else is told in the report.
pub fn check(files: &ModelFiles, options: &ModelOptions) -> Result<Report> {
    let kind = files.kind()?;
    let mut problems = Vec::new();
    let tensors = match kind {
        Kind::Clip => Clip::survey(files)?,
        Kind::Blip => Blip::survey(files)?,
        Kind::Llava => Llava::survey(files)?,
        _ => {
            problems.push(format!("models of kind {kind} can't be run yet"));
            Vec::new()
        }
    };
    problems.extend(tensors.iter().filter(|row| !row.fits()).map(describe));
    if problems.is_empty() {
        problems.extend(attempt(&kind, files, options).err().map(|e| e.to_string()));
    }
    let count =
        |row: &TensorRow| row.expected.as_ref().map_or(0, |shape| shape.iter().product::<usize>() as u64);
    Ok(Report {
        name: files.name.clone(),
        origin: files.origin.clone(),
        kind,
        parameters: tensors.iter().map(count).sum(),
        bytes: files.weight_bytes()?,
        tensors,
        problems,
    })
}

/// Runs the model once, on as little as will do.
fn attempt(kind: &Kind, files: &ModelFiles, options: &ModelOptions) -> Result<()> {
    if *kind == Kind::Clip {
        return Clip::load(files, options)?.embed_texts(&["a"]).map(drop);
    }
    let one = Decoding { max_new_tokens: 1, ..Decoding::default() };
    if *kind == Kind::Llava {
        let llava = Llava::load(files, options)?;
        let seen = llava.look(&[llava.prepare(&image::RgbImage::new(8, 8), false)?])?;
        let images: Vec<_> = seen.iter().collect();
        return llava.answer(&Prompt { question: "a", images: &images, ..Prompt::default() }, &one).map(drop);
    }
    let blip = Blip::load(files, options)?;
    let features = blip.look(&[blip.prepare(&image::RgbImage::new(8, 8))?])?;
    for features in &features {
        if blip.can_match() {
            blip.matches(&[(features, "a")])?;
        }
        if blip.can_caption() {
            blip.caption(&[features], &one)?;
        }
        if blip.can_answer() {
            blip.answer(&[(features, "a")], &one)?;
        }
    }
    Ok(())
}

fn describe(row: &TensorRow) -> String {
    let expected = row.expected.clone().unwrap_or_default();
    match &row.found {
        Some(found) => format!("{}: {} has shape {found:?}, expected {expected:?}", row.file, row.name),
        None => format!("{} has no tensor {}, expected {expected:?}", row.file, row.name),
    }
}
