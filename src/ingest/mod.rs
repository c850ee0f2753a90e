//! From places that hold images to the engine: bounded in memory, resumable at any point, with progress.
//!
//! 1. `sources`  opens what the user named: folders, buckets, tars, lists; each lists entries and fetches their bytes.
//! 2. `listing`  walks the sources; the manifest says which entries are unchanged, and they are done.
//! 3. `prepare`  fetches on as many lanes as the sources bear; reads the `sidecar` files, hashes; known bytes need no more, others
//!    are decoded. A gate (`engine::Gate`) keeps the memory of all of it bounded.
//! 4. `encoder`  collects batches, has captions written and judged where the settings say so, and has the engine embed each.
//! 5. `writer`   writes each at once, while the next is embedded, and goes image by image where one fails.
//! 6. `pipeline` joins these by bounded channels, in an order that does not depend on the number of threads.
//! 7. `listing`  at the end, if asked, removes what the sources no longer list.
//!
//! `target` is the collection, or its shadow: another model's vectors of the same items, filled while the one before serves.
//! `report` counts it all and tells a [`Reporter`], `errors` keeps what failed in a file, `occupancy` says which step the others
//! waited for; `watch` waits for the next run's reason; `options` are the settings, checked once.
//!
//! An image that cannot be taken is a [`Refusal`] with its reason, and the run goes on; a full disk or a broken model ends the run,
//! and what was written stays. Not here: models, vectors, store, terminals.

mod encoder;
mod errors;
mod listing;
mod occupancy;
mod options;
mod pipeline;
mod prepare;
mod report;
mod sidecar;
mod sources;
mod target;
mod watch;
mod writer;

pub use errors::{ErrorReport, Failed, Stage};
pub use occupancy::{Meter, Metered, Occupancy, limiting};
pub use options::{Captions, IndexOptions, Shard};
pub use report::{Cancel, Captioned, Event, Refusal, Reporter, Silent, Summary};
pub use sources::{
    Beside, Entry, FORMS, Fetched, Folder, Items, Listed, Part, Place, Sidecar, SidecarKind, Source, open,
    open_folders,
};
pub use watch::Watch;

use crate::engine::Collection;
use crate::error::Result;
use std::ffi::OsStr;

/// Brings `collection` in step with what `sources` name ([`FORMS`]), as [`sync`] does.
///
/// # Errors
/// [`Error::NotFound`](crate::Error::NotFound) for a source that is not there; else as [`sync`].
pub fn index<S: AsRef<OsStr>>(
    collection: &Collection,
    sources: &[S],
    options: &IndexOptions,
    reporter: &dyn Reporter,
    cancel: &Cancel,
) -> Result<Summary> {
    sync(collection, &open(sources, options.patience)?, options, reporter, cancel)
}

/// Brings `collection` in step with `sources`: what is new or changed is indexed, what did not change is left, and, with
/// [`IndexOptions::prune`], what is gone is removed.
///
/// What is reported as indexed is durable and can be found, whatever happens next: a run that was cancelled, failed or was
/// killed loses none of it, and the next one goes on from there. A cancelled run returns what it did until then.
///
/// # Errors
/// Whatever concerns more than one image: the settings, the store, the model, the device.
pub fn sync(
    collection: &Collection,
    sources: &[Box<dyn Source>],
    options: &IndexOptions,
    reporter: &dyn Reporter,
    cancel: &Cancel,
) -> Result<Summary> {
    let options = options.checked()?;
    let tally = report::Tally::new(reporter, options.errors.as_deref());
    let run = pipeline::Run { collection, sources, options, tally: &tally, cancel };
    let (listing, stages) = pipeline::run(run)?;
    if options.prune && !cancel.is_set() {
        listing::prune(run, &listing)?;
    }
    Ok(Summary { stages, dry_run: options.dry_run, ..tally.finish() })
}
