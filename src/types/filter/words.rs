//! An expression's words: names and values, texts in quotes, and signs.

use super::parse::wrong;
use crate::error::Result;

/// A word, a quoted text, or a sign.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Word {
    pub text: String,
    pub quoted: bool,
}

/// The words of an expression, which has at least one.
pub(super) fn words(text: &str) -> Result<Vec<Word>> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (length, word) = match first {
            '"' | '\'' => quoted(rest, first)?,
            '(' | ')' | ',' | '~' | ':' => (1, plain(&rest[..1])),
            '=' | '!' | '<' | '>' => {
                let length = if rest[1..].starts_with('=') { 2 } else { 1 };
                (length, plain(&rest[..length]))
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || "()=!<>~,\"".contains(c);
                let length = rest.find(ends).unwrap_or(rest.len());
                (length, plain(&rest[..length]))
            }
        };
        out.push(word);
        rest = rest[length..].trim_start();
    }
    if out.is_empty() { Err(wrong("it is empty")) } else { Ok(out) }
}

fn plain(text: &str) -> Word {
    Word { text: text.to_owned(), quoted: false }
}

/// A text between two `quote`s; a backslash takes the next character as it is.
fn quoted(rest: &str, quote: char) -> Result<(usize, Word)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => text.extend(chars.next().map(|(_, c)| c)),
            c if c == quote => return Ok((at + 1, Word { text, quoted: true })),
            c => text.push(c),
        }
    }
    Err(wrong(format!("a {quote} is not closed")))
}
