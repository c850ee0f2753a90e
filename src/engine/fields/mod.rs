//! The fields of a collection's items in memory: which rows pass a filter?
//!
//! 1. A row is an item's image slot, so that what passes is at once what the image index may return. `slots` turns rows
//!    into the slots of their captions.
//! 2. `column` keeps a field's values by type, in order (`sorted`), each with its rows (`rows`).
//! 3. [`Fields::passing`] turns every condition into a set of rows, and `and`, `or` and `not` into set arithmetic.
//! 4. `facets` says what there is to filter by.
//! 5. [`Fields::check`] tells a wrong name or type from a condition that nothing fits; `wrong` words it.
//!
//! What it must not know: the store, vectors, models. What an item holds under a field's name is said in
//! [`types::filter`](crate::types::filter) alone, and `Filter::passes` is what the tests hold this against.

mod column;
mod facets;
mod rows;
mod slots;
mod sorted;
mod wrong;

use crate::error::Result;
use crate::types::Item;
use crate::types::filter::{Filter, Op, Test, each_value};
use column::Column;
pub use facets::{Facet, FacetKind};
use roaring::RoaringBitmap;
use slots::Captions;
use std::collections::BTreeMap;
use std::ops::Bound;

/// The fields of all items.
#[derive(Debug, Default)]
pub struct Fields {
    all: RoaringBitmap,
    /// By full name, so that the fields within an object stand together.
    columns: BTreeMap<String, Column>,
    captions: Captions,
}

impl Fields {
    /// Puts an item in: `row` is its image's slot, and `captions` its captions'.
    pub fn insert(&mut self, row: u32, captions: &[u32], item: &Item) {
        self.all.insert(row);
        self.captions.insert(row, captions);
        each_value(item, &mut |name, value| {
            // Not `entry` alone, which would copy the name each time.
            match self.columns.get_mut(name) {
                Some(column) => column.insert(row, &value),
                None => self.columns.entry(name.to_owned()).or_default().insert(row, &value),
            }
        });
    }

    /// Takes an item out; it must be as it was put in.
    pub fn remove(&mut self, row: u32, item: &Item) {
        self.all.remove(row);
        self.captions.remove(row);
        each_value(item, &mut |name, value| {
            let Some(column) = self.columns.get_mut(name) else { return };
            column.remove(row, &value);
            if column.there().is_empty() {
                self.columns.remove(name);
            }
        });
    }

    /// The rows of the items that pass.
    pub fn passing(&self, filter: &Filter) -> RoaringBitmap {
        match filter {
            Filter::All(parts) => {
                let mut passing = self.all.clone();
                for part in parts {
                    if passing.is_empty() {
                        break;
                    }
                    passing &= self.passing(part);
                }
                passing
            }
            Filter::Any(parts) => {
                parts.iter().fold(RoaringBitmap::new(), |passing, part| passing | self.passing(part))
            }
            Filter::Not(part) => &self.all - self.passing(part),
            Filter::Test(test) => self.passing_test(test),
        }
    }

    /// The slots of the captions of the items in `rows`.
    pub fn captions_of(&self, rows: &RoaringBitmap) -> RoaringBitmap {
        self.captions.of(rows)
    }

    /// An error where a test names a field that no item has, or holds it against a type that it has nowhere. Meant for
    /// filters that nothing passes: else a field may well be rare.
    pub fn check(&self, filter: &Filter) -> Result<()> {
        if self.all.is_empty() {
            return Ok(());
        }
        filter.tests().into_iter().try_for_each(|test| self.check_test(test))
    }

    fn passing_test(&self, test: &Test) -> RoaringBitmap {
        let name = test.field.full_name();
        if test.op == Op::Exists {
            let inner = self.inner(&name).map(|(_, column)| column.there());
            let own = self.columns.get(&name).map(Column::there);
            return inner.chain(own).fold(RoaringBitmap::new(), |there, rows| there | rows);
        }
        self.columns.get(&name).map(|column| column.rows(test.op, &test.values)).unwrap_or_default()
    }

    /// The fields within the object of that name.
    fn inner(&self, name: &str) -> impl Iterator<Item = (&String, &Column)> {
        let prefix = format!("{name}.");
        let from = self.columns.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        from.take_while(move |(name, _)| name.starts_with(&prefix))
    }
}

#[cfg(test)]
mod tests;
