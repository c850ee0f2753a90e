//! From text to token ids and back: `tokenizer.json`, or the same built from `vocab.json` and `merges.txt` (CLIP), from
//! `vocab.txt` (BERT) or from `tokenizer.model` (Llama).

use super::files::{MERGES, ModelFiles, SENTENCE_PIECES, TOKENIZER, TOKENIZER_CONFIG, VOCAB, WORD_PIECES};
use super::sentencepiece;
use super::spellings::Spellings;
use crate::{Error, Result};
use serde_json::{Value, json};
use tokenizers::Tokenizer;

/// A checkpoint's tokenizer, with the model's limit on length.
pub struct TextTokenizer {
    inner: Tokenizer,
    words: Option<Spellings>,
    longest: usize,
    model: String,
}

impl TextTokenizer {
    /// Reads the tokenizer of `files`; no text becomes more than `longest` tokens.
    ///
    /// # Errors
    /// [`Error::Model`] naming the file that is missing or broken.
    pub fn read(files: &ModelFiles, longest: usize) -> Result<Self> {
        let names = files.tokenizer()?;
        let parsed = if names.contains(&TOKENIZER) {
            Tokenizer::from_bytes(files.read(TOKENIZER)?)
        } else {
            serde_json::from_value(describe(files)?).map_err(|e| Box::new(e) as tokenizers::Error)
        };
        let mut inner =
            parsed.map_err(|e| files.error(format!("{} can't be used: {e}", names.join(" and "))))?;
        // Both are done here: files disagree on whether they bring them, and a batch is padded by the network's rules.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| files.error(format!("{TOKENIZER}: {e}")))?;
        let words = Spellings::of(&inner);
        Ok(TextTokenizer { inner, words, longest, model: files.name.clone() })
    }

    /// The ids of `text`, start and end tokens included. What is too long is cut before the last token, which stays.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a text without anything but white space.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.encode_whole(text)?;
        if let (true, Some(end)) = (ids.len() > self.longest, ids.last().copied()) {
            ids.truncate(self.longest - 1);
            ids.push(end);
        }
        Ok(ids)
    }

    /// How many tokens [`TextTokenizer::encode`] cuts off `text`.
    ///
    /// # Errors
    /// As [`TextTokenizer::encode`].
    pub fn excess(&self, text: &str) -> Result<usize> {
        Ok(self.encode_whole(text)?.len().saturating_sub(self.longest))
    }

    /// The text that `ids` stand for, without special tokens.
    ///
    /// # Errors
    /// [`Error::Model`] when the tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let failed = |e| Error::model(&self.model, format!("the tokenizer can't write out {ids:?}: {e}"));
        self.inner.decode(ids, true).map_err(failed)
    }

    fn encode_whole(&self, text: &str) -> Result<Vec<u32>> {
        if text.trim().is_empty() {
            return Err(Error::invalid(format!("text {text:?}"), "at least one word"));
        }
        let cut = |word: &str| Some(self.inner.encode_fast(word, false).ok()?.get_ids().to_vec());
        if let Some(ids) = self.words.as_ref().and_then(|words| words.encode(text, cut)) {
            return Ok(ids);
        }
        let encoding = self
            .inner
            .encode_fast(text, true)
            .map_err(|e| Error::model(&self.model, format!("the tokenizer failed on {text:?}: {e}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// # Errors
    /// [`Error::Model`] when an id can come out for which the network has no embedding.
    pub(crate) fn must_fit(&self, files: &ModelFiles, vocab_size: usize) -> Result<()> {
        let name = files.tokenizer()?.first().copied().unwrap_or_default();
        match self.inner.get_vocab(true).into_values().max() {
            Some(highest) if highest as usize >= vocab_size => Err(files.error(format!(
                "{name} has the token id {highest}, and text_config.vocab_size is {vocab_size}"
            ))),
            _ => Ok(()),
        }
    }
}

/// The tokenizer of `files` as a `tokenizer.json`.
///
/// # Errors
/// [`Error::Model`] naming the file that is missing or broken.
pub(crate) fn describe(files: &ModelFiles) -> Result<Value> {
    match files.tokenizer()?.first() {
        Some(&TOKENIZER) => files.json(TOKENIZER),
        Some(&WORD_PIECES) => bert(files),
        Some(&SENTENCE_PIECES) => sentencepiece::describe(files),
        _ => clip_bpe(files),
    }
}

/// CLIP's byte-pair encoding as a `tokenizer.json`, from the two files of transformers' slow tokenizer. The same pieces
/// as transformers' `CLIPTokenizer`.
fn clip_bpe(files: &ModelFiles) -> Result<Value> {
    let vocab = files.json(VOCAB)?;
    let merges = files.read(MERGES)?;
    let merges = std::str::from_utf8(&merges).map_err(|e| files.error(format!("{MERGES}: {e}")))?;
    let merges: Vec<_> = merges
        .lines()
        .filter(|line| !line.starts_with("#version") && !line.trim().is_empty())
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .collect();
    let (start, end) = special_tokens(files)?;
    let id = |token: &str| {
        vocab[token].as_u64().ok_or_else(|| files.error(format!("{VOCAB} lacks the special token {token:?}")))
    };
    let (start_id, end_id) = (id(&start)?, id(&end)?);
    let added = |token: &str, id: u64| {
        json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    Ok(json!({
        "version": "1.0",
        "added_tokens": [added(&start, start_id), added(&end, end_id)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "behavior": "Removed", "invert": true, "pattern": {"Regex":
                r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"}},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": {"type": "RobertaProcessing", "sep": [end, end_id], "cls": [start, start_id],
                           "trim_offsets": false, "add_prefix_space": false},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": end, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false,
                  "vocab": vocab, "merges": merges},
    }))
}

/// BERT's word pieces as a `tokenizer.json`, from `vocab.txt`, a piece a line. The same pieces as transformers'
/// `BertTokenizer`.
fn bert(files: &ModelFiles) -> Result<Value> {
    let text = files.read(WORD_PIECES)?;
    let text = std::str::from_utf8(&text).map_err(|e| files.error(format!("{WORD_PIECES}: {e}")))?;
    let vocab: serde_json::Map<String, Value> =
        text.lines().enumerate().map(|(id, piece)| (piece.to_owned(), json!(id))).collect();
    let id = |token: &str| match vocab.get(token) {
        Some(id) => Ok(id.clone()),
        None => Err(files.error(format!("{WORD_PIECES} lacks the special token {token:?}"))),
    };
    let mut added = Vec::new();
    for token in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] {
        added.push(json!({"id": id(token)?, "content": token, "single_word": false, "lstrip": false,
                          "rstrip": false, "normalized": false, "special": true}));
    }
    let (cls, sep) = (id("[CLS]")?, id("[SEP]")?);
    let settings = match files.has(TOKENIZER_CONFIG) {
        true => files.json(TOKENIZER_CONFIG)?,
        false => Value::Null,
    };
    let flag = |key: &str| settings[key].as_bool().unwrap_or(true);
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "lowercase": flag("do_lower_case"),
                       "handle_chinese_chars": flag("tokenize_chinese_chars"),
                       "strip_accents": settings["strip_accents"].as_bool()},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [cls], "tokens": ["[CLS]"]},
                               "[SEP]": {"id": "[SEP]", "ids": [sep], "tokens": ["[SEP]"]}}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocab},
    }))
}

/// The start and end tokens, which `special_tokens_map.json` or `tokenizer_config.json` may rename.
fn special_tokens(files: &ModelFiles) -> Result<(String, String)> {
    let (mut start, mut end) = ("<|startoftext|>".to_owned(), "<|endoftext|>".to_owned());
    for file in [TOKENIZER_CONFIG, "special_tokens_map.json"] {
        if !files.has(file) {
            continue;
        }
        let json = files.json(file)?;
        for (token, key) in [(&mut start, "bos_token"), (&mut end, "eos_token")] {
            if let Some(name) = json[key].as_str().or(json[key]["content"].as_str()) {
                name.clone_into(token);
            }
        }
    }
    Ok((start, end))
}
