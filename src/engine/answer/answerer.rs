//! What can answer questions about pictures: one seam, behind which models of several kinds stand.

use super::desk::{DeskOptions, Written};
use super::talker::Talker;
use super::vqa::Vqa;
use crate::engine::caller::Caller;
use crate::engine::eyes::{Glance, Sight};
use crate::engine::queue::{Load, QueueOptions};
use crate::error::{Error, Result};
use crate::models::{self, Blip, Kind, Llava, ModelOptions, Progress, Role};
use crate::types::{Ended, Writing};

/// A model that answers questions, to name where photographs are asked about.
pub const ANSWERER: &str = "llava-hf/llava-1.5-7b-hf";

/// Which answerer, and how much it may take.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerOptions {
    /// Its name; None for the demo one where a collection's encoder is the demo one, and none elsewhere.
    pub answerer: Option<String>,
    /// How many bytes of what it saw in pictures are remembered.
    pub features: u64,
    /// Whether it looks at pictures closely, where it can (LLaVA 1.6): they take several times the tokens then.
    pub tiles: bool,
    /// How much is written at once.
    pub desk: DeskOptions,
}

impl Default for AnswerOptions {
    fn default() -> Self {
        AnswerOptions { answerer: None, features: 256 << 20, tiles: false, desk: DeskOptions::default() }
    }
}

/// A question as an answerer gets it.
pub(super) struct Asked<'a> {
    pub question: &'a str,
    pub writing: &'a Writing,
    /// Whether it may be refused; else the model has to say what it can, if it can be made to.
    pub may_refuse: bool,
}

/// How an answer came out, beside its text.
#[derive(Clone)]
pub(super) struct Wrote {
    pub ended: Ended,
    pub token_ids: Vec<u32>,
}

/// A model that answers questions about pictures.
pub(super) trait Answerer: Sync {
    /// What it makes of a picture.
    type Seen: Clone + Sync;

    /// That the question leaves room for a picture and an answer.
    ///
    /// # Errors
    /// [`Error::Invalid`] that says how much too long it is.
    fn must_hold(&self, asked: &Asked) -> Result<()>;

    /// What it makes of each picture, or why there is nothing.
    fn see(&self, sights: Vec<Sight>, caller: &Caller) -> Result<Vec<Glance<Self::Seen>>>;

    /// How many pictures, from the first, it can hold together with the question.
    fn affords(&self, asked: &Asked, seen: &[Self::Seen]) -> Result<usize>;

    /// Whether it names the pictures that its answers rest on, or was never taught to.
    fn names_pictures(&self) -> bool;

    /// Writes the answer, and hands `say` each piece of it; `[2]` in it names the second picture.
    fn write(
        &self,
        asked: &Asked,
        seen: Vec<Self::Seen>,
        caller: &Caller,
        say: &mut dyn FnMut(&str),
    ) -> Result<Wrote>;
}

/// The kinds that there are.
pub(in crate::engine) enum AnyAnswerer {
    Llava(Talker),
    Blip(Vqa),
}

impl AnyAnswerer {
    /// Finds and loads the answerer of that name.
    pub fn load(
        name: &str,
        models: &ModelOptions,
        progress: &dyn Progress,
        queue: QueueOptions,
        options: &AnswerOptions,
    ) -> Result<Self> {
        let files = models::resolve_as(Role::Answerer, name, models, progress)?;
        match files.kind()? {
            Kind::Llava => {
                let llava = Llava::load(&files, models)?;
                Talker::new(llava, queue, options.desk, options.features, options.tiles)
                    .map(AnyAnswerer::Llava)
            }
            Kind::Blip => {
                let blip = Blip::load(&files, models)?;
                if !blip.can_answer() {
                    let fix =
                        format!("this BLIP cannot answer questions: name one that can, such as {LIGHT}");
                    return Err(Error::model(name, fix));
                }
                Vqa::new(blip, queue, options.features).map(AnyAnswerer::Blip)
            }
            other => {
                let reason = format!(
                    "a {other} model cannot answer questions: name a LLaVA, such as {ANSWERER}, or {LIGHT}"
                );
                Err(Error::model(name, reason))
            }
        }
    }

    /// What its queues have done so far.
    pub fn loads(&self) -> Vec<(String, &'static str, Load)> {
        match self {
            AnyAnswerer::Llava(talker) => {
                let (name, looks, _) = talker.loads();
                vec![(name, "picture", looks)]
            }
            AnyAnswerer::Blip(vqa) => vqa.loads().to_vec(),
        }
    }

    /// What was written so far, by those that write token by token.
    pub fn written(&self) -> Option<(String, Written)> {
        match self {
            AnyAnswerer::Llava(talker) => {
                let (name, _, written) = talker.loads();
                Some((name, written))
            }
            AnyAnswerer::Blip(_) => None,
        }
    }
}

/// A light one, for short answers.
const LIGHT: &str = "Salesforce/blip-vqa-base";
