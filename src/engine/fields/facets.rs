//! What the items hold in each field: how many have it, its commonest values, its least and its greatest.

use super::Fields;
use super::column::Column;
use super::sorted::Sorted;
use crate::types::filter::{Field, Number, Place};
use serde_json::{Value as Json, json};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How many of a field's values are listed.
const LISTED: usize = 20;

/// The type of a field's values: of most of them, where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FacetKind {
    /// Text.
    Keyword,
    /// Whole numbers.
    Integer,
    /// Numbers, some of them not whole.
    Float,
    /// True or false.
    Bool,
    /// Dates and times.
    Datetime,
    /// Places.
    Geo,
}

/// One field of a collection, as those who filter want to see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Facet {
    /// The name that a filter gives it.
    pub name: String,
    /// The type of its values.
    pub kind: FacetKind,
    /// How many items have it.
    pub count: u64,
    /// How many values there are of that type.
    pub distinct: u64,
    /// The commonest of them, each with the number of items that hold it, commonest first.
    pub values: Vec<(Json, u64)>,
    /// The least and the greatest of numbers and dates.
    pub range: Option<(Json, Json)>,
}

impl Fields {
    /// Every field that any item has, by name.
    pub fn facets(&self) -> Vec<Facet> {
        let one = |(name, column): (&String, &Column)| {
            let short = name.strip_prefix("payload.");
            // A payload's field that is called like a built-in one keeps its long name.
            let plain = short.filter(|short| Field::named(short).full_name() == *name).unwrap_or(name);
            column.facet(plain.to_owned())
        };
        self.columns.iter().filter_map(one).collect()
    }
}

impl Column {
    fn facet(&self, name: String) -> Option<Facet> {
        let texts = self.texts.held();
        let of_type = [
            (texts, FacetKind::Keyword),
            (self.numbers.held(), self.number_kind()),
            (self.times.held(), FacetKind::Datetime),
            (self.bools.held(), FacetKind::Bool),
            (self.places.held(), FacetKind::Geo),
        ];
        // The first of several that are equally common.
        let (most, kind) = of_type.into_iter().rev().max_by_key(|(held, _)| *held)?;
        if most == 0 {
            return None;
        }
        let (distinct, values, range) = match kind {
            FacetKind::Keyword => (self.texts.len(), self.texts.commonest(|text| json!(text)), None),
            FacetKind::Integer | FacetKind::Float => {
                (self.numbers.len(), self.numbers.commonest(number), self.numbers.ends(number))
            }
            FacetKind::Datetime => {
                (self.times.len(), self.times.commonest(|t| time(*t)), self.times.ends(|t| time(*t)))
            }
            FacetKind::Bool => (self.bools.len(), self.bools.commonest(|b| json!(b)), None),
            FacetKind::Geo => (self.places.len(), self.places.commonest(place), None),
        };
        let count = self.there().len();
        Some(Facet { name, kind, count, distinct: distinct as u64, values, range })
    }

    fn number_kind(&self) -> FacetKind {
        match self.numbers.keys().all(|n| matches!(n, Number::Integer(_))) {
            true => FacetKind::Integer,
            false => FacetKind::Float,
        }
    }
}

impl<K: Ord> Sorted<K> {
    /// How many values rows hold, each row's counted.
    fn held(&self) -> u64 {
        self.counts().map(|(_, rows)| rows).sum()
    }

    /// The values that most rows hold, commonest first; of equally common ones the least.
    fn commonest(&self, show: impl Fn(&K) -> Json) -> Vec<(Json, u64)> {
        let mut best = BinaryHeap::new();
        for (value, rows) in self.counts() {
            best.push((Reverse(rows), value));
            if best.len() > LISTED {
                best.pop();
            }
        }
        best.into_sorted_vec().into_iter().map(|(Reverse(rows), value)| (show(value), rows)).collect()
    }

    fn ends(&self, show: impl Fn(&K) -> Json) -> Option<(Json, Json)> {
        Some((show(self.keys().next()?), show(self.keys().next_back()?)))
    }
}

fn number(n: &Number) -> Json {
    match n {
        Number::Integer(n) => json!(n),
        Number::Real(n) => json!(n),
    }
}

fn place(place: &Place) -> Json {
    json!({ "lat": place.lat, "lon": place.lon })
}

/// A moment as a filter writes it: by the clock it was given in, without a zone.
fn time(second: i64) -> Json {
    json!(crate::types::item::local_time(second))
}
