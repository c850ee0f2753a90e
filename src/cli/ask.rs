//! `eyeshot ask`: questions about images, answered from what they show.

use super::args::{Answering, Matching, Named, Shared};
use super::progress::Downloads;
use super::terms::bytes;
use super::{Outcome, output};
use crate::engine::{Caller, DEFAULT_MODEL, Refetch, Serving, load_answerer};
use crate::error::{Error, Result};
use crate::types::filter::GRAMMAR;
use crate::types::{Answer, Ask as Question, Filter, Shown, Told, Writing, uri};
use clap::Args;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

/// Answer a question from what images show, and say which images the answer rests on
///
///   eyeshot ask "how many dogs are on the beach?"
///   eyeshot ask "what is left of the cat?" --filter 'taken >= 2024'
///   eyeshot ask "what colour is the car?" --image a.jpg --image b.jpg       about these files alone
///
/// The collection is searched for what the question is about; the images that fit best are looked at,
/// and the answer names those that it rests on. Where nothing fits, it says that it can't tell.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Ask {
    /// The question
    #[arg(value_name = "QUESTION", required = true)]
    question: Vec<String>,
    /// Ask about this picture (a path or an http(s) URL), and search for none
    #[arg(short, long, value_name = "PATH|URL")]
    image: Vec<String>,
    /// How many images are looked at, at most
    #[arg(short = 't', long = "top", value_name = "N", env = "EYESHOT_ASK_TOP", default_value_t = 4)]
    top: usize,
    #[arg(long, value_name = "EXPR", env = "EYESHOT_FILTER", help = "Only among items for which this holds", long_help = filter_help())]
    filter: Option<String>,
    /// Only images that match what the question is about with at least this probability, where there is a matcher
    #[arg(long, value_name = "P", env = "EYESHOT_MIN_MATCH", default_value_t = 0.5)]
    min_match: f32,
    /// Print the first answer as it comes; otherwise a matcher, where there is one, holds what a short answer claims against
    /// the images that it cites, and where it fits none, others are drawn
    #[arg(long, env = "EYESHOT_UNCHECKED")]
    unchecked: bool,
    #[command(flatten)]
    writing: WritingArgs,
    #[command(flatten)]
    answering: Answering,
    #[command(flatten)]
    matching: Matching,
    #[command(flatten)]
    named: Named,
}

/// How the answer is written.
#[derive(Args)]
struct WritingArgs {
    /// The most tokens that an answer may take
    #[arg(long, value_name = "N", env = "EYESHOT_MAX_TOKENS", default_value_t = Writing::default().max_tokens)]
    max_tokens: usize,
    /// How long writing may take, in seconds; what is there by then is the answer
    #[arg(long, value_name = "S", env = "EYESHOT_TIME_LIMIT", default_value_t = Writing::default().time.as_secs())]
    time_limit: u64,
    /// 0 takes the likeliest token each time; above, tokens are drawn, the wilder the higher
    #[arg(long, value_name = "X", env = "EYESHOT_TEMPERATURE", default_value_t = 0.0)]
    temperature: f32,
    /// With a temperature: tokens are drawn from the likeliest that have this probability together
    #[arg(long, value_name = "P", env = "EYESHOT_TOP_P", default_value_t = 1.0)]
    top_p: f32,
    /// With a temperature: what the draws follow from
    #[arg(long, value_name = "N", env = "EYESHOT_SEED", default_value_t = 0)]
    seed: u64,
    /// What the model is told about its task, in place of its own template's words
    #[arg(long, value_name = "TEXT", env = "EYESHOT_SYSTEM")]
    system: Option<String>,
    /// End the answer before this text
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
}

fn filter_help() -> String {
    format!("Only among items for which this holds: {GRAMMAR}")
}

impl Ask {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        let ask = self.question()?;
        let caller = Caller::default();
        let mut paper = Paper::new(shared.json);
        let answer = if self.image.is_empty() {
            let models = self.matching.models(shared)?;
            let (matching, answering) = (self.matching.options(), self.answering.options());
            let serving = Serving { matching, answering, refetch: Refetch::anywhere(), ..Serving::default() };
            let engine = shared.engine_serving(shared.data.clone(), models, serving)?;
            let collection = engine.collection(&self.named.collection)?;
            collection.ask(&ask, &caller, &mut |told| paper.hear(&told, &caller))
        } else {
            let name = self.answering.answerer.as_deref().unwrap_or(DEFAULT_MODEL);
            let images = self.image.iter().map(|name| Ok((key(name), bytes(name)?)));
            let images = images.collect::<Result<Vec<_>>>()?;
            let answerer =
                load_answerer(name, &shared.models()?, &Downloads::default(), &self.answering.options())?;
            answerer.ask(&ask, images, &caller, &mut |told| paper.hear(&told, &caller))
        };
        paper.finish(answer)?;
        Ok(Outcome::Done)
    }

    fn question(&self) -> Result<Question> {
        let writing = &self.writing;
        Ok(Question {
            question: self.question.join(" "),
            about: None,
            limit: self.top,
            filter: self.filter.as_deref().map(Filter::parse).transpose()?,
            min_match: self.min_match,
            unchecked: self.unchecked,
            writing: Writing {
                system: writing.system.clone(),
                max_tokens: writing.max_tokens,
                time: Duration::from_secs(writing.time_limit),
                temperature: writing.temperature,
                top_p: writing.top_p,
                seed: writing.seed,
                stop: writing.stop.clone(),
            },
        })
    }
}

/// The URI of a picture that was named: of a file its own, of a URL the URL.
fn key(name: &str) -> String {
    let file = std::path::absolute(Path::new(name)).ok().filter(|path| path.is_file());
    file.and_then(|path| uri::path_to_uri(&path).ok()).unwrap_or_else(|| name.to_owned())
}

/// Where an answer goes as it is written: onto the terminal, token by token.
pub(super) struct Paper {
    json: bool,
    failed: Option<Error>,
}

impl Paper {
    pub fn new(json: bool) -> Self {
        Paper { json, failed: None }
    }

    /// Prints a piece; whoever reads no more has left.
    pub fn hear(&mut self, told: &Told, caller: &Caller) {
        if self.json {
            return;
        }
        let done = match told {
            Told::Looking(shown) => look(shown),
            Told::Text(text) => say(text),
        };
        if let Err(error) = done {
            self.failed = Some(error);
            caller.leave();
        }
    }

    /// Ends the line, and prints what the answer rests on.
    pub fn finish(self, answer: Result<Answer>) -> Result<()> {
        let answer = self.failed.map_or(answer, Err)?;
        if self.json {
            return output::json(&answer);
        }
        output::text("")?;
        answer
            .citations
            .iter()
            .try_for_each(|cited| output::text(format!("  [{}] {}", cited.number, uri::display(&cited.key))))
    }
}

/// Says on a terminal what is looked at, since the answer may take its time.
fn look(shown: &[Shown]) -> Result<()> {
    if std::io::stderr().is_terminal() && !shown.is_empty() {
        let names: Vec<String> = shown.iter().map(|one| uri::file_name(&one.key)).collect();
        eprintln!("looking at {}", names.join(", "));
    }
    Ok(())
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| Error::io("standard output", e))
}
