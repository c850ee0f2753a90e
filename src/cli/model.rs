//! `eyeshot model`: what is on this machine, fetching more, and looking at one.

use super::args::Shared;
use super::progress::Downloads;
use super::{Outcome, output};
use crate::error::{Error, Result};
use crate::models::{self, CachedModel, ModelOptions, Report};
use clap::{Args, Subcommand};
use serde_json::json;

/// List, fetch and check models
#[derive(Args)]
pub(super) struct ModelVerb {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// The models that are on this machine
    List,
    /// Fetch a model into the Hugging Face cache (HF_HOME), resuming where a download broke off
    Pull {
        /// A Hugging Face id (openai/clip-vit-base-patch32) or an OpenCLIP name (ViT-B-32/laion2b_s34b_b79k)
        model: String,
    },
    /// Look at a checkpoint: every tensor that it should have, and whether it is there in the right shape
    Check {
        /// A Hugging Face id, an OpenCLIP name, a directory, or demo
        model: String,
    },
}

impl ModelVerb {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        let options = shared.models()?;
        match &self.action {
            Action::List => {
                let demo = models::resolve("demo", &options, &Downloads::default())?;
                let shipped = json!({"id": "demo", "kind": demo.kind()?, "bytes": demo.weight_bytes()?});
                let cached = models::cached(&options.hub);
                match shared.json {
                    true => output::json(&shipped).and_then(|()| cached.iter().try_for_each(output::json))?,
                    false => list(demo.weight_bytes()?, &cached)?,
                }
                Ok(Outcome::Done)
            }
            Action::Pull { model } => {
                let options = ModelOptions { refresh: true, ..options };
                let files = models::resolve(model, &options, &Downloads::default())?;
                report(&models::check(&files, &options)?, shared.json)
            }
            Action::Check { model } => {
                let files = models::resolve(model, &options, &Downloads::default())?;
                report(&models::check(&files, &options)?, shared.json)
            }
        }
    }
}

fn list(demo: u64, cached: &[CachedModel]) -> Result<()> {
    output::text(format!("{:<48} {:>10}  ships with eyeshot", "demo", output::bytes(demo)))?;
    for model in cached {
        output::text(format!(
            "{:<48} {:>10}  {}",
            model.id,
            output::bytes(model.bytes),
            model.path.display()
        ))?;
    }
    Ok(())
}

fn report(report: &Report, json: bool) -> Result<Outcome> {
    if json {
        output::json(report)?;
    } else {
        output::text(format!("{} ({})", report.name, report.origin))?;
        output::text(format!(
            "  {}, {} parameters, {}",
            report.kind,
            report.parameters,
            output::bytes(report.bytes)
        ))?;
    }
    if report.runs() {
        if !json {
            output::text(format!("  fine: {} tensors, all as they should be", report.tensors.len()))?;
        }
        return Ok(Outcome::Done);
    }
    report.problems.iter().for_each(|problem| eprintln!("wrong: {problem}"));
    Err(Error::model(&report.name, format!("{} found, listed above", report.problems.len())))
}
