//! `eyeshot search`: hits for words, pictures, or both.

use super::args::{Matching, Named, Shared};
use super::terms::terms;
use super::{Outcome, output};
use crate::error::Result;
use crate::types::filter::GRAMMAR;
use crate::types::{Filter, Hit, Query, Rerank, Side, uri};
use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::time::Duration;

/// Find images by words, by pictures, or both
///
/// Words and pictures can be added and taken away, and weighed:
///
///   eyeshot search "horse + stripes - grass"
///   eyeshot search --image beach.jpg --plus 2:sunset --minus people
///   eyeshot search --image id:42                      more like item 42
///   eyeshot search cat --filter 'width >= 1000 and taken >= 2024'
///   eyeshot search "a cat left of a dog" --rerank     look at the best hits once more
///   eyeshot search IMG_1234 --side words              the very words, in captions and file names
///
/// The score is the cosine between query and image. It is low even for good hits of words (0.2 to
/// 0.35 for most CLIP models): compare scores within a search, and cut what does not fit with
/// --min-score. With --rerank hits have a probability too, which --min-match 0.5 cuts: no hits at all
/// then means that nothing matches.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Search {
    /// Words, with + and - between terms, and weights as in 2:stripes
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// A picture to look for: a path, an http(s) URL, or id:N for an item of the collection
    #[arg(short, long, value_name = "PATH|URL|id:N")]
    image: Vec<String>,
    /// Words or a picture to add
    #[arg(long, value_name = "TERM")]
    plus: Vec<String>,
    /// Words or a picture to stay away from
    #[arg(long, value_name = "TERM")]
    minus: Vec<String>,
    /// How many hits
    #[arg(short = 't', long = "top", value_name = "N", env = "EYESHOT_TOP", default_value_t = 10)]
    top: usize,
    /// How many of the best to leave out first
    #[arg(long, value_name = "N", env = "EYESHOT_OFFSET", default_value_t = 0)]
    offset: usize,
    #[arg(long, value_name = "EXPR", env = "EYESHOT_FILTER", help = "Only items for which this holds", long_help = filter_help())]
    filter: Option<String>,
    /// Only hits with at least this score
    #[arg(long, value_name = "X", env = "EYESHOT_MIN_SCORE", allow_negative_numbers = true)]
    min_score: Option<f32>,
    /// What the query is held against
    #[arg(long, value_enum, env = "EYESHOT_SIDE", default_value = "image")]
    side: SideName,
    /// Breadth of the graph search: more finds more, and takes longer (default: chosen by the index)
    #[arg(long, value_name = "N", env = "EYESHOT_EF")]
    ef: Option<usize>,
    /// Scan all vectors instead of searching the graph
    #[arg(long, env = "EYESHOT_EXACT", value_parser = FalseyValueParser::new())]
    exact: bool,
    /// Print paths only, one a line
    #[arg(short = 'f', long = "files", env = "EYESHOT_FILES", value_parser = FalseyValueParser::new())]
    files: bool,
    /// Look at the best hits once more: a matcher reads picture and words together, which tells a cat left of a dog from a
    /// dog left of a cat
    #[arg(long, env = "EYESHOT_RERANK", value_parser = FalseyValueParser::new())]
    rerank: bool,
    /// Only hits that match with at least this probability; says --rerank
    #[arg(long, value_name = "P", env = "EYESHOT_MIN_MATCH")]
    min_match: Option<f32>,
    /// How many of the best hits are looked at
    #[arg(long, value_name = "N", env = "EYESHOT_RERANK_TOP", default_value_t = Rerank::default().top)]
    rerank_top: usize,
    /// How long looking may take, in milliseconds; hits that were not looked at keep their order behind the others
    #[arg(long, value_name = "MS", env = "EYESHOT_RERANK_BUDGET_MS", default_value_t = Rerank::default().budget.as_millis() as u64)]
    rerank_budget_ms: u64,
    #[command(flatten)]
    matching: Matching,
    #[command(flatten)]
    named: Named,
}

#[derive(Clone, Copy, ValueEnum)]
enum SideName {
    /// The picture itself
    Image,
    /// Its captions
    Caption,
    /// Both, fused by rank
    Both,
    /// The very words in captions and file names
    Words,
    /// Picture, captions and words, fused by rank
    All,
}

#[derive(Serialize)]
struct Line<'a> {
    rank: usize,
    #[serde(flatten)]
    hit: &'a Hit,
}

fn filter_help() -> String {
    format!("Only items for which this holds: {GRAMMAR}")
}

impl Search {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        let mut query = Query::new(terms(&self.text, &self.image, &self.plus, &self.minus)?);
        query.limit = self.top;
        query.offset = self.offset;
        query.filter = self.filter.as_deref().map(Filter::parse).transpose()?;
        query.min_score = self.min_score;
        query.side = self.side.into();
        query.ef = self.ef;
        query.exact = self.exact;
        query.rerank = (self.rerank || self.min_match.is_some()).then(|| Rerank {
            top: self.rerank_top,
            budget: Duration::from_millis(self.rerank_budget_ms),
            min_match: self.min_match,
            about: None,
        });
        let engine = shared.engine_matching(shared.data.clone(), &self.matching)?;
        let hits = engine.collection(&self.named.collection)?.query(&query)?;
        if hits.is_empty() && !shared.json {
            eprintln!("no good match");
        }
        print(&hits, self.offset, self.files, shared.json)?;
        Ok(Outcome::Done)
    }
}

/// Prints hits: JSON lines, bare paths, or a table.
pub(super) fn print(hits: &[Hit], offset: usize, files: bool, json: bool) -> Result<()> {
    for (at, hit) in hits.iter().enumerate() {
        let rank = offset + at + 1;
        match (json, files) {
            (true, _) => output::json(&Line { rank, hit })?,
            (_, true) => output::path(&hit.key)?,
            _ => output::text(row(rank, hit))?,
        }
    }
    Ok(())
}

fn row(rank: usize, hit: &Hit) -> String {
    let caption = hit.captions.first().map(|c| format!("  \"{c}\"")).unwrap_or_default();
    let matched = match (hit.matched, &hit.unmatched) {
        (Some(p), _) => format!("  {:>3.0} %", 100.0 * p),
        (None, Some(_)) => "    ? %".to_owned(),
        (None, None) => String::new(),
    };
    let why = hit.unmatched.as_ref().map(|why| format!("  (not looked at: {why})")).unwrap_or_default();
    format!("{rank:>4}  {:.3}{matched}  {}{caption}{why}", hit.score, uri::display(&hit.key))
}

impl From<SideName> for Side {
    fn from(name: SideName) -> Side {
        match name {
            SideName::Image => Side::Image,
            SideName::Caption => Side::Caption,
            SideName::Both => Side::Both,
            SideName::Words => Side::Words,
            SideName::All => Side::All,
        }
    }
}
