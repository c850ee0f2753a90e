//! Source, decode, engine: bounded, resumable, with progress.
