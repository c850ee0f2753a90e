//! `eyeshot duplicates`: which images are there more than once.

use super::args::{Named, Shared};
use super::{Outcome, output};
use crate::engine::{Caller, Collection, Engine, Group, Likeness, Sameness, decode};
use crate::error::Result;
use crate::types::{Item, uri};
use clap::Args;

/// Find images that are there more than once
///
/// Groups of the same bytes come first, then groups of pictures that look alike: resized, saved
/// again, in another format. With each picture stand its two distances from the first of its group:
/// of the embeddings (0 is the same) and of the perceptual hashes (bits of 64). Pictures whose
/// embeddings are near and whose hashes are not show similar things, and are no duplicates: search
/// finds those. Nothing is removed.
///
///   eyeshot duplicates --json | jq -r 'select(.kind == "same") | .items[1:][].key'
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Duplicates {
    /// How far embeddings may be apart, from 0 to 1
    #[arg(long, value_name = "X", env = "EYESHOT_DISTANCE", default_value_t = Likeness::default().distance)]
    distance: f32,
    /// In how many of 64 bits perceptual hashes may differ
    #[arg(long, value_name = "N", env = "EYESHOT_HAMMING", default_value_t = Likeness::default().hamming)]
    hamming: u32,
    #[command(flatten)]
    named: Named,
}

impl Duplicates {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        let engine = shared.engine()?;
        let collection = engine.collection(&self.named.collection)?;
        let likeness = Likeness { distance: self.distance, hamming: self.hamming };
        let looks = |item: &Item| looks(&engine, &collection, item);
        let groups = collection.duplicates(likeness, &looks, &Caller::default())?;
        match groups.len() {
            _ if shared.json => {}
            0 => eprintln!("no duplicates"),
            _ => eprintln!("distance of embeddings, bits of 64 in which perceptual hashes differ, picture"),
        }
        groups.iter().try_for_each(|group| if shared.json { output::json(group) } else { print(group) })?;
        Ok(Outcome::Done)
    }
}

/// The looks of an item whose picture can still be had.
fn looks(engine: &Engine, collection: &Collection, item: &Item) -> Option<u64> {
    let bytes = collection.picture(item, &Caller::default()).ok()?;
    let decoded = engine.memory().decode(&bytes).ok()?;
    Some(decode::looks(&decoded.image))
}

fn print(group: &Group) -> Result<()> {
    let kind = match group.kind {
        Sameness::Same => "the same bytes",
        Sameness::Near => "they look alike",
    };
    output::text(format!("{kind}:"))?;
    for item in &group.items {
        let bits = item.hamming.map_or("  -".to_owned(), |bits| format!("{bits:>3}"));
        output::text(format!("  {:.3} {bits}  {}", item.distance, uri::display(&item.key)))?;
    }
    Ok(())
}
