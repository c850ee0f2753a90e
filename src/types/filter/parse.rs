//! The little language: `width >= 800 and (background = blue or caption contains "sea view")`.

use super::literal;
use super::words::{Word, words};
use super::{Circle, Field, Filter, Op, Place, Test, Value};
use crate::error::{Error, Result};

/// The language in a few lines, for `--help` and errors.
pub const GRAMMAR: &str = "\
conditions join with `and`, `or`, `not` and ( ); a condition is FIELD OP VALUE, with OP one of = != < <= > >=, `contains` \
(or ~), `starts with`, `in (A, B)`; or it is FIELD `exists`, or FIELD `within` 5 km `of` LATITUDE, LONGITUDE (m, km, mi). \
Built-in fields: width, height, size (bytes), format, taken, path, caption, exif.NAME (exif.gps, exif.camera); any other name is \
the payload's, and a dot leads into an object. Text with spaces wants \"quotes\"; dates are 2024, 2024-05, 2024-05-31, \
2024-05-31T18:00 or 2024-05-31T18:00:00Z. Example: width >= 800 and taken >= 2024 and not caption contains \"draft\"";

/// How deep conditions may be nested: more would be a mistake, and would end the stack before long.
const DEEPEST: usize = 100;

impl Filter {
    /// Reads an expression; see [`GRAMMAR`]. The error says where it stopped making sense.
    pub fn parse(text: &str) -> Result<Filter> {
        let mut reader = Reader { words: words(text)?, at: 0, depth: 0 };
        let filter = reader.any()?;
        match reader.next() {
            None => Ok(filter),
            Some(word) => Err(wrong(format!("{:?} comes where `and`, `or` or the end should", word.text))),
        }
    }
}

struct Reader {
    words: Vec<Word>,
    at: usize,
    depth: usize,
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
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(wrong(format!("more than {DEEPEST} parentheses and `not`s within one another")));
        }
        let filter = if self.took("not") {
            Filter::Not(Box::new(self.not()?))
        } else if self.took("(") {
            let inner = self.any()?;
            if !self.took(")") {
                return Err(wrong("a ( is not closed"));
            }
            inner
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(filter)
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
            Op::Within => vec![Value::Circle(self.circle(&field)?)],
            _ => self.value(&field, op)?,
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
            "within" => Op::Within,
            "starts" if self.took("with") => Op::Prefix,
            _ => return Err(wrong(format!("{:?} after {field:?} is no comparison", word.text))),
        })
    }

    fn list(&mut self, field: &Field, op: Op) -> Result<Vec<Value>> {
        if !self.took("(") {
            return Err(wrong("`in` wants a list in parentheses: in (A, B)"));
        }
        let mut values = self.value(field, op)?;
        while self.took(",") {
            values.extend(self.value(field, op)?);
        }
        if self.took(")") { Ok(values) } else { Err(wrong("the list after `in` is not closed with )")) }
    }

    /// What stands after `within`: `5 km of 48.8584, 2.2945`.
    fn circle(&mut self, field: &Field) -> Result<Circle> {
        if !matches!(field, Field::Exif(_) | Field::Payload(_)) {
            return Err(wrong(format!("{:?} is no place", field.name())));
        }
        let usual = || wrong("`within` wants a distance and a place: within 5 km of 48.8584, 2.2945");
        let mut distance = self.next().ok_or_else(usual)?.text;
        if literal::metres(&distance).is_none() {
            distance.push_str(&self.next().ok_or_else(usual)?.text);
        }
        let metres = literal::metres(&distance).ok_or_else(usual)?;
        if !self.took("of") {
            return Err(usual());
        }
        let bracket = self.took("(");
        let lat = self.degrees().ok_or_else(usual)?;
        self.took(",");
        let lon = self.degrees().ok_or_else(usual)?;
        if bracket && !self.took(")") {
            return Err(wrong("a ( is not closed"));
        }
        let invalid = |e: Error| wrong(e.to_string());
        Circle::new(Place::new(lat, lon).map_err(invalid)?, metres).map_err(invalid)
    }

    fn degrees(&mut self) -> Option<f64> {
        self.next()?.text.parse().ok()
    }

    /// The readings of one value.
    fn value(&mut self, field: &Field, op: Op) -> Result<Vec<Value>> {
        let word = self.next().ok_or_else(|| wrong("it ends where a value should stand"))?;
        if !word.quoted
            && matches!(word.text.as_str(), "(" | ")" | "," | "=" | "<" | ">" | "<=" | ">=" | "!=")
        {
            return Err(wrong(format!("{:?} stands where a value should", word.text)));
        }
        literal::readings(field, op, &word)
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

pub(super) fn wrong(what: impl Into<String>) -> Error {
    Error::invalid(format!("filter: {}", what.into()), GRAMMAR)
}
