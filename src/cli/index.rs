//! `eyeshot index`: a folder's images into a collection.

use super::args::{Named, Shared};
use super::progress::Work;
use super::{Outcome, output};
use crate::engine::DEFAULT_MODEL;
use crate::error::{Error, Result};
use crate::ingest::{self, Cancel, Captions, IndexOptions, Shard, Summary};
use crate::types::uri;
use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use std::ffi::OsString;

/// Embed the images of folders and keep them in a collection
///
/// A second run embeds only what is new or changed. Stop it with Ctrl-C whenever you like: what was
/// indexed stays, and the next run goes on. Captions come from files beside the images: cat.txt (one
/// a line) or cat.json ({"captions": [...], and any other fields, which --filter can then ask for}).
///
///   eyeshot index ~/Pictures --model openai/clip-vit-base-patch32
///   eyeshot index ~/Pictures --prune                  also forget what is gone
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct IndexVerb {
    /// Folders or image files
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<OsString>,
    /// The model of a new collection: a Hugging Face id, an OpenCLIP name, a directory, or demo (knows emoji scenes only)
    #[arg(long, value_name = "M", env = "EYESHOT_MODEL")]
    model: Option<String>,
    /// Where captions come from
    #[arg(long, value_enum, env = "EYESHOT_CAPTIONS", default_value = "sidecar")]
    captions: CaptionsName,
    /// Remove what the sources no longer hold
    #[arg(long, env = "EYESHOT_PRUNE", value_parser = FalseyValueParser::new())]
    prune: bool,
    /// Take only part I of N, told by a hash of the key, to share the work among N runs (I from 0)
    #[arg(long, value_name = "I/N", env = "EYESHOT_SHARD")]
    shard: Option<String>,
    /// Images to a batch of the model
    #[arg(long, value_name = "N", env = "EYESHOT_BATCH", default_value_t = IndexOptions::default().batch)]
    batch: usize,
    #[command(flatten)]
    named: Named,
}

#[derive(Clone, Copy, ValueEnum)]
enum CaptionsName {
    /// Files beside the images
    Sidecar,
    /// No captions
    None,
}

impl IndexVerb {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        let options = IndexOptions {
            captions: match self.captions {
                CaptionsName::Sidecar => Captions::Sidecar,
                CaptionsName::None => Captions::None,
            },
            prune: self.prune,
            shard: self.shard.as_deref().map(str::parse::<Shard>).transpose()?,
            batch: self.batch,
            ..IndexOptions::default()
        };
        let engine = shared.engine()?;
        let collection = engine.collection_or_new(&self.named.collection, self.model.as_deref())?;
        if collection.model() == DEFAULT_MODEL && self.model.is_none() {
            eprintln!(
                "model: demo, which knows emoji scenes only; for photographs: --model openai/clip-vit-base-patch32"
            );
        }
        let cancel = on_interrupt()?;
        let bar = Work::default();
        let summary = ingest::index(&collection, &self.sources, &options, &bar, &cancel)?;
        bar.finish();
        if !cancel.is_set() {
            collection.settle()?;
        }
        print(&summary, shared.json)?;
        if cancel.is_set() {
            return Err(Error::Cancelled);
        }
        Ok(if summary.refused.is_empty() { Outcome::Done } else { Outcome::Refused })
    }
}

/// Ctrl-C and a polite kill stop the work between items; a second one stops the program at once, which loses nothing that
/// was acknowledged.
fn on_interrupt() -> Result<Cancel> {
    let cancel = Cancel::default();
    let flag = cancel.clone();
    let handler = move || {
        if flag.is_set() {
            #[expect(clippy::exit, reason = "the user asked twice")]
            std::process::exit(130);
        }
        eprintln!("\nstopping after this batch; once more to stop at once");
        flag.set();
    };
    ctrlc::set_handler(handler)
        .map_err(|e| Error::invalid(format!("signals can't be handled: {e}"), "try again"))?;
    Ok(cancel)
}

pub(super) fn print(summary: &Summary, json: bool) -> Result<()> {
    for refusal in &summary.refused {
        // A name may hold a newline; a listing must stay one line a file.
        let name = uri::display(&refusal.key).replace('\n', "\\n");
        eprintln!("refused {name}: {}", refusal.reason);
    }
    if json {
        return output::json(summary);
    }
    let Summary { indexed, unchanged, removed, duplicates, refused, seconds } = summary;
    let rate = *indexed as f64 / seconds.max(1e-9);
    output::text(format!(
        "{indexed} indexed ({duplicates} with bytes known before), {unchanged} unchanged, {removed} removed, {} refused, \
         in {seconds:.1} s ({rate:.0} images/s)",
        refused.len()
    ))
}
