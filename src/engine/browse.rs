//! Looking around in a collection without asking for anything: its items page by page, and its fields.

use super::collection::Collection;
use super::fields::Facet;
use crate::error::Result;
use crate::types::{Filter, Item};

/// Some of the items that were asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Those of this page.
    pub items: Vec<Item>,
    /// How many there are on all pages.
    pub total: usize,
}

impl Collection {
    /// The items that pass `filter`, by id: up to `limit` of them, after the first `offset`.
    pub fn page(&self, filter: Option<&Filter>, offset: usize, limit: usize) -> Result<Page> {
        let ids = match filter {
            Some(filter) => {
                let allowed = self.allowed(filter)?;
                self.images.items(Some(&allowed.images()))
            }
            None => self.images.items(None),
        };
        let wanted = ids.iter().skip(offset).take(limit);
        // One that was removed a moment ago is left out.
        let items = wanted.filter_map(|id| self.item(*id).transpose()).collect::<Result<_>>()?;
        Ok(Page { items, total: ids.len() })
    }

    /// What the items hold, field by field: what there is to filter by.
    pub fn facets(&self) -> Result<Vec<Facet>> {
        Ok(self.fields()?.facets())
    }
}
