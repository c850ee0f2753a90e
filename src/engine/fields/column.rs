//! One field of all items: its values by type, and a condition on them as a set of rows.

use super::rows::{Gathered, Rows};
use super::sorted::Sorted;
use crate::types::filter::{Held, Number, Op, Place, Value};
use roaring::RoaringBitmap;
use std::ops::Bound::{self, Excluded, Included, Unbounded};

/// What the items hold in one field.
#[derive(Debug, Default)]
pub struct Column {
    /// The rows that hold anything.
    there: RoaringBitmap,
    pub(super) numbers: Sorted<Number>,
    /// Text that is no date; `dates` has the text that is, as it is written, and `times` has what it means.
    pub(super) texts: Sorted<Box<str>>,
    dates: Sorted<Box<str>>,
    pub(super) times: Sorted<i64>,
    pub(super) bools: Sorted<bool>,
    pub(super) places: Sorted<Place>,
}

impl Column {
    /// Notes that a row holds the value.
    pub fn insert(&mut self, row: u32, value: &Held<'_>) {
        self.there.insert(row);
        match value {
            Held::Number(n) => self.numbers.insert(n, row, || *n),
            Held::Text(text) => self.texts.insert(text.as_ref(), row, || Box::from(text.as_ref())),
            Held::Date { text, second } => {
                self.dates.insert(*text, row, || Box::from(*text));
                self.times.insert(second, row, || *second);
            }
            Held::Bool(b) => self.bools.insert(b, row, || *b),
            Held::Time(second) => self.times.insert(second, row, || *second),
            Held::Place(place) => self.places.insert(place, row, || *place),
        }
    }

    /// Notes that a row holds the value no more. The row's other values have to go too.
    pub fn remove(&mut self, row: u32, value: &Held<'_>) {
        self.there.remove(row);
        match value {
            Held::Number(n) => self.numbers.remove(n, row),
            Held::Text(text) => self.texts.remove(text.as_ref(), row),
            Held::Date { text, second } => {
                self.dates.remove(*text, row);
                self.times.remove(second, row);
            }
            Held::Bool(b) => self.bools.remove(b, row),
            Held::Time(second) => self.times.remove(second, row),
            Held::Place(place) => self.places.remove(place, row),
        }
    }

    /// The rows that hold anything.
    pub fn there(&self) -> &RoaringBitmap {
        &self.there
    }

    /// The rows that stand to one of `values` as `op` says: what [`Test::passes`] says of each item.
    ///
    /// [`Test::passes`]: crate::types::filter::Test::passes
    pub fn rows(&self, op: Op, values: &[Value]) -> RoaringBitmap {
        if op == Op::Exists {
            return self.there.clone();
        }
        if values.is_empty() {
            return RoaringBitmap::new();
        }
        let mut out = Gathered::default();
        let as_time = values.iter().any(|v| matches!(v, Value::Time { .. }));
        for value in values {
            match op {
                Op::Eq | Op::Ne | Op::In => self.equal(value, &mut out),
                Op::Contains => self.containing(value, &mut out),
                Op::Prefix => self.beginning(value, &mut out),
                Op::Within => self.within(value, &mut out),
                Op::Lt | Op::Le | Op::Gt | Op::Ge => self.ordered(op, value, as_time, &mut out),
                Op::Exists => {}
            }
        }
        match op {
            Op::Ne => &self.there - out.into_set(),
            _ => out.into_set(),
        }
    }

    /// Whether it holds anything that can be compared with one of `values`.
    pub fn comparable(&self, values: &[Value]) -> bool {
        values.iter().any(|value| match value {
            Value::Number(_) => !self.numbers.is_empty(),
            Value::Text(_) => !self.texts.is_empty() || !self.dates.is_empty(),
            Value::Bool(_) => !self.bools.is_empty(),
            Value::Time { .. } => !self.times.is_empty(),
            Value::Circle(_) => !self.places.is_empty(),
        })
    }

    /// The types that it holds, as people say them.
    pub fn kinds(&self) -> Vec<&'static str> {
        let kinds = [
            ("numbers", !self.numbers.is_empty()),
            ("text", !self.texts.is_empty()),
            ("dates", !self.times.is_empty()),
            ("true or false", !self.bools.is_empty()),
            ("places", !self.places.is_empty()),
        ];
        kinds.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
    }

    fn equal<'a>(&'a self, value: &Value, out: &mut Gathered<'a>) {
        match value {
            Value::Number(n) => self.numbers.equal(n, out),
            Value::Text(text) => {
                self.texts.equal(text.as_str(), out);
                self.dates.equal(text.as_str(), out);
            }
            Value::Bool(b) => self.bools.equal(b, out),
            Value::Time { from, to } => self.times.between(Included(from), Excluded(to), out),
            Value::Circle(_) => {}
        }
    }

    fn ordered<'a>(&'a self, op: Op, value: &Value, as_time: bool, out: &mut Gathered<'a>) {
        match value {
            Value::Number(n) => {
                let (low, high) = bounds(op, n);
                self.numbers.between(low, high, out);
            }
            Value::Text(text) => {
                let (low, high) = bounds(op, text.as_str());
                self.texts.between(low, high, out);
                if !as_time {
                    self.dates.between(low, high, out);
                }
            }
            // Before a day is before it begins, and after a day is after it ends.
            Value::Time { from, to } => {
                let (low, high) = match op {
                    Op::Lt => (Unbounded, Excluded(from)),
                    Op::Le => (Unbounded, Excluded(to)),
                    Op::Gt => (Included(to), Unbounded),
                    _ => (Included(from), Unbounded),
                };
                self.times.between(low, high, out);
            }
            Value::Bool(_) | Value::Circle(_) => {}
        }
    }

    fn beginning<'a>(&'a self, value: &Value, out: &mut Gathered<'a>) {
        let Value::Text(start) = value else { return };
        for texts in [&self.texts, &self.dates] {
            let from = texts.range::<str>(Included(start), Unbounded);
            from.take_while(|(text, _)| text.starts_with(start.as_str())).for_each(|(_, rows)| out.add(rows));
        }
    }

    /// Reads every distinct text.
    fn containing<'a>(&'a self, value: &Value, out: &mut Gathered<'a>) {
        let Value::Text(part) = value else { return };
        let part = part.to_lowercase();
        let mut lower = String::new();
        let mut add = |text: &str, rows: &'a Rows| {
            // What is all ASCII is put in lower case in place: most text is, and letter by letter takes long.
            lower.clear();
            if text.is_ascii() {
                lower.push_str(text);
                lower.make_ascii_lowercase();
            } else {
                lower = text.to_lowercase();
            }
            if lower.contains(&part) {
                out.add(rows);
            }
        };
        for texts in [&self.texts, &self.dates] {
            texts.range::<str>(Unbounded, Unbounded).for_each(|(text, rows)| add(text, rows));
        }
    }

    /// Reads the places in the circle's band of latitudes.
    fn within<'a>(&'a self, value: &Value, out: &mut Gathered<'a>) {
        let Value::Circle(circle) = value else { return };
        let (south, north) = circle.latitudes();
        let low = Place { lat: south, lon: f64::NEG_INFINITY };
        let high = Place { lat: north, lon: f64::INFINITY };
        let band = self.places.range(Included(&low), Included(&high));
        band.filter(|(place, _)| circle.holds(place)).for_each(|(_, rows)| out.add(rows));
    }
}

/// The range of what is less than, at most, more than or at least `value`.
fn bounds<T: ?Sized>(op: Op, value: &T) -> (Bound<&T>, Bound<&T>) {
    match op {
        Op::Lt => (Unbounded, Excluded(value)),
        Op::Le => (Unbounded, Included(value)),
        Op::Gt => (Excluded(value), Unbounded),
        _ => (Included(value), Unbounded),
    }
}
