//! From a question to token ids with holes for the pictures.
//!
//! A user may type `<image>` or `</s>`: that is text, and must not become the token of that name. So the template's own special
//! tokens are written as private characters, one each, which only this tokenizer knows; the user's words are put in
//! afterwards, and in them no special token can be found.

use super::template::{IMAGE, Template};
use crate::models::files::ModelFiles;
use crate::models::tokenizer;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::collections::HashMap;
use tokenizers::Tokenizer;

/// The first of the private characters, U+F0000 and on: no text needs them.
const PRIVATE: u32 = 0xF_0000;
const LAST_PRIVATE: u32 = 0xF_FFFD;
/// Stand for what the user says until the template is filled in.
const QUESTION: &str = "\u{F_FFFC}";
const SYSTEM: &str = "\u{F_FFFB}";

/// A part of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A token.
    Token(u32),
    /// Where the next picture goes.
    Image,
}

/// Makes prompts, and text of answers.
pub(super) struct Prompter {
    template: Template,
    /// Knows special tokens by private characters only.
    reads: Tokenizer,
    /// As the checkpoint has it.
    writes: Tokenizer,
    /// The special tokens' names, the longest first, and the characters that stand for them.
    marks: Vec<(String, char)>,
    /// What the ids of those characters mean.
    meaning: HashMap<u32, Slot>,
    model: String,
}

impl Prompter {
    /// Reads tokenizer and template of `files`.
    ///
    /// # Errors
    /// [`Error::Model`] naming the file that is missing or broken.
    pub fn read(files: &ModelFiles, mistral: bool) -> Result<Self> {
        let template = Template::read(files, mistral)?;
        let described = tokenizer::describe(files)?;
        let (reading, names) = disguise(described.clone());
        let build = |value: Value| -> Result<Tokenizer> {
            let broken = |e: String| files.error(format!("{}: {e}", tokenizer_name(files)));
            let mut built: Tokenizer = serde_json::from_value(value).map_err(|e| broken(e.to_string()))?;
            built.with_padding(None);
            built.with_truncation(None).map_err(|e| broken(e.to_string()))?;
            Ok(built)
        };
        let (reads, writes) = (build(reading)?, build(described)?);
        let mut marks = Vec::with_capacity(names.len());
        let mut meaning = HashMap::new();
        for (name, mark) in names {
            let slot = match (name.as_str(), writes.token_to_id(&name)) {
                (IMAGE, _) => Some(Slot::Image),
                (_, id) => id.map(Slot::Token),
            };
            if let (Some(slot), Some(id)) = (slot, reads.token_to_id(&mark.to_string())) {
                meaning.insert(id, slot);
                marks.push((name, mark));
            }
        }
        marks.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Ok(Prompter { template, reads, writes, marks, meaning, model: files.name.clone() })
    }

    /// The prompt that asks `question` about `images` pictures.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty question; [`Error::Model`] when template or tokenizer fail.
    pub fn prompt(&self, system: Option<&str>, question: &str, images: usize) -> Result<Vec<Slot>> {
        if question.trim().is_empty() {
            return Err(Error::invalid(format!("question {question:?}"), "at least one word"));
        }
        let form = self.template.fill(system.map(|_| SYSTEM), QUESTION, images)?;
        if form.matches(QUESTION).count() != 1 {
            return Err(self.error("the chat template leaves out the question, or says it twice"));
        }
        let starts = self.template.start().is_some_and(|start| form.trim_start().starts_with(start));
        let form = self.mark(&form);
        let text =
            form.replace(QUESTION, &plain(question)).replace(SYSTEM, &plain(system.unwrap_or_default()));
        let encoding = self
            .reads
            .encode_fast(text, !starts)
            .map_err(|e| self.error(format!("the tokenizer fails: {e}")))?;
        let slot = |id: &u32| self.meaning.get(id).copied().unwrap_or(Slot::Token(*id));
        let slots: Vec<Slot> = encoding.get_ids().iter().map(slot).collect();
        match slots.iter().filter(|slot| **slot == Slot::Image).count() {
            count if count == images => Ok(slots),
            count => Err(self.error(format!("the chat template places {count} pictures, not {images}"))),
        }
    }

    /// Whether the template numbers pictures as `[1]`, so that answers can name them.
    pub fn numbers(&self) -> bool {
        let form = self.template.fill(None, QUESTION, 2);
        form.is_ok_and(|form| form.contains("[1]") && form.contains("[2]"))
    }

    /// The text of `ids`, without special tokens.
    ///
    /// # Errors
    /// [`Error::Model`] when the tokenizer fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.writes
            .decode(ids, true)
            .map_err(|e| self.error(format!("the tokenizer can't write out {ids:?}: {e}")))
    }

    /// The tokens with which `text` begins, at the very start of an answer or behind a space.
    ///
    /// # Errors
    /// [`Error::Model`] when the tokenizer fails.
    pub fn begin(&self, text: &str) -> Result<Vec<u32>> {
        let mut begin = Vec::new();
        for text in [plain(text), format!(" {}", plain(text))] {
            let encoding = self
                .reads
                .encode_fast(text, false)
                .map_err(|e| self.error(format!("the tokenizer fails: {e}")))?;
            begin.extend(encoding.get_ids().first());
        }
        begin.dedup();
        Ok(begin)
    }

    /// The id of the token `name`.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.writes.token_to_id(name)
    }

    /// The id that ends a text by the tokenizer's config.
    pub fn end(&self) -> Option<u32> {
        self.id(self.template.end()?)
    }

    /// `form` with private characters for special tokens, at each place the longest that fits.
    fn mark(&self, form: &str) -> String {
        let (mut marked, mut rest) = (String::with_capacity(form.len()), form);
        while let Some(next) = rest.chars().next() {
            let found = self.marks.iter().find(|(name, _)| rest.starts_with(name.as_str()));
            let (char, length) = found.map_or((next, next.len_utf8()), |(name, mark)| (*mark, name.len()));
            marked.push(char);
            rest = rest.get(length..).unwrap_or_default();
        }
        marked
    }

    fn error(&self, reason: impl Into<String>) -> Error {
        Error::model(&self.model, reason)
    }
}

/// The `tokenizer.json` in which private characters stand for special tokens, and which stands for which. `<image>` is added
/// where it is missing: the authors' tokenizers don't have it. Added tokens that are no special ones are words, and stay.
fn disguise(mut described: Value) -> (Value, Vec<(String, char)>) {
    let mut names = Vec::new();
    let mut added = described["added_tokens"].as_array().cloned().unwrap_or_default();
    if !added.iter().any(|token| token["content"] == IMAGE) {
        added.push(json!({"id": 0, "content": IMAGE, "single_word": false, "lstrip": false, "rstrip": false,
                          "normalized": false, "special": true}));
    }
    let marks = (PRIVATE..).filter_map(char::from_u32);
    let special = |token: &&mut Value| token["special"] == true || token["content"] == IMAGE;
    for (token, mark) in added.iter_mut().filter(special).zip(marks) {
        names.push((token["content"].as_str().unwrap_or_default().to_owned(), mark));
        token["content"] = mark.to_string().into();
        token["normalized"] = false.into();
    }
    described["added_tokens"] = added.into();
    (described, names)
}

/// What a user said, without the private characters.
fn plain(text: &str) -> String {
    let private = |c: &char| (PRIVATE..=LAST_PRIVATE).contains(&u32::from(*c));
    text.trim().chars().map(|c| if private(&c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn tokenizer_name(files: &ModelFiles) -> String {
    files.tokenizer().map(|names| names.join(" and ")).unwrap_or_default()
}
