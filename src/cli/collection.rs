//! `eyeshot collection`: what is kept, and taking it away.

use super::args::Shared;
use super::{Outcome, output};
use crate::engine::Info;
use crate::error::Result;
use clap::{Args, Subcommand};

/// List, show and drop collections
#[derive(Args)]
pub(super) struct CollectionVerb {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Every collection, with its items and model
    List,
    /// What one collection holds
    Show {
        /// The collection
        #[arg(default_value = "default")]
        name: String,
    },
    /// Remove a collection from the data directory; the files that were indexed stay
    Drop {
        /// The collection
        name: String,
    },
}

impl CollectionVerb {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        let engine = shared.engine()?;
        match &self.action {
            Action::List => {
                let all = engine.collections()?;
                if all.is_empty() && !shared.json {
                    output::text(format!(
                        "no collections in {}; make one: eyeshot index FOLDER",
                        engine.path().display()
                    ))?;
                }
                all.iter().try_for_each(|info| print(info, shared.json))?;
            }
            Action::Show { name } => print(&engine.collection(name)?.info()?, shared.json)?,
            Action::Drop { name } => {
                engine.drop_collection(name)?;
                if !shared.json {
                    output::text(format!("dropped {name}"))?;
                }
            }
        }
        Ok(Outcome::Done)
    }
}

fn print(info: &Info, json: bool) -> Result<()> {
    if json {
        return output::json(info);
    }
    output::text(format!("{}: {} items, {} on disk", info.name, info.items, output::bytes(info.bytes)))?;
    for space in &info.spaces {
        let (vectors, modality) = (space.vectors, space.modality);
        output::text(format!("  {modality:<8} {vectors:>8} vectors of {} from {}", space.dim, space.model))?;
    }
    Ok(())
}
