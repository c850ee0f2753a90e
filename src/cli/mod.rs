//! The command line: one file a verb. Prints for people, or JSON lines with `--json`; results go to standard output,
//! progress and remarks to standard error.
//!
//! 1. `args`      the flags that all verbs share, each with its `EYESHOT_*` twin.
//!    `file` gives them values from a TOML file.
//! 2. this file   tells the verbs apart and turns an outcome into an exit code.
//! 3. `output`    lines to standard output; a reader that went away ends the program quietly.
//! 4. `progress`  bars on standard error, for ingestion and downloads.
//! 5. `pictures` named on the command line; `file`, the settings that a file gives.
//!    `stages`, what limited a run.
//! 6. `index`, `search`, `ask`, `duplicates`, `serve`, `health`, `embed`, `match`, `caption`, `collection`, `model`, `eval`, `demo`: the verbs.
//!
//! Not here: anything that a server would need too.

mod args;
mod ask;
mod caption;
mod collection;
mod demo;
mod duplicates;
mod embed;
mod eval;
mod file;
mod health;
mod index;
mod matching;
mod model;
mod output;
mod pictures;
mod progress;
mod search;
mod serve;
mod stages;
mod terms;

use crate::error::{Error, Result};
use args::Shared;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Find images by what they show.
///
/// Index a folder once, then search it by words, by pictures, or both:
///
///   eyeshot index ~/Pictures
///   eyeshot search "a dog on the beach"
///   eyeshot search --image dog.jpg --minus grass
///   eyeshot ask "how many dogs are on the beach?"
///
/// Try it on the images that ship with it: eyeshot demo
#[derive(Parser)]
#[command(
    name = "eyeshot",
    version,
    verbatim_doc_comment,
    max_term_width = 110,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Demo(demo::Demo),
    Index(Box<index::IndexVerb>),
    Search(Box<search::Search>),
    Ask(Box<ask::Ask>),
    Duplicates(duplicates::Duplicates),
    Serve(Box<serve::Serve>),
    Health(health::Health),
    Embed(embed::Embed),
    Match(matching::Match),
    Caption(caption::Caption),
    Eval(eval::Eval),
    Collection(collection::CollectionVerb),
    Model(model::ModelVerb),
}

/// How a verb ended, where it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Everything is done.
    Done,
    /// Done, but some items were refused; each was listed.
    Refused,
}

/// Runs the program on its arguments. Exit codes: 0 done, 1 failed, 2 bad arguments, 3 done but some items were refused.
pub fn run() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => return code(Err(error)),
    };
    let outcome = match cli.verb {
        Verb::Demo(verb) => verb.run(&cli.shared),
        Verb::Index(verb) => verb.run(&cli.shared),
        Verb::Search(verb) => verb.run(&cli.shared),
        Verb::Ask(verb) => verb.run(&cli.shared),
        Verb::Duplicates(verb) => verb.run(&cli.shared),
        Verb::Serve(verb) => verb.run(&cli.shared),
        Verb::Health(verb) => verb.run(&cli.shared),
        Verb::Embed(verb) => verb.run(&cli.shared),
        Verb::Match(verb) => verb.run(&cli.shared),
        Verb::Caption(verb) => verb.run(&cli.shared),
        Verb::Eval(verb) => verb.run(&cli.shared),
        Verb::Collection(verb) => verb.run(&cli.shared),
        Verb::Model(verb) => verb.run(&cli.shared),
    };
    code(outcome)
}

/// The command line, and beneath it the file that it names.
fn parse() -> Result<Cli> {
    let matches = Cli::command().get_matches();
    let serve = matches.subcommand_matches(file::VERB);
    let named = serve.and_then(|serve| serve.get_one::<PathBuf>(file::FLAG));
    let matches = match named {
        Some(path) => file::with_file(Cli::command(), path)?.get_matches(),
        None => matches,
    };
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit()))
}

fn code(outcome: Result<Outcome>) -> ExitCode {
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::from(3),
        // Whoever read our output has had enough: nothing to say, and nobody to say it to.
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if error.is_callers() { 2 } else { 1 })
        }
    }
}
