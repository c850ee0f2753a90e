//! Which items have a query's words: the collection's keyword index, built when first asked and kept in step from then on.

use super::collection::Collection;
use super::keywords::Keywords;
use crate::error::{Error, Result};
use crate::types::{Item, ItemId, Term};
use roaring::RoaringTreemap;
use std::sync::{Arc, MutexGuard, PoisonError};

impl Collection {
    /// The `k` items that have most of the terms' words, best first.
    pub(super) fn items_of_words(
        &self,
        terms: &[Term],
        k: usize,
        allowed: Option<RoaringTreemap>,
    ) -> Result<Vec<ItemId>> {
        let texts: Vec<(&str, f32)> =
            terms.iter().filter_map(|term| Some((term.kind.text()?, term.weight))).collect();
        let found = self.keywords()?.search(&texts, k, allowed)?;
        Ok(found.into_iter().map(|(id, _)| id).collect())
    }

    /// Puts written items into the keyword index, if there is one yet.
    pub(super) fn add_words<'a>(&self, items: impl Iterator<Item = &'a Item>) {
        let mut held = self.held_words();
        if held.as_ref().is_some_and(|words| words.put(items).is_err()) {
            // It would lag behind the store: the next search builds it anew.
            *held = None;
        }
    }

    /// Takes removed items out of the keyword index.
    pub(super) fn remove_words(&self, ids: impl Iterator<Item = ItemId>) {
        if let Some(words) = self.held_words().as_ref() {
            words.remove(ids);
        }
    }

    /// The keyword index. The first call reads every item, while writers wait.
    fn keywords(&self) -> Result<Arc<Keywords>> {
        if let Some(words) = self.held_words().as_ref() {
            return Ok(words.clone());
        }
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.held_words();
        if let Some(words) = held.as_ref() {
            return Ok(words.clone());
        }
        let words = Arc::new(Keywords::build(self.items())?);
        *held = Some(words.clone());
        Ok(words)
    }

    fn held_words(&self) -> MutexGuard<'_, Option<Arc<Keywords>>> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// # Errors
/// Where none of the terms has words to look for.
pub(super) fn check(terms: &[Term]) -> Result<()> {
    match terms.iter().any(|term| term.kind.text().is_some() && term.weight > 0.0) {
        true => Ok(()),
        false => {
            Err(Error::invalid("the query has no words to look for", "give some, or search another side"))
        }
    }
}
