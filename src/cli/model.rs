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
                for (role, demo) in models::shipped() {
                    let (kind, bytes) = (demo.kind()?, demo.weight_bytes()?);
                    match shared.json {
                        true => {
                            output::json(&json!({"id": "demo", "kind": kind, "role": role, "bytes": bytes}))?
                        }
                        false => row("demo", bytes, &format!("ships with eyeshot: {kind}, {role}"))?,
                    }
                }
                let print = |model: &CachedModel| match shared.json {
                    true => output::json(model),
                    false => row(&model.id, model.bytes, &model.path.display().to_string()),
                };
                models::cached(&options.hub).iter().try_for_each(print)?;
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

fn row(id: &str, bytes: u64, what: &str) -> Result<()> {
    output::text(format!("{id:<48} {:>10}  {what}", output::bytes(bytes)))
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
