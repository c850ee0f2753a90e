//! The first step of a run: what is there, which of it is new or changed, and, at the end, which of it is gone.

use super::errors::Stage;
use super::occupancy::Clock;
use super::pipeline::Run;
use super::prepare::Task;
use super::report::Refusal;
use super::sources::Listed;
use super::target::{Due, Target};
use crate::error::Result;
use crate::types::ContentHash;
use crossbeam_channel::Sender;
use std::collections::HashSet;

/// How many items are removed in one atomic batch.
const AT_ONCE: usize = 1000;

/// What a listing saw.
#[derive(Default)]
pub(super) struct Listing {
    /// The hashes of all keys, a fraction of their length.
    seen: HashSet<[u8; 16]>,
    /// By source: whether all of it could be listed.
    whole: Vec<bool>,
}

/// Lists all sources, counts what did not change, and sends on the rest. Stops early when nobody takes it.
pub(super) fn list<'a>(run: Run<'a>, clock: &Clock, todo: &Sender<Task<'a>>) -> Result<Listing> {
    let mut listing = Listing::default();
    let mut images = 0;
    let (stamp, target) = (run.options.stamp(), Target::of(run.collection, run.options));
    for source in run.sources {
        let mut whole = true;
        if source.is_one_piece() && !run.options.has_piece(source.name()) {
            listing.whole.push(whole);
            continue;
        }
        let mut all = clock.time(Stage::List, || source.list());
        while let Some(listed) = clock.time(Stage::List, || all.next()) {
            if run.cancel.is_set() {
                return Ok(listing);
            }
            match listed {
                Listed::Image(mut entry) => {
                    if !run.options.has(&entry.key) || !listing.seen.insert(short(&entry.key)) {
                        continue;
                    }
                    images += 1;
                    run.tally.listed(images, false);
                    entry.stamp.push_str(&stamp);
                    match target.due(&entry)? {
                        Due::Nothing => run.tally.unchanged(&entry.key),
                        Due::Refuse(reason) => {
                            let refusal = Refusal { key: entry.key, reason: reason.to_owned() };
                            run.tally.refused(refusal, Stage::List, 1);
                        }
                        Due::Fetch if run.options.dry_run => run.tally.due(&entry.key),
                        Due::Fetch => {
                            if todo.send(Task { source: source.as_ref(), entry }).is_err() {
                                return Ok(listing);
                            }
                        }
                    }
                }
                Listed::Refused(refusal) => {
                    if run.options.has(&refusal.key) && listing.seen.insert(short(&refusal.key)) {
                        images += 1;
                        run.tally.listed(images, false);
                        run.tally.refused(refusal, Stage::List, 1);
                    }
                }
                Listed::Unlisted(refusal) => {
                    whole = false;
                    run.tally.refused(refusal, Stage::List, 1);
                }
            }
        }
        listing.whole.push(whole);
    }
    run.tally.listed(images, true);
    Ok(listing)
}

/// Removes the items that the listed sources own and did not list. What could not be listed is left alone.
pub(super) fn prune(run: Run, listing: &Listing) -> Result<()> {
    for (source, whole) in run.sources.iter().zip(&listing.whole) {
        if !whole {
            continue;
        }
        let gone = run.collection.keys_where(|key, manifest| {
            run.options.has(key) && source.owns(key, &manifest.source) && !listing.seen.contains(&short(key))
        })?;
        for keys in gone.chunks(AT_ONCE) {
            if run.cancel.is_set() {
                return Ok(());
            }
            match run.options.dry_run {
                true => keys.iter().for_each(|key| run.tally.gone(key)),
                false => run.tally.removed(run.collection.remove_keys(keys)? as u64),
            }
        }
    }
    Ok(())
}

/// Enough of a key's hash to tell it from billions of others.
fn short(key: &str) -> [u8; 16] {
    let hash = ContentHash::of(key.as_bytes()).0;
    std::array::from_fn(|at| hash[at])
}
