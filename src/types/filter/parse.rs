//! The little language: `width >= 800 and (background = blue or "sea view" in caption)`.

use super::{Field, Filter, Op, Test, Value};
use crate::error::{Error, Result};
use jiff::civil::{Date, DateTime, Time};
use std::borrow::Cow;

/// The language in a few lines, for `--help` and errors.
pub const GRAMMAR: &str = "\
conditions join with `and`, `or`, `not` and ( ); a condition is FIELD OP VALUE, with OP one of = != < <= > >=, `contains` \
(or ~), `starts with`, `in (A, B)`, or FIELD `exists`. Built-in fields: width, height, size (bytes), format, taken, path, \
caption, exif.NAME; any other name is the payload's. Text with spaces wants \"quotes\"; dates are 2024, 2024-05, 2024-05-31 or \
2024-05-31T18:00. Example: width >= 800 and taken >= 2024 and not caption contains \"draft\"";

impl Filter {
    /// Reads an expression; see [`GRAMMAR`]. The error says where it stopped making sense.
    pub fn parse(text: &str) -> Result<Filter> {
        let mut reader = Reader { words: words(text)?, at: 0 };
        let filter = reader.any()?;
        match reader.next() {
            None => Ok(filter),
            Some(word) => Err(wrong(format!("{:?} comes where `and`, `or` or the end should", word.text))),
        }
    }
}

/// A word, a quoted text, or a sign.
#[derive(Clone, Debug, PartialEq)]
struct Word {
    text: String,
    quoted: bool,
}

struct Reader {
    words: Vec<Word>,
    at: usize,
}

impl Reader {
    fn any(&mut self) -> Result<Filter> {
        let mut parts = vec![self.all()?];
        while self.took("or") {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Filter::Any))
    }

    fn all(&mut self) -> Result<Filter> {
        let mut parts = vec![self.not()?];
        while self.took("and") {
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Filter::All))
    }

    fn not(&mut self) -> Result<Filter> {
        if self.took("not") {
            return Ok(Filter::Not(Box::new(self.not()?)));
        }
        if !self.took("(") {
            return self.test();
        }
        let inner = self.any()?;
        if self.took(")") { Ok(inner) } else { Err(wrong("a ( is not closed")) }
    }

    fn test(&mut self) -> Result<Filter> {
        let name = self.next().ok_or_else(|| wrong("it ends where a condition should stand"))?;
        if !name.quoted && !name.text.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            return Err(wrong(format!("{:?} stands where a field's name should", name.text)));
        }
        let field = Field::named(&name.text);
        let op = self.op(&name.text)?;
        let values = match op {
            Op::Exists => vec![],
            Op::In => self.list(&field, op)?,
            _ => vec![self.value(&field, op)?],
        };
        Ok(Filter::Test(Test { field, op, values }))
    }

    fn op(&mut self, field: &str) -> Result<Op> {
        let word = self.next().ok_or_else(|| wrong(format!("{field:?} is not compared with anything")))?;
        Ok(match word.text.to_lowercase().as_str() {
            "=" | "==" | ":" => Op::Eq,
            "!=" => Op::Ne,
            "<" => Op::Lt,
            "<=" => Op::Le,
            ">" => Op::Gt,
            ">=" => Op::Ge,
            "~" | "contains" => Op::Contains,
            "in" => Op::In,
            "exists" => Op::Exists,
            "starts" if self.took("with") => Op::Prefix,
            _ => return Err(wrong(format!("{:?} after {field:?} is no comparison", word.text))),
        })
    }

    fn list(&mut self, field: &Field, op: Op) -> Result<Vec<Value<'static>>> {
        if !self.took("(") {
            return Err(wrong("`in` wants a list in parentheses: in (A, B)"));
        }
        let mut values = vec![self.value(field, op)?];
        while self.took(",") {
            values.push(self.value(field, op)?);
        }
        if self.took(")") { Ok(values) } else { Err(wrong("the list after `in` is not closed with )")) }
    }

    fn value(&mut self, field: &Field, op: Op) -> Result<Value<'static>> {
        let word = self.next().ok_or_else(|| wrong("it ends where a value should stand"))?;
        if !word.quoted
            && matches!(word.text.as_str(), "(" | ")" | "," | "=" | "<" | ">" | "<=" | ">=" | "!=")
        {
            return Err(wrong(format!("{:?} stands where a value should", word.text)));
        }
        typed(field, op, &word)
    }

    fn next(&mut self) -> Option<Word> {
        let word = self.words.get(self.at).cloned();
        self.at += 1;
        word
    }

    fn took(&mut self, wanted: &str) -> bool {
        let took = self.words.get(self.at).is_some_and(|w| !w.quoted && w.text.eq_ignore_ascii_case(wanted));
        self.at += usize::from(took);
        took
    }
}

/// The value as the field's type has it; a payload's field takes the type that the value looks like.
fn typed(field: &Field, op: Op, word: &Word) -> Result<Value<'static>> {
    let text = || Value::Text(Cow::Owned(word.text.clone()));
    let wants = |kind: &str, example: &str| {
        let what = format!("filter: {:?} is no {kind}, which {} is", word.text, field.name());
        Err(Error::invalid(what, format!("write {example}")))
    };
    let number = word.text.parse::<f64>().ok().filter(|n| n.is_finite());
    let textual = matches!(op, Op::Contains | Op::Prefix);
    match field {
        Field::Width | Field::Height | Field::Size if textual => wants("text", "a comparison such as >= 800"),
        Field::Width | Field::Height | Field::Size => match number {
            Some(n) => Ok(Value::Number(n)),
            None => wants("number", "one such as 800"),
        },
        Field::Taken => match time(&word.text) {
            Some(value) if !textual => Ok(value),
            _ => wants("date", "2024, 2024-05, 2024-05-31 or 2024-05-31T18:00 after =, <, <=, > or >="),
        },
        Field::Format => Ok(Value::Text(Cow::Owned(match word.text.to_lowercase().as_str() {
            "jpg" => "jpeg".to_owned(),
            "tif" => "tiff".to_owned(),
            other => other.to_owned(),
        }))),
        Field::Path | Field::Caption => Ok(text()),
        Field::Exif(_) | Field::Payload(_) if word.quoted || textual => Ok(text()),
        Field::Exif(_) | Field::Payload(_) => Ok(match (word.text.as_str(), number) {
            ("true", _) => Value::Bool(true),
            ("false", _) => Value::Bool(false),
            (_, Some(n)) => Value::Number(n),
            _ => text(),
        }),
    }
}

/// A year, a month, a day, or a moment, each as the stretch that it is.
fn time(text: &str) -> Option<Value<'static>> {
    let day = |t: &str| t.parse::<Date>().ok();
    let (from, to) = if let (4, Ok(year)) = (text.len(), text.parse::<i16>()) {
        (Date::new(year, 1, 1).ok()?.to_datetime(Time::midnight()), Date::new(year + 1, 1, 1).ok()?.into())
    } else if let (7, Some(first)) = (text.len(), day(&format!("{text}-01"))) {
        (first.into(), first.checked_add(jiff::Span::new().months(1)).ok()?.into())
    } else if let (10, Some(first)) = (text.len(), day(text)) {
        (first.into(), first.tomorrow().ok()?.into())
    } else {
        let moment = text.parse::<DateTime>().ok()?;
        let step = if text.matches(':').count() < 2 {
            jiff::Span::new().minutes(1)
        } else {
            jiff::Span::new().seconds(1)
        };
        (moment, moment.checked_add(step).ok()?)
    };
    Some(Value::Time { from: seconds(from)?, to: seconds(to)? })
}

fn seconds(moment: DateTime) -> Option<i64> {
    Some(moment.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

fn one_or(mut parts: Vec<Filter>, join: fn(Vec<Filter>) -> Filter) -> Filter {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            join(parts)
        }
        None => join(parts),
    }
}

fn words(text: &str) -> Result<Vec<Word>> {
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

fn wrong(what: impl Into<String>) -> Error {
    Error::invalid(format!("filter: {}", what.into()), GRAMMAR)
}
