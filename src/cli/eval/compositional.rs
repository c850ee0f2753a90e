//! `eyeshot eval compositional`: does a model know left from right?

use super::super::args::{Matching, Shared};
use super::super::progress::{Bar, Downloads};
use super::super::{Outcome, output};
use crate::engine::{DEFAULT_MODEL, load_encoder, load_matcher};
use crate::error::{Error, Result};
use crate::eval::compositional::{self, Row};
use crate::{config, eval::compositional::Shown};
use clap::Args;
use std::path::PathBuf;

/// Accuracy in telling pictures apart that differ in one relation, count or colour
///
/// What's Up's protocol: pictures come in sets of four, each with four captions of which one is true of it alone. Measured are
/// the encoder (clip), the matcher's embeddings (blip-itc), its reading of picture and words together (blip-itm), and what
/// reranking makes of the first and the third (fused); then the same on blank and on shuffled pictures, which should come to
/// chance (0.25, and 0.5 for pair, in which the true caption has to beat only its opposite; both is the share of opposites with
/// both pictures right, set that of sets with all four). DIR is a folder from training/scenes.py --sets, or holds What's Up's controlled_images_dataset.json and pictures.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Compositional {
    /// The sets [default: those that ship with eyeshot]
    dir: Option<PathBuf>,
    /// The encoder
    #[arg(long, value_name = "M", env = "EYESHOT_MODEL", default_value = DEFAULT_MODEL)]
    model: String,
    #[command(flatten)]
    matching: Matching,
}

impl Compositional {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => sets()?,
        };
        let pictures = compositional::read(&dir)?;
        let (options, bar) = (self.matching.models(shared)?, Downloads::default());
        let encoder = load_encoder(&self.model, &options, &bar)?;
        let matcher = self.matching.matcher.as_deref().unwrap_or(DEFAULT_MODEL);
        let blip = load_matcher(matcher, &options, &bar)?;
        let bar = Bar::new("steps", compositional::steps(&pictures));
        let rows = compositional::run(&encoder, &blip, &pictures, &|| bar.step())?;
        bar.finish();
        if !shared.json {
            output::text("stage     pictures  contrast     individual   pair   both    set      n    ECE")?;
        }
        rows.iter()
            .try_for_each(|row| if shared.json { output::json(row) } else { output::text(line(row)) })?;
        Ok(Outcome::Done)
    }
}

fn line(row: &Row) -> String {
    let share = |share: Option<f64>| share.map_or("     -".to_owned(), |share| format!("{share:>6.3}"));
    let images = match row.images {
        Shown::Own => "own",
        Shown::Blank => "blank",
        Shown::Shuffled => "shuffled",
    };
    format!(
        "{:<9} {images:<9} {:<12} {:>10.3} {} {} {} {:>6} {}",
        row.stage,
        row.contrast,
        row.individual,
        share(row.pair),
        share(row.both),
        share(row.set),
        row.n,
        row.ece.map_or(String::new(), |ece| format!("{ece:>6.3}")),
    )
}

/// The folder of shipped sets.
fn sets() -> Result<PathBuf> {
    let folder = config::assets().map(|assets| assets.join("sets")).filter(|sets| sets.is_dir());
    folder.ok_or_else(|| Error::NotFound {
        kind: "folder",
        name: "assets/sets".into(),
        fix: "set EYESHOT_ASSETS to the assets folder of the eyeshot sources, or name a folder of sets"
            .into(),
    })
}
