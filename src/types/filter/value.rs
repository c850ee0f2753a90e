//! The values that conditions are made of, those that items hold, and how the two compare.

use super::{Circle, Number, Op, Place, time};
use serde_json::Value as Json;
use std::borrow::Cow;

/// A value of a condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An integer or a float.
    Number(Number),
    /// A keyword or text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// A stretch of time, in seconds since 1970: `from` up to, not with, `to`. A whole day or year is one value.
    Time {
        /// Its first second.
        from: i64,
        /// The first second after it.
        to: i64,
    },
    /// The places around one.
    Circle(Circle),
}

/// A value of an item.
#[derive(Clone, Debug, PartialEq)]
pub enum Held<'a> {
    /// An integer or a float.
    Number(Number),
    /// A keyword or text.
    Text(Cow<'a, str>),
    /// Text that is a date or a time: it is held against both.
    Date {
        /// As it is written.
        text: &'a str,
        /// Its first second since 1970.
        second: i64,
    },
    /// True or false.
    Bool(bool),
    /// Seconds since 1970.
    Time(i64),
    /// A place.
    Place(Place),
}

impl Value {
    /// The type that it has, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::Bool(_) => "true or false",
            Value::Time { .. } => "a date",
            Value::Circle(_) => "a distance from a place",
        }
    }
}

impl<'a> Held<'a> {
    /// What a JSON value holds: nothing, one value, or a list's. An object with `lat` and `lon` is a place.
    pub fn of_json(json: &'a Json) -> Vec<Held<'a>> {
        match json {
            Json::Array(list) => list.iter().flat_map(Held::of_json).collect(),
            one => Held::of_one(one).into_iter().collect(),
        }
    }

    /// What a JSON value that is no list holds.
    pub(super) fn of_one(json: &'a Json) -> Option<Held<'a>> {
        match json {
            Json::Null | Json::Array(_) => None,
            Json::Bool(b) => Some(Held::Bool(*b)),
            Json::Number(n) => Number::of_json(n).map(Held::Number),
            Json::String(s) => Some(match time::second(s) {
                Some(second) => Held::Date { text: s, second },
                None => Held::Text(Cow::Borrowed(s)),
            }),
            Json::Object(object) => Place::of_json(object).map(Held::Place),
        }
    }

    /// Whether it equals one of `wanted`: for time, lies within it.
    pub fn equals(&self, wanted: &[Value]) -> bool {
        wanted.iter().any(|wanted| match (self, wanted) {
            (Held::Number(a), Value::Number(b)) => a == b,
            (Held::Bool(a), Value::Bool(b)) => a == b,
            (Held::Time(at) | Held::Date { second: at, .. }, Value::Time { from, to }) => {
                (from..to).contains(&at)
            }
            (_, Value::Text(b)) => self.text() == Some(b),
            _ => false,
        })
    }

    /// Whether it stands to one of `wanted` as `op` says, which is none of those about being there and being equal.
    pub fn holds(&self, op: Op, wanted: &[Value]) -> bool {
        let as_time = wanted.iter().any(|w| matches!(w, Value::Time { .. }));
        wanted.iter().any(|wanted| match (self, op, wanted) {
            (_, Op::Contains, Value::Text(b)) => {
                self.text().is_some_and(|a| a.to_lowercase().contains(&b.to_lowercase()))
            }
            (_, Op::Prefix, Value::Text(b)) => self.text().is_some_and(|a| a.starts_with(b.as_str())),
            (Held::Place(place), Op::Within, Value::Circle(circle)) => circle.holds(place),
            (Held::Number(a), _, Value::Number(b)) => ordered(op, a, b),
            (Held::Time(at) | Held::Date { second: at, .. }, _, Value::Time { from, to }) => match op {
                Op::Lt => at < from,
                Op::Le => at < to,
                Op::Gt => at >= to,
                Op::Ge => at >= from,
                _ => false,
            },
            // A date is not also compared letter by letter, which would find 2024-05-31 after 2024-05.
            (Held::Date { .. }, _, Value::Text(_)) if as_time => false,
            (_, _, Value::Text(b)) => self.text().is_some_and(|a| ordered(op, a, b.as_str())),
            _ => false,
        })
    }

    fn text(&self) -> Option<&str> {
        match self {
            Held::Text(text) => Some(text),
            Held::Date { text, .. } => Some(text),
            _ => None,
        }
    }
}

fn ordered<T: PartialOrd + ?Sized>(op: Op, value: &T, wanted: &T) -> bool {
    match op {
        Op::Lt => value < wanted,
        Op::Le => value <= wanted,
        Op::Gt => value > wanted,
        Op::Ge => value >= wanted,
        _ => false,
    }
}
