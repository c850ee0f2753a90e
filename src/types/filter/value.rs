//! The values that conditions compare, and how.

use super::Op;
use serde_json::Value as Json;
use std::borrow::Cow;

/// A value of an item, or one that a user wrote.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// An integer or a float.
    Number(f64),
    /// A keyword or text.
    Text(Cow<'a, str>),
    /// True or false.
    Bool(bool),
    /// A stretch of time, in seconds since 1970 with no zone: `from` up to, not with, `to`. A whole day or year is one value.
    Time {
        /// Its first second.
        from: i64,
        /// The first second after it.
        to: i64,
    },
}

impl Value<'_> {
    /// One second.
    pub fn instant(second: i64) -> Self {
        Value::Time { from: second, to: second + 1 }
    }

    /// What a JSON value holds: nothing, one value, or a list's.
    pub fn of_json(json: &Json) -> Vec<Value<'_>> {
        match json {
            Json::Null | Json::Object(_) => vec![],
            Json::Bool(b) => vec![Value::Bool(*b)],
            Json::Number(n) => n.as_f64().map(Value::Number).into_iter().collect(),
            Json::String(s) => vec![Value::Text(Cow::Borrowed(s))],
            Json::Array(list) => list.iter().flat_map(Value::of_json).collect(),
        }
    }

    /// Whether the two have a type in common.
    pub fn comparable(&self, other: &Value<'_>) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Whether this, of an item, equals `wanted`: for time, lies within it.
    pub fn equals(&self, wanted: &Value<'_>) -> bool {
        match (self, wanted) {
            (Value::Number(a), Value::Number(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Time { from, .. }, Value::Time { from: start, to: end }) => (start..end).contains(&from),
            _ => false,
        }
    }

    /// Whether this, of an item, stands to `wanted` as `op` says.
    pub fn holds(&self, op: Op, wanted: &Value<'_>) -> bool {
        match (self, wanted) {
            (Value::Number(a), Value::Number(b)) => ordered(op, a, b, b),
            (Value::Time { from, .. }, Value::Time { from: start, to: end }) => {
                ordered(op, from, start, &(end - 1))
            }
            (Value::Text(a), Value::Text(b)) => match op {
                Op::Contains => a.to_lowercase().contains(&b.to_lowercase()),
                Op::Prefix => a.starts_with(b.as_ref()),
                _ => ordered(op, a, b, b),
            },
            _ => false,
        }
    }
}

/// `value` against a stretch from `first` to `last`, which for all but time are the same.
fn ordered<T: PartialOrd>(op: Op, value: &T, first: &T, last: &T) -> bool {
    match op {
        Op::Lt => value < first,
        Op::Le => value <= last,
        Op::Gt => value > last,
        Op::Ge => value >= first,
        _ => false,
    }
}
