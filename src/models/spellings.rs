//! The tokens of words, remembered.
//!
//! Byte-pair encodings like CLIP's mark where a word ends (`</w>`) and drop the white space between words, so that a text's tokens
//! are those of its words, one after another. Queries share most of their words, and looking one up takes far less than normalising
//! it, matching expressions on it and merging its pieces again.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use tokenizers::{ModelWrapper, Tokenizer};

/// What ends a word.
const END: &str = "</w>";
/// Words that are remembered, at most, and the longest of them in bytes: a few MiB in all.
const MOST: usize = 32_768;
const LONGEST: usize = 32;

/// The words of one tokenizer that were met.
pub(super) struct Spellings {
    /// What stands before and after the words.
    start: Vec<u32>,
    end: Vec<u32>,
    known: RwLock<HashMap<String, Vec<u32>>>,
}

impl Spellings {
    /// None where a text's tokens may be others than those of its words.
    pub fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let ModelWrapper::BPE(pieces) = tokenizer.get_model() else { return None };
        let whole = |text: &str, framed| Some(tokenizer.encode_fast(text, framed).ok()?.get_ids().to_vec());
        let (word, framed) = (whole("a", false)?, whole("a", true)?);
        let start = framed.windows(word.len().max(1)).position(|tokens| tokens == word)?;
        let spellings = Spellings {
            start: framed[..start].to_vec(),
            end: framed[start + word.len()..].to_vec(),
            known: RwLock::default(),
        };
        let added = tokenizer.get_added_tokens_decoder();
        let apart = pieces.end_of_word_suffix.as_deref() == Some(END)
            && pieces.dropout.is_none()
            && !added.values().any(|token| token.content.contains(char::is_whitespace));
        // White space might still be no border to what comes before the pieces.
        let text = " A dog's  2 cats:\ta photo ";
        let same = || spellings.encode(text, |word| whole(word, false)) == whole(text, true);
        (apart && same()).then_some(spellings)
    }

    /// The tokens of `text`, each word that is new cut by `cut`; None where that fails, or where `text` is not plain ASCII, whose
    /// characters might belong together across words.
    pub fn encode(&self, text: &str, cut: impl Fn(&str) -> Option<Vec<u32>>) -> Option<Vec<u32>> {
        if !text.is_ascii() {
            return None;
        }
        let mut tokens = self.start.clone();
        for word in text.split_ascii_whitespace() {
            if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(word) {
                tokens.extend_from_slice(known);
                continue;
            }
            let new = cut(word)?;
            tokens.extend_from_slice(&new);
            self.remember(word, new);
        }
        tokens.extend_from_slice(&self.end);
        Some(tokens)
    }

    fn remember(&self, word: &str, tokens: Vec<u32>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if word.len() <= LONGEST && known.len() < MOST {
            known.insert(word.to_owned(), tokens);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{demo, tokenizer};
    use super::*;

    #[test]
    fn texts_are_what_their_words_are() {
        let described = tokenizer::describe(&demo::clip()).unwrap();
        let tokenizer: Tokenizer = serde_json::from_value(described).unwrap();
        let spellings = Spellings::of(&tokenizer).unwrap();
        let cut = |text: &str, framed| Some(tokenizer.encode_fast(text, framed).unwrap().get_ids().to_vec());
        let parts =
            ["a", "Dog", "'s", "'", "don't", "2", "42nd", "<|endoftext|>", "!?", "--", "\u{1c}", "cat"];
        let gaps = ["", " ", "  ", "\t", "\n", "\u{b}", "\r\n"];
        let seed = 5;
        println!("seed {seed}");
        let mut state: u64 = seed;
        let mut roll = |sides: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % sides
        };
        for _ in 0..3000 {
            let text: String =
                (0..1 + roll(9)).flat_map(|_| [gaps[roll(gaps.len())], parts[roll(parts.len())]]).collect();
            assert_eq!(spellings.encode(&text, |word| cut(word, false)), cut(&text, true), "{text:?}");
        }
        // An accent belongs to the letter before it.
        assert_eq!(spellings.encode("cafe\u{301}", |word| cut(word, false)), None);
    }
}
