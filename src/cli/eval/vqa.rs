//! `eyeshot eval vqa`: are answers right, and do they rest on what they cite?

use super::super::args::{Answering, Matching, Shared};
use super::super::progress::Bar;
use super::super::{Outcome, output};
use super::index;
use crate::engine::{DEFAULT_MODEL, Serving};
use crate::error::Result;
use crate::eval::vqa::{self, Images, Row, Totals};
use crate::ingest::Captions;
use crate::types::{Ask, uri};
use clap::Args;
use std::path::PathBuf;

/// How often answers to questions are right, what they cite, and when they abstain
///
/// Each question is asked with the images that are found for it, with others drawn at random, and with
/// none: what is right without the right images is guessed. FOLDER holds the images, and
///
///   questions.jsonl, a question a line, asked of the whole folder:
///     {"question": "how many cats are there?", "type": "count", "answers": ["two", "2"],
///      "relevant": ["0001.jpg"], "answerable": true}
///     without answers, citing the right images is right; where not answerable, refusing is
///   or VQAv2's *questions*.json and *annotations*.json, or GQA's *questions*.json: each question is
///   asked of its own image
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Vqa {
    /// The images and questions [default: the emoji scenes that ship with eyeshot]
    folder: Option<PathBuf>,
    /// The questions, as JSON lines
    #[arg(long, value_name = "FILE", env = "EYESHOT_QUESTIONS")]
    questions: Option<PathBuf>,
    /// Ask the first N questions only
    #[arg(long, value_name = "N", env = "EYESHOT_FIRST")]
    first: Option<usize>,
    /// How many images are looked at, at most
    #[arg(short = 't', long = "top", value_name = "N", env = "EYESHOT_ASK_TOP", default_value_t = 4)]
    top: usize,
    /// Only images that match the question with at least this probability
    #[arg(long, value_name = "P", env = "EYESHOT_MIN_MATCH", default_value_t = 0.5)]
    min_match: f32,
    /// Take the first answer, without holding what it claims against the images that it cites
    #[arg(long, env = "EYESHOT_UNCHECKED")]
    unchecked: bool,
    /// What the random images follow from
    #[arg(long, value_name = "N", env = "EYESHOT_SEED", default_value_t = 0)]
    seed: u64,
    /// The encoder
    #[arg(long, value_name = "M", env = "EYESHOT_MODEL", default_value = DEFAULT_MODEL)]
    model: String,
    #[command(flatten)]
    answering: Answering,
    #[command(flatten)]
    matching: Matching,
}

impl Vqa {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => super::super::demo::scenes()?,
        };
        let mut cases = vqa::read(&folder, self.questions.as_deref())?;
        cases.truncate(self.first.unwrap_or(usize::MAX));
        let (matching, answering) = (self.matching.options(), self.answering.options());
        let serving = Serving { matching, answering, ..Serving::default() };
        let models = self.matching.models(shared)?;
        let scratch = index(shared, &folder, (&self.model, models, serving), Captions::None)?;
        let collection = &scratch.collection;
        let images =
            collection.items().map(|item| uri::uri_to_path(&item?.key)).collect::<Result<Vec<_>>>()?;
        let (limit, min_match, unchecked) = (self.top, self.min_match, self.unchecked);
        let usual = Ask { limit, min_match, unchecked, ..Ask::new("") };
        let bar = Bar::new("questions", vqa::steps(&cases));
        let report = vqa::run(collection, &cases, &images, &usual, self.seed, &|| bar.step())?;
        bar.finish();
        print(&report.rows, &report.totals, shared.json)?;
        Ok(super::outcome(&scratch.summary))
    }
}

fn print(rows: &[Row], totals: &Totals, json: bool) -> Result<()> {
    if json {
        rows.iter().try_for_each(output::json)?;
        return output::json(totals);
    }
    output::text("images     type               n  right")?;
    for row in rows {
        let images = match row.images {
            Images::Retrieved => "retrieved",
            Images::Given => "given",
            Images::Random => "random",
            Images::None => "none",
        };
        output::text(format!("{images:<10} {:<14} {:>5}  {:.3}", row.r#type, row.n, row.exact))?;
    }
    let share = |name: &str, share: Option<f64>| match share {
        Some(share) => output::text(format!("{name:<44} {share:.3}")),
        None => Ok(()),
    };
    share("citations that are right", totals.citation_precision)?;
    share("right images that are cited", totals.citation_recall)?;
    share("unanswerable questions refused", totals.refused_unanswerable)?;
    share("answerable questions refused", totals.refused_answerable)?;
    share("area under the ROC curve of the best match", totals.abstention_auc)?;
    share("F1 of yes", totals.yes_f1)?;
    share("answers that are yes", totals.yes_rate)?;
    share("questions to which yes is right", totals.yes_right)
}
