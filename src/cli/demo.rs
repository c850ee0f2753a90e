//! `eyeshot demo`: the main job on what ships with the program.

use super::args::Shared;
use super::ask::Paper;
use super::progress::Work;
use super::{Outcome, output, search, serve};
use crate::config;
use crate::engine::{Caller, Collection, DEFAULT_MODEL};
use crate::error::{Error, Result};
use crate::ingest::{self, Cancel, IndexOptions};
use crate::serve::Settings;
use crate::types::{Ask, Filter, Query, Rerank, Term, TermKind, terms, uri};
use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::json;
use std::path::PathBuf;

/// The collection that the demo makes.
const COLLECTION: &str = "demo";

/// Words, and a condition where there is one. All of them have answers among the shipped scenes.
const QUERIES: &[(&str, Option<&str>)] = &[
    ("two koalas", None),
    ("a unicorn next to a kangaroo", None),
    ("rockets at night", None),
    ("airplanes + 0.5:red background", None),
    ("pizza", Some("count >= 3 and background = sky")),
];

/// One of the scenes shows the second, and to the encoder both say the same: asked first plainly, then reranked.
const RELATIONS: [&str; 2] =
    ["a penguin left of a fire extinguisher", "a fire extinguisher left of a penguin"];

/// One that a scene answers, and one that none does.
const QUESTIONS: [&str; 2] =
    ["which image shows a unicorn next to a kangaroo?", "what is left of the submarine on the moon?"];

/// Index the images that ship with eyeshot, search them, ask about them, and serve them
///
/// Works offline: the images are a few hundred scenes made of emoji, and the model that ships was trained on such scenes.
/// The collection is named demo; go on with it: eyeshot search -c demo "four violins".
#[derive(Args)]
pub(super) struct Demo {
    /// Exit when the sample queries are done, and serve nothing
    #[arg(long, env = "EYESHOT_ONCE", value_parser = FalseyValueParser::new())]
    once: bool,
}

impl Demo {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        let folder = scenes()?;
        let engine = shared.engine()?;
        let collection = engine.collection_or_new(COLLECTION, Some(DEFAULT_MODEL))?;
        note(shared, &format!("indexing {} into {}", folder.display(), engine.path().display()));
        let bar = Work::default();
        let summary =
            ingest::index(&collection, &[&folder], &IndexOptions::default(), &bar, &Cancel::default())?;
        bar.finish();
        super::index::print(&summary, shared.json)?;
        for (text, filter) in QUERIES {
            ask(&collection, text, *filter, None, shared.json)?;
        }
        let closer = Rerank { min_match: Some(0.5), ..Rerank::default() };
        for rerank in [None, Some(closer)] {
            for text in RELATIONS {
                ask(&collection, text, None, rerank.clone(), shared.json)?;
            }
        }
        like_the_first(&collection, shared.json)?;
        for question in QUESTIONS {
            answer(&collection, question, shared.json)?;
        }
        if self.once {
            return Ok(Outcome::Done);
        }
        note(shared, "\nCtrl-C stops the server; go on with: eyeshot search -c demo \"four violins\"");
        drop(collection);
        serve::run(engine, &Settings::default(), shared.json)
    }
}

/// The folder of shipped scenes.
pub(super) fn scenes() -> Result<PathBuf> {
    let folder = config::assets().map(|assets| assets.join("scenes")).filter(|scenes| scenes.is_dir());
    folder.ok_or_else(|| Error::NotFound {
        kind: "folder",
        name: "assets/scenes".into(),
        fix: "set EYESHOT_ASSETS to the assets folder of the eyeshot sources".into(),
    })
}

fn ask(
    collection: &Collection,
    text: &str,
    filter: Option<&str>,
    rerank: Option<Rerank>,
    json: bool,
) -> Result<()> {
    let term = |t: terms::Weighed| Term { kind: TermKind::Text(t.text), weight: t.weight };
    let mut query = Query::new(terms::parse(text).into_iter().map(term).collect());
    query.limit = 3;
    query.filter = filter.map(Filter::parse).transpose()?;
    query.rerank = rerank;
    match json {
        true => output::json(&json!({"query": text, "filter": filter, "rerank": query.rerank.is_some()}))?,
        false => {
            let condition = filter.map(|f| format!(" --filter '{f}'")).unwrap_or_default();
            let rerank = if query.rerank.is_some() { " --min-match 0.5" } else { "" };
            output::text(format!("\neyeshot search -c {COLLECTION} \"{text}\"{condition}{rerank}"))?;
        }
    }
    let hits = collection.query(&query)?;
    if hits.is_empty() && !json {
        output::text("      no good match")?;
    }
    search::print(&hits, 0, false, json)
}

/// More like the first item: image to image.
fn like_the_first(collection: &Collection, json: bool) -> Result<()> {
    let Some(first) = collection.items().next().transpose()? else { return Ok(()) };
    let mut query = Query::new(vec![Term { kind: TermKind::Item(first.id), weight: 1.0 }]);
    query.limit = 4;
    match json {
        true => output::json(&json!({"query": first.id, "filter": null}))?,
        false => {
            let name = uri::file_name(&first.key);
            output::text(format!(
                "\neyeshot search -c {COLLECTION} --image id:{}      (more like {name})",
                first.id
            ))?;
        }
    }
    search::print(&collection.query(&query)?, 0, false, json)
}

/// A question, and what the images say to it.
fn answer(collection: &Collection, question: &str, json: bool) -> Result<()> {
    match json {
        true => output::json(&json!({"question": question}))?,
        false => output::text(format!("\neyeshot ask -c {COLLECTION} \"{question}\""))?,
    }
    let (caller, mut paper) = (Caller::default(), Paper::new(json));
    let answer = collection.ask(&Ask::new(question), &caller, &mut |told| paper.hear(&told, &caller));
    paper.finish(answer)
}

fn note(shared: &Shared, text: &str) {
    if !shared.json {
        eprintln!("{text}");
    }
}
