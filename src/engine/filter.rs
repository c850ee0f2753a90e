//! Which slots a query's filter allows: the collection's field index, built when first asked and kept in step from then on.

use super::collection::Collection;
use super::fields::Fields;
use crate::error::Result;
use crate::types::{Filter, Item};
use roaring::RoaringBitmap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// The items that pass a filter, as slots. While it lives no item can leave the field index, so that none is missed because
/// it moved to another slot between its conditions and the search.
pub(super) struct Allowed<'a> {
    fields: RwLockReadGuard<'a, Fields>,
    rows: RoaringBitmap,
}

impl Allowed<'_> {
    /// The slots of the image space.
    pub fn images(&self) -> RoaringBitmap {
        self.rows.clone()
    }

    /// The slots of the caption space.
    pub fn captions(&self) -> RoaringBitmap {
        self.fields.captions_of(&self.rows)
    }
}

impl Collection {
    /// The items that pass. A field that no item has, or has with another type, is an error rather than no hits.
    pub(super) fn allowed(&self, filter: &Filter) -> Result<Allowed<'_>> {
        let fields = self.fields()?;
        let rows = fields.passing(filter);
        if rows.is_empty() {
            fields.check(filter)?;
        }
        Ok(Allowed { fields, rows })
    }

    /// Puts written items into the field index, if there is one yet: (image slot, caption slots, item).
    pub(super) fn add_fields(&self, items: &[(u32, Vec<u32>, Item)]) {
        let Some(fields) = self.fields.get() else { return };
        let mut fields = fields.write().unwrap_or_else(PoisonError::into_inner);
        items.iter().for_each(|(row, captions, item)| fields.insert(*row, captions, item));
    }

    /// Takes removed or replaced items out of the field index, each as it was: (image slot, item).
    pub(super) fn remove_fields(&self, items: &[(u32, Item)]) {
        let Some(fields) = self.fields.get() else { return };
        let mut fields = fields.write().unwrap_or_else(PoisonError::into_inner);
        items.iter().for_each(|(row, item)| fields.remove(*row, item));
    }

    /// The field index. The first call reads every item, while writers wait; whoever never filters never pays.
    pub(super) fn fields(&self) -> Result<RwLockReadGuard<'_, Fields>> {
        let fields = match self.fields.get() {
            Some(fields) => fields,
            None => {
                let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
                match self.fields.get() {
                    Some(fields) => fields,
                    None => {
                        let built = self.read_fields()?;
                        self.fields.get_or_init(|| RwLock::new(built))
                    }
                }
            }
        };
        Ok(fields.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn read_fields(&self) -> Result<Fields> {
        let mut fields = Fields::default();
        for item in self.items() {
            let item = item?;
            let captions = self.captions.slots_of(item.id);
            for row in self.images.slots_of(item.id) {
                fields.insert(row, &captions, &item);
            }
        }
        Ok(fields)
    }
}
