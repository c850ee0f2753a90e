//! `eyeshot eval`: how good it is, measured.

mod ann;
mod compositional;
mod vqa;

use super::args::{Matching, Shared};
use super::progress::{Bar, Work};
use super::{Outcome, output};
use crate::engine::{Collection, Engine, ModelOptions, Serving};
use crate::error::{Error, Result};
use crate::eval::retrieval::{self, Case, Recall, Report};
use crate::ingest::{self, Cancel, IndexOptions, Summary};
use crate::types::Rerank;
use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Measure retrieval, answers and the index on data whose right answers are known
#[derive(Args)]
pub(super) struct Eval {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Retrieval(Box<Retrieval>),
    Compositional(compositional::Compositional),
    Vqa(Box<vqa::Vqa>),
    Ann(ann::Ann),
}

/// Recall of text-to-image and image-to-image search over a folder
///
/// The folder's images are indexed, without their captions, into a collection that is thrown away, and
/// then searched. Queries and right answers come from FOLDER/queries.jsonl (or --queries), one a line:
///
///   {"query": "two cats on a table", "relevant": ["0001.jpg", "0017.jpg"]}
///   {"image": ".views/0001.jpg", "relevant": ["0001.jpg"]}
///
/// Without such a file, each caption beside the images (same-stem .txt or .json) asks for the images
/// that have it.
#[derive(Args)]
#[command(verbatim_doc_comment)]
struct Retrieval {
    /// The images [default: the emoji scenes that ship with eyeshot]
    folder: Option<PathBuf>,
    /// Queries and their right answers, as JSON lines
    #[arg(long, value_name = "FILE", env = "EYESHOT_QUERIES")]
    queries: Option<PathBuf>,
    /// The model: a Hugging Face id, an OpenCLIP name, a directory, or demo
    #[arg(long, value_name = "M", env = "EYESHOT_MODEL", default_value = crate::engine::DEFAULT_MODEL)]
    model: String,
    /// Ask the words once more, reranked; those that say how things stand to one another are told apart
    #[arg(long, env = "EYESHOT_RERANK", value_parser = FalseyValueParser::new())]
    rerank: bool,
    /// How many of the best hits are looked at
    #[arg(long, value_name = "N", env = "EYESHOT_RERANK_TOP", default_value_t = Rerank::default().top)]
    rerank_top: usize,
    #[command(flatten)]
    matching: Matching,
}

impl Eval {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        match &self.what {
            What::Retrieval(retrieval) => retrieval.run(shared),
            What::Compositional(compositional) => compositional.run(shared),
            What::Vqa(vqa) => vqa.run(shared),
            What::Ann(ann) => ann.run(shared),
        }
    }
}

/// A folder in a collection that is thrown away.
struct Scratch {
    collection: Arc<Collection>,
    summary: Summary,
    _engine: Engine,
    /// Removed last.
    _home: tempfile::TempDir,
}

/// Indexes `folder` with the encoder `model`.
fn index(
    shared: &Shared,
    folder: &Path,
    (model, models, serving): (&str, ModelOptions, Serving),
    captions: ingest::Captions,
) -> Result<Scratch> {
    let home = tempfile::Builder::new().prefix("eyeshot-eval-").tempdir();
    let home = home.map_err(|e| Error::io(std::env::temp_dir(), e))?;
    let engine = shared.engine_serving(home.path().to_owned(), models, serving)?;
    let collection = engine.collection_or_new("eval", Some(model))?;
    let options = IndexOptions { captions, ..IndexOptions::default() };
    let bar = Work::default();
    let summary = ingest::index(&collection, &[folder], &options, &bar, &Cancel::default())?;
    bar.finish();
    for refusal in &summary.refused {
        eprintln!("refused {}: {}", refusal.key, refusal.reason);
    }
    Ok(Scratch { collection, summary, _engine: engine, _home: home })
}

/// Refused images make what is measured less than what was asked for.
fn outcome(summary: &Summary) -> Outcome {
    if summary.refused.is_empty() { Outcome::Done } else { Outcome::Refused }
}

impl Retrieval {
    fn run(&self, shared: &Shared) -> Result<Outcome> {
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => super::demo::scenes()?,
        };
        let serving = Serving { matching: self.matching.options(), ..Serving::default() };
        let models = self.matching.models(shared)?;
        let captions = self.captions_wanted(&folder);
        let scratch = index(shared, &folder, (&self.model, models, serving), captions)?;
        let collection = &scratch.collection;
        let cases = self.cases(&folder, collection)?;
        let budget = Duration::from_secs(3600);
        let rerank = self.rerank.then_some(Rerank { top: self.rerank_top, budget, ..Rerank::default() });
        let bar = Bar::new("queries", cases.len() * if self.rerank { 3 } else { 1 });
        let report = retrieval::run(collection, &cases, rerank.as_ref(), &|| bar.step())?;
        bar.finish();
        print(&report, &scratch.summary, shared.json)
    }

    fn file(&self, folder: &Path) -> Option<PathBuf> {
        let beside = folder.join("queries.jsonl");
        self.queries.clone().or_else(|| beside.is_file().then_some(beside))
    }

    /// Captions are read only where they are the queries. They are never searched: queries go to the pictures.
    fn captions_wanted(&self, folder: &Path) -> ingest::Captions {
        match self.file(folder) {
            Some(_) => ingest::Captions::None,
            None => ingest::Captions::Sidecar,
        }
    }

    fn cases(&self, folder: &Path, collection: &crate::engine::Collection) -> Result<Vec<Case>> {
        let cases = match self.file(folder) {
            Some(file) => retrieval::cases_of_file(&file, folder)?,
            None => {
                let captions = collection.items().map(|item| item.map(|item| (item.key, item.captions)));
                retrieval::cases_of_captions(&captions.collect::<Result<BTreeMap<_, _>>>()?)
            }
        };
        if cases.is_empty() {
            let what = format!("{}: nothing to ask", folder.display());
            return Err(Error::invalid(
                what,
                "put captions beside the images (a.jpg, a.txt), or write a queries.jsonl",
            ));
        }
        Ok(cases)
    }
}

fn print(report: &Report, summary: &Summary, json: bool) -> Result<Outcome> {
    if json {
        output::json(report)?;
    } else {
        let share = |r: Option<f64>| r.map_or("     -".to_owned(), |r| format!("{r:>6.3}"));
        output::text(format!("{} images", summary.indexed))?;
        output::text("                 queries    R@1    R@5   R@10")?;
        let (r1, r5, r10) = (share(report.r1), share(report.r5), share(report.r10));
        output::text(format!("text to image    {:>7} {r1} {r5} {r10}", report.queries))?;
        output::text(format!(
            "image to image   {:>7}      -      - {}",
            report.i2i_queries,
            share(report.i2i_r10)
        ))?;
        if let Some(reranked) = &report.reranked {
            let line = |name: &str, recall: &Recall| {
                let (r1, r5, r10) = (share(recall.r1), share(recall.r5), share(recall.r10));
                output::text(format!("{name:<16} {:>7} {r1} {r5} {r10}", recall.queries))
            };
            line("reranked", &reranked.all)?;
            line("relations", &reranked.relational_before)?;
            line("  reranked", &reranked.relational)?;
            let (ms, again) = (reranked.ms, reranked.ms_again);
            output::text(format!("{ms:.0} ms a reranked query, {again:.0} ms with pictures seen before"))?;
        }
    }
    Ok(outcome(summary))
}
