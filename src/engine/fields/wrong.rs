//! What is wrong with a condition that no item can fit.

use super::Fields;
use crate::error::{Error, Result};
use crate::types::filter::{Field, Op, Test};

/// How many field names an error lists.
const LISTED: usize = 50;

impl Fields {
    /// An error where the test's field is nowhere, or nowhere of a type that the test can be held against.
    pub(super) fn check_test(&self, test: &Test) -> Result<()> {
        let (name, full_name) = (test.field.name(), test.field.full_name());
        let Some(column) = self.columns.get(&full_name) else {
            let open = matches!(test.field, Field::Exif(_) | Field::Payload(_));
            return match self.inner(&full_name).next() {
                _ if !open => Ok(()),
                Some(_) if test.op == Op::Exists => Ok(()),
                Some(_) => Err(self.is_object(&name, &full_name)),
                None => Err(self.is_unknown(&name)),
            };
        };
        match test.values.first() {
            Some(value) if !column.comparable(&test.values) => {
                let (holds, given) = (column.kinds().join(" or "), value.kind());
                let what =
                    format!("filter: {name:?} holds {holds} in every item, and {given} is of another type");
                let fix = "compare it with a value of the type that it has; \"quotes\" make text of a number";
                Err(Error::invalid(what, fix))
            }
            _ => Ok(()),
        }
    }

    fn is_object(&self, name: &str, full_name: &str) -> Error {
        Error::invalid(
            format!("filter: {name:?} holds other fields, and is itself of no type that compares"),
            format!("they are: {}", self.listed(full_name)),
        )
    }

    fn is_unknown(&self, name: &str) -> Error {
        let fix = format!(
            "payload fields are: {}; EXIF fields: {}; built-in ones: width, height, size, format, taken, path, caption",
            self.listed("payload"),
            self.listed("exif"),
        );
        Error::invalid(format!("filter: no item has a field {name:?}"), fix)
    }

    /// The fields within an object, as users write them.
    fn listed(&self, object: &str) -> String {
        let inner = self.inner(object).map(|(name, _)| name.strip_prefix("payload.").unwrap_or(name));
        let names: Vec<&str> = inner.take(LISTED).collect();
        match names.len() {
            0 => "none".to_owned(),
            LISTED => format!("{}, ...", names.join(", ")),
            _ => names.join(", "),
        }
    }
}
