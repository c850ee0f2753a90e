//! A typed condition on items.
//!
//! 1. `words` and `parse` read the little language that users write: `width >= 800 and (colour = blue or count > 2)`.
//! 2. `literal` gives its values types, with `number`, `time` and `place` for what text alone does not say.
//! 3. `fields` finds what an item holds under a field's name, and `value` holds it against a condition's value.
//! 4. [`Filter::passes`] says whether one item passes. The engine answers from an index of all items instead
//!    (`engine::fields`), and is tested against this.
//!
//! # The language
//!
//! | written | passes where |
//! |---|---|
//! | `A and B`, `A or B`, `not A`, `( )` | as in speech; `not` binds first, then `and`, then `or` |
//! | `colour = blue` (also `==`, `:`) | the field, or one of the list that it holds, equals the value, letter by letter |
//! | `colour != blue` | the field is there, and nothing in it equals the value |
//! | `count < 3`, `<=`, `>`, `>=` | numbers by size, dates by time, text by the alphabet |
//! | `colour in (blue, "sky blue")` | it equals one of the list |
//! | `caption contains cat` (also `~`) | the text is in it, in capitals or not |
//! | `path starts with /photos/` | it begins with the text |
//! | `exif.gps exists` | the field holds anything, or a field within it does |
//! | `exif.gps within 5 km of 48.8584, 2.2945` | the place is no farther away; `m`, `km` or `mi`, then latitude and longitude |
//!
//! A value of several, in a list, is enough, but for `!=`, where none may equal.
//!
//! | type | in a payload or EXIF | in a condition |
//! |---|---|---|
//! | number | `3`, `2.5`; integers compare exactly | `3`, `-2.5`, `1e6` |
//! | keyword, text | `"blue"` | `blue`; `"sky blue"` or `'sky blue'`; quotes keep `"3"` and `"true"` text |
//! | bool | `true` | `true`, `false` |
//! | date, time | `"2024-05-31"`, `"2024-05-31T18:00:00+02:00"`; UTC where no offset is given | `2024`, `2024-05`, `2024-05-31`, `2024-05-31T18:00`, `2024-05-31T18:00:00Z`, each the whole stretch of it |
//! | place | `{"lat": 48.8584, "lon": 2.2945}` | after `within` |
//! | list | `["cat", "dog"]`, of any of these | |
//! | object | `{"camera": {"iso": 100}}` is the field `camera.iso` | |
//!
//! Fields: `width`, `height` (pixels), `size` (bytes), `format`, `taken` (by the camera's clock, whatever its offset),
//! `path`, `caption`, `exif.NAME`; any other name is the payload's, and `payload.width` is the payload's own `width`.

mod fields;
mod literal;
mod number;
mod parse;
mod place;
mod time;
mod value;
mod words;

pub use fields::each_value;
pub use number::Number;
pub use parse::GRAMMAR;
pub use place::{Circle, EARTH_RADIUS, Place};
pub use value::{Held, Value};

use super::Item;

/// Which items pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Every part passes (`must`).
    All(Vec<Filter>),
    /// At least one part passes (`should`).
    Any(Vec<Filter>),
    /// The part does not pass (`must_not`).
    Not(Box<Filter>),
    /// One field is held against a value.
    Test(Test),
}

/// One field held against values.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// The field.
    pub field: Field,
    /// How it is held against the values.
    pub op: Op,
    /// None for [`Op::Exists`]; the list of [`Op::In`]; else one value, or the several readings of one (`2024` is a number
    /// and a year): a field is held against those of its own type.
    pub values: Vec<Value>,
}

/// What a test reads of an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// Pixels across.
    Width,
    /// Pixels down.
    Height,
    /// The file's bytes.
    Size,
    /// `jpeg`, `png`, ...
    Format,
    /// When it was taken.
    Taken,
    /// The path, for a file of this machine; else the URI.
    Path,
    /// Any of its captions.
    Caption,
    /// What the camera wrote: `exif.camera`, `exif.gps`, ...
    Exif(String),
    /// A field of the payload; a dot leads into an object.
    Payload(String),
}

/// How a field is held against a value. Where a field holds several values (captions, lists), one that passes is enough,
/// but for [`Op::Ne`], which all must pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Equal.
    Eq,
    /// There, and not equal.
    Ne,
    /// Less; before.
    Lt,
    /// Less or equal.
    Le,
    /// Greater; after.
    Gt,
    /// Greater or equal.
    Ge,
    /// Holds the text, whatever the case.
    Contains,
    /// Begins with the text.
    Prefix,
    /// Equal to one of several.
    In,
    /// Is there at all, or has a field within it that is.
    Exists,
    /// Lies in a circle.
    Within,
}

impl Filter {
    /// Whether `item` passes.
    pub fn passes(&self, item: &Item) -> bool {
        match self {
            Filter::All(parts) => parts.iter().all(|f| f.passes(item)),
            Filter::Any(parts) => parts.iter().any(|f| f.passes(item)),
            Filter::Not(part) => !part.passes(item),
            Filter::Test(test) => test.passes(item),
        }
    }

    /// Every test in it, in the order written.
    pub fn tests(&self) -> Vec<&Test> {
        match self {
            Filter::All(parts) | Filter::Any(parts) => parts.iter().flat_map(Filter::tests).collect(),
            Filter::Not(part) => part.tests(),
            Filter::Test(test) => vec![test],
        }
    }
}

impl Test {
    /// Whether `item` passes.
    pub fn passes(&self, item: &Item) -> bool {
        let found = self.field.values(item);
        match self.op {
            Op::Exists => self.field.is_in(item),
            _ if self.values.is_empty() => false,
            Op::Eq | Op::In => found.iter().any(|v| v.equals(&self.values)),
            Op::Ne => !found.is_empty() && !found.iter().any(|v| v.equals(&self.values)),
            op => found.iter().any(|v| v.holds(op, &self.values)),
        }
    }
}

#[cfg(test)]
mod tests;
