//! `eyeshot collection`: what is kept, keeping it safe, and taking it away.

use super::args::Shared;
use super::{Outcome, output};
use crate::engine::{Engine, Info};
use crate::error::{Error, Result};
use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// List, show, drop, back up, restore, compact and check collections, and switch their models
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
    /// Write all collections, or one, to a single file
    ///
    /// The file holds items, captions, payloads, vectors and graphs as they are at one moment, with a checksum; the pictures
    /// themselves stay where they are, and so do models. It appears under its name only when it is whole.
    ///
    ///   eyeshot collection backup friday.eyeshot
    ///   eyeshot collection backup holidays.eyeshot holidays
    #[command(verbatim_doc_comment)]
    Backup {
        /// The file to write; it must not be there yet
        file: PathBuf,
        /// The collection; all where none is named
        name: Option<String>,
    },
    /// Bring back what `backup` wrote
    ///
    /// The file is checked before anything changes, and all comes back or nothing. A collection of the same name must not
    /// be there: drop it first, or give the restored one another name.
    ///
    ///   eyeshot collection restore friday.eyeshot
    ///   eyeshot collection restore friday.eyeshot holidays --as holidays-friday
    #[command(verbatim_doc_comment)]
    Restore {
        /// The file that `backup` wrote
        file: PathBuf,
        /// The collection; all in the file where none is named
        name: Option<String>,
        /// The name that it gets
        #[arg(long = "as", value_name = "NEW", env = "EYESHOT_AS")]
        rename: Option<String>,
    },
    /// Switch to the model that `index --shadow` embedded the items with
    ///
    /// One record is written, and from then on the new model answers searches and embeds what comes. It has to have embedded every
    /// item as it is now, else nothing happens but that you hear how many are missing; --remove-missing removes those items instead.
    ///
    /// The vectors of the model before become the shadow: flip again to go back (items that came since are missing there, and
    /// `index --shadow` adds them), or `drop-shadow` to have their space. A running server holds the data directory; ask it by
    /// POST /v1/collections/NAME/flip or Collections.Flip over gRPC.
    ///
    ///   eyeshot index ~/Pictures --model NEW --shadow
    ///   eyeshot collection flip default
    ///   eyeshot collection drop-shadow default && eyeshot collection compact
    #[command(verbatim_doc_comment)]
    Flip {
        /// The collection
        name: String,
        /// Remove the items that the new model has not embedded
        #[arg(long, env = "EYESHOT_REMOVE_MISSING", value_parser = FalseyValueParser::new())]
        remove_missing: bool,
    },
    /// Drop what `index --shadow` embedded, or, after a flip, the vectors of the model before; what serves stays
    DropShadow {
        /// The collection
        name: String,
    },
    /// Give back the disk space of what was replaced and removed
    ///
    /// Everything is copied to a fresh store beside the old one, which then takes its place in one step: it can be stopped
    /// at any moment. Needs room on the disk for a second copy.
    #[command(verbatim_doc_comment)]
    Compact,
    /// Read everything and list what is wrong
    ///
    /// Every record is read, every checksum computed, and items, manifests, hashes and vectors held against one another.
    /// Ends with 1 where anything is wrong. Restoring a backup, or dropping the collection and indexing it again, mends it.
    #[command(verbatim_doc_comment)]
    Check {
        /// The collection; all where none is named
        name: Option<String>,
    },
}

impl CollectionVerb {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        let engine = shared.engine()?;
        let json = shared.json;
        match &self.action {
            Action::List => list(&engine, json)?,
            Action::Show { name } => print(&engine.collection(name)?.info()?, json)?,
            Action::Drop { name } => {
                engine.drop_collection(name)?;
                if !json {
                    output::text(format!("dropped {name}"))?;
                }
            }
            Action::Backup { file, name } => backup(&engine, file, name.as_deref(), json)?,
            Action::Restore { file, name, rename } => {
                let restored = engine.restore(file, name.as_deref(), rename.as_deref())?;
                match json {
                    true => output::json(&restored)?,
                    false => output::text(format!("restored {}", restored.collections.join(", ")))?,
                }
            }
            Action::Flip { name, remove_missing } => {
                let collection = engine.flip(name, *remove_missing)?;
                collection.settle()?;
                print(&collection.info()?, json)?;
            }
            Action::DropShadow { name } => {
                engine.drop_shadow(name)?;
                if !json {
                    output::text(format!("dropped the shadow of {name}"))?;
                }
            }
            Action::Compact => {
                let done = engine.compact()?;
                let text = || format!("{} -> {}", output::bytes(done.before), output::bytes(done.after));
                if json { output::json(&done)? } else { output::text(text())? }
            }
            Action::Check { name } => check(&engine, name.as_deref(), json)?,
        }
        Ok(Outcome::Done)
    }
}

fn list(engine: &Engine, json: bool) -> Result<()> {
    let all = engine.collections()?;
    if all.is_empty() && !json {
        let path = engine.path().display();
        output::text(format!("no collections in {path}; make one: eyeshot index FOLDER"))?;
    }
    all.iter().try_for_each(|info| print(info, json))
}

fn backup(engine: &Engine, file: &Path, name: Option<&str>, json: bool) -> Result<()> {
    let done = engine.backup(name, file)?;
    if json {
        return output::json(&done);
    }
    let (names, bytes) = (done.collections.join(", "), output::bytes(done.bytes));
    output::text(format!("wrote {names} to {}, {bytes}", file.display()))
}

fn check(engine: &Engine, name: Option<&str>, json: bool) -> Result<()> {
    let found = engine.check(name)?;
    for finding in &found {
        match json {
            true => output::json(finding)?,
            false => output::text(format!("{}: {}", finding.collection, finding.problem))?,
        }
    }
    match found.len() {
        0 if json => Ok(()),
        0 => output::text("nothing is wrong"),
        n => Err(Error::Corrupt { reason: format!("{n} problems, listed above") }),
    }
}

fn print(info: &Info, json: bool) -> Result<()> {
    if json {
        return output::json(info);
    }
    output::text(format!("{}: {} items, {} on disk", info.name, info.items, output::bytes(info.bytes)))?;
    let shadow = info.shadow.iter().map(|space| (space, ", in the shadow"));
    for (space, role) in info.spaces.iter().map(|space| (space, "")).chain(shadow) {
        let (vectors, modality) = (space.vectors, space.modality);
        let (dim, model) = (space.dim, &space.model);
        let codes =
            if space.codes.is_default() { String::new() } else { format!(", {} in memory", space.codes) };
        output::text(format!("  {modality:<8} {vectors:>8} vectors of {dim} from {model}{codes}{role}"))?;
    }
    Ok(())
}
