//! Tokens become text while they come.
//!
//! A character may take several tokens, and a tokenizer's decoder looks at what stands before: a piece is given out only when
//! it is certain. All pieces together are what the tokenizer makes of all tokens at once.

use crate::Result;

/// What the decoder writes for bytes that are no character (yet).
const BROKEN: char = '\u{FFFD}';
/// The longest character in UTF-8: after as many tokens without one, the bytes are broken for good.
const LONGEST: usize = 4;

/// Turns one text's tokens into pieces of text.
#[derive(Default)]
pub(crate) struct Unfold {
    ids: Vec<u32>,
    /// The tokens before this one only give the decoder something to stand on.
    start: usize,
    /// The tokens before this one have been given out.
    told: usize,
}

impl Unfold {
    /// Adds `id`; what has become certain, perhaps nothing. `decode` is the tokenizer's.
    pub fn push(&mut self, id: u32, decode: impl Fn(&[u32]) -> Result<String>) -> Result<String> {
        self.ids.push(id);
        self.tell(false, decode)
    }

    /// What is left when no more comes: bytes that never became a character are written as U+FFFD.
    pub fn finish(&mut self, decode: impl Fn(&[u32]) -> Result<String>) -> Result<String> {
        self.tell(true, decode)
    }

    fn tell(&mut self, all: bool, decode: impl Fn(&[u32]) -> Result<String>) -> Result<String> {
        let tokens = self.ids.get(self.start..).unwrap_or_default();
        let (before, text) =
            (decode(tokens.get(..self.told - self.start).unwrap_or_default())?, decode(tokens)?);
        let waiting = text.ends_with(BROKEN) && self.ids.len() - self.told < LONGEST;
        if waiting && !all {
            return Ok(String::new());
        }
        let fresh = std::mem::replace(&mut self.told, self.ids.len());
        // Tokens without text, such as special ones, are no ground to stand on: many decoders eat the first space.
        if text != before {
            self.start = fresh;
        }
        match text.strip_prefix(before.as_str()) {
            Some(rest) => Ok(rest.to_owned()),
            // Broken bytes that came after have changed what was said: only they are still to be said.
            None => decode(self.ids.get(fresh..).unwrap_or_default()),
        }
    }
}

/// Strings that end a text and are no part of it.
pub(crate) struct Stops {
    stops: Vec<String>,
    /// What may be the beginning of one.
    held: String,
}

impl Stops {
    /// Empty strings are left out.
    pub fn new(stops: &[&str]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).map(|stop| (*stop).to_owned()).collect();
        Stops { stops, held: String::new() }
    }

    /// Adds `text`: what may be given out, and whether a stop string has come, after which nothing may.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let kept = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - kept);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back, when no more comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// How many bytes at the end of `text` are a beginning of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let ends = stop.char_indices().map(|(at, _)| at).filter(|at| *at <= text.len());
    ends.filter(|at| text.as_bytes().ends_with(&stop.as_bytes()[..*at])).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each token is a byte; what is no UTF-8 is decoded as tokenizers do.
    fn decode(ids: &[u32]) -> Result<String> {
        let bytes: Vec<u8> = ids.iter().map(|id| *id as u8).collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn pieces(bytes: &[u8]) -> Vec<String> {
        let mut unfold = Unfold::default();
        let mut pieces: Vec<String> =
            bytes.iter().map(|byte| unfold.push(u32::from(*byte), decode).unwrap()).collect();
        pieces.push(unfold.finish(decode).unwrap());
        pieces
    }

    #[test]
    fn a_character_is_never_split() {
        let text = "naïve 東京 🐘👩‍👩‍👧 end";
        let pieces = pieces(text.as_bytes());
        assert_eq!(pieces.concat(), text);
        let characters: Vec<String> = text.chars().map(String::from).collect();
        let spoken: Vec<String> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        assert_eq!(spoken, characters);
    }

    #[test]
    fn a_token_without_text_does_not_eat_a_space() {
        // As Llama's decoder: a space in front of each word, the first one dropped; 9 is a special token.
        let decode = |ids: &[u32]| {
            let words = ids.iter().filter(|id| **id != 9).map(|id| format!(" {id}"));
            Ok(words.collect::<String>().trim_start().to_owned())
        };
        let mut unfold = Unfold::default();
        let pieces: Vec<_> =
            [1, 9, 9, 2, 3, 9, 4].iter().map(|id| unfold.push(*id, decode).unwrap()).collect();
        assert_eq!(pieces, ["1", "", "", " 2", " 3", "", " 4"]);
    }

    #[test]
    fn broken_bytes_do_not_hold_the_stream() {
        for bytes in [&b"ab\xF0\x9F cd"[..], b"\xFF\xFF\xFF\xFF\xFF\xFFab", b"ab\xE6\x9D"] {
            assert_eq!(pieces(bytes).concat(), String::from_utf8_lossy(bytes), "{bytes:?}");
        }
        assert!(!pieces(b"\x80\x80\x80\x80\x80\x80")[3].is_empty());
    }

    #[test]
    fn a_stop_string_ends_the_text_wherever_pieces_end() {
        let said = |pieces: &[&str]| {
            let mut stops = Stops::new(&["", "</s>", "\n\nUSER"]);
            let mut said = String::new();
            for piece in pieces {
                let (text, stopped) = stops.push(piece);
                said.push_str(&text);
                if stopped {
                    return (said, true);
                }
            }
            said.push_str(&stops.finish());
            (said, false)
        };
        assert_eq!(said(&["one <", "/", "s", "> two"]), ("one ".to_owned(), true));
        assert_eq!(said(&["one </", "sé", "\n\nU", "SA"]), ("one </sé\n\nUSA".to_owned(), false));
        assert_eq!(said(&["</", "</s>"]), ("</".to_owned(), true));
        assert_eq!(said(&["a</s", "</s>b"]), ("a</s".to_owned(), true));
    }
}
