//! The one error type, its variants sorted by what the caller can do about them.
//!
//! Every message says what is wrong and, where the caller can act, what to change. Libraries' own errors are turned into
//! these at the layer that meets them, so that no other layer has to name the library.

use std::path::PathBuf;

/// What every fallible call of the library returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // The caller asked for something that cannot be: change the call.
    /// An argument is malformed, out of range or contradictory.
    #[error("{what}: {fix}")]
    Invalid {
        /// What was given.
        what: String,
        /// What would be accepted.
        fix: String,
    },
    /// Something was named that is not there.
    #[error("no {kind} named {name:?}; {fix}")]
    NotFound {
        /// What was looked for: `collection`, `item`, `model`, `file`.
        kind: &'static str,
        /// The name it was looked for under.
        name: String,
        /// How to find out what there is.
        fix: String,
    },
    /// Something was to be made that is there already.
    #[error("a {kind} named {name:?} is there already; use it, or choose another name")]
    Exists {
        /// What was to be made.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A collection was opened with another model than the one that made its vectors.
    #[error(
        "collection {collection:?} holds vectors of model {held:?}, not of {asked:?}; vectors of two models can't be \
         compared: leave --model out, index into another collection with -c NAME, or re-embed this one's items with --shadow"
    )]
    OtherModel {
        /// The collection's name.
        collection: String,
        /// The model whose vectors it holds.
        held: String,
        /// The model that was asked for.
        asked: String,
    },
    /// A collection was to be switched to a model that has not embedded all of its items.
    #[error(
        "{missing} of the {items} items of collection {collection:?} have no vectors of {model} yet; add them with `eyeshot index \
         SOURCE... -c {collection} --model {model} --shadow`, or remove those items with --remove-missing"
    )]
    Incomplete {
        /// The collection's name.
        collection: String,
        /// The model to switch to.
        model: String,
        /// How many items lack its vectors.
        missing: usize,
        /// How many items there are.
        items: usize,
    },
    /// Whoever decides, an operator or a store, does not let us do this.
    #[error("{what}: {fix}")]
    Forbidden {
        /// What was asked for.
        what: String,
        /// What is allowed, or whom to ask.
        fix: String,
    },
    /// A part of the interface that is not there yet.
    #[error("{what}: {fix}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// What can be asked for instead.
        fix: String,
    },
    /// A vector does not fit the index it is meant for.
    #[error("vector refused: {reason}")]
    Vector {
        /// Its length, its NaN, its zero norm.
        reason: String,
    },

    // What was brought is broken: mend the file.
    /// An image could not be decoded, or is over a limit.
    #[error("{reason}")]
    Image {
        /// Why it was refused.
        reason: String,
    },
    /// What an item was made of is there no more, or is another thing now.
    #[error("{reason}")]
    Gone {
        /// What became of it.
        reason: String,
    },
    /// A checkpoint lacks a file, a tensor, or a setting, or one has the wrong shape.
    #[error("model {model:?}: {reason}")]
    Model {
        /// The model as the user named it.
        model: String,
        /// Names the file and the tensor or field.
        reason: String,
    },

    // The machine is in the way: free something, or wait.
    /// Another process holds the data directory.
    #[error(
        "{path} is in use by another eyeshot process; stop it, or give this one another --data directory"
    )]
    Busy {
        /// The data directory.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file could not be fetched.
    #[error("{url}: {reason}")]
    Fetch {
        /// What was asked for.
        url: String,
        /// What came back, and what to do.
        reason: String,
    },
    /// A file could not be fetched, though it was asked for several times.
    #[error("{url}: {reason} ({tries} tries)")]
    GaveUp {
        /// What was asked for.
        url: String,
        /// How the last try failed.
        reason: String,
        /// How often it was asked for.
        tries: u32,
    },
    /// More is asked of a model than it can do: come back later.
    #[error("the {what} queue is full; try again in {} ms", retry.as_millis())]
    Overloaded {
        /// Which queue.
        what: &'static str,
        /// After how long it may be worth trying again.
        retry: std::time::Duration,
    },
    /// A collection was switched to its other model, or its shadow was dropped, while something was written for the one before.
    #[error("collection {collection:?} was switched to another model meanwhile; run it again to go on")]
    Switched {
        /// The collection's name.
        collection: String,
    },
    /// The caller's deadline passed before the work was done.
    #[error("the deadline passed before the work was done; allow more time")]
    Late,
    /// The work was stopped on request.
    #[error("stopped on request; run it again to go on")]
    Cancelled,

    // The data is not what this program wrote: restore or report.
    /// The store's format is not one that this program reads.
    #[error(
        "{path} has store format {found}, and this eyeshot reads up to {known}; use the newer eyeshot that wrote it"
    )]
    Format {
        /// The data directory.
        path: PathBuf,
        /// The version it has.
        found: u32,
        /// The newest version that can be read.
        known: u32,
    },
    /// A record contradicts itself or cannot be read.
    #[error("the store is damaged: {reason}; restore a backup, or drop the collection and index it again")]
    Corrupt {
        /// Which record, and how.
        reason: String,
    },
    /// The store could not do its work (disk full, I/O).
    #[error("the store failed: {reason}")]
    Storage {
        /// What the store said.
        reason: String,
    },
    /// The tensor library failed.
    #[error("computation failed: {reason}")]
    Compute {
        /// What it said.
        reason: String,
    },
}

impl Error {
    /// An [`Error::Invalid`] from its two halves: what was given, and what would do.
    pub fn invalid(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Error::Invalid { what: what.into(), fix: fix.into() }
    }

    /// An [`Error::Unsupported`].
    pub fn unsupported(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Error::Unsupported { what: what.into(), fix: fix.into() }
    }

    /// An [`Error::Image`].
    pub fn image(reason: impl Into<String>) -> Self {
        Error::Image { reason: reason.into() }
    }

    /// An [`Error::Gone`].
    pub fn gone(reason: impl Into<String>) -> Self {
        Error::Gone { reason: reason.into() }
    }

    /// An [`Error::Model`].
    pub fn model(model: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::Model { model: model.into(), reason: reason.into() }
    }

    /// An [`Error::Io`] that keeps the path, which the system's own error leaves out.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Io { path: path.into(), source }
    }

    /// Whether the caller can mend it by calling differently (exit code 2, a client's error).
    pub fn is_callers(&self) -> bool {
        matches!(
            self,
            Error::Invalid { .. } | Error::NotFound { .. } | Error::Exists { .. } | Error::OtherModel { .. }
        )
    }
}
