//! A typed condition on items.
//!
//! 1. `parse` reads the little language that users write: `width >= 800 and (background = blue or count > 2)`.
//! 2. [`Filter::passes`] holds it against one item.

mod parse;
mod value;

pub use parse::GRAMMAR;
pub use value::Value;

use super::{Item, uri};
use std::borrow::Cow;

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
    /// One value; any number for [`Op::In`]; none for [`Op::Exists`].
    pub values: Vec<Value<'static>>,
}

/// What a test reads of an item.
#[derive(Clone, Debug, PartialEq)]
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
    /// What the camera wrote: `exif.make`, `exif.model`, ...
    Exif(String),
    /// A field of the payload.
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
    /// Is there at all.
    Exists,
}

/// Whether a payload field was met at all, and with a type that its test can be held against: what tells a wrong name or a
/// wrong type from a condition that nothing fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// An item has the field.
    pub field: bool,
    /// An item has it with a comparable type.
    pub comparable: bool,
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
        let equal = |v: &Value| self.values.iter().any(|w| v.equals(w));
        let Some(wanted) = self.values.first() else { return self.op == Op::Exists && !found.is_empty() };
        match self.op {
            Op::Exists => !found.is_empty(),
            Op::Eq | Op::In => found.iter().any(equal),
            Op::Ne => !found.is_empty() && !found.iter().any(equal),
            op => found.iter().any(|v| v.holds(op, wanted)),
        }
    }

    /// Whether its field is one that not every item has, so that a wrong name can be told only by looking.
    pub fn is_open(&self) -> bool {
        matches!(self.field, Field::Exif(_) | Field::Payload(_))
    }

    /// Notes in `met` whether `item` has the field, and comparably.
    pub fn meet(&self, item: &Item, met: &mut Met) {
        for value in self.field.values(item) {
            met.field = true;
            met.comparable |= self.values.iter().all(|w| value.comparable(w));
        }
    }
}

impl Field {
    /// The field of that name: a built-in one, or the payload's (`payload.width` names the payload's even so).
    pub fn named(name: &str) -> Field {
        match name {
            "width" => Field::Width,
            "height" => Field::Height,
            "size" => Field::Size,
            "format" => Field::Format,
            "taken" => Field::Taken,
            "path" | "key" => Field::Path,
            "caption" | "captions" => Field::Caption,
            other => match other.strip_prefix("exif.") {
                Some(name) => Field::Exif(name.to_owned()),
                None => Field::Payload(other.strip_prefix("payload.").unwrap_or(other).to_owned()),
            },
        }
    }

    /// The name that users write.
    pub fn name(&self) -> String {
        match self {
            Field::Width => "width".to_owned(),
            Field::Height => "height".to_owned(),
            Field::Size => "size".to_owned(),
            Field::Format => "format".to_owned(),
            Field::Taken => "taken".to_owned(),
            Field::Path => "path".to_owned(),
            Field::Caption => "caption".to_owned(),
            Field::Exif(name) => format!("exif.{name}"),
            Field::Payload(name) => name.clone(),
        }
    }

    /// What `item` holds there: nothing, one value, or several.
    fn values<'a>(&self, item: &'a Item) -> Vec<Value<'a>> {
        let text = |s: &'a str| Value::Text(Cow::Borrowed(s));
        match self {
            Field::Width => vec![Value::Number(item.width.into())],
            Field::Height => vec![Value::Number(item.height.into())],
            Field::Size => vec![Value::Number(item.size as f64)],
            Field::Format => vec![text(&item.format)],
            Field::Taken => item.taken.map(Value::instant).into_iter().collect(),
            Field::Path => vec![Value::Text(uri::display(&item.key))],
            Field::Caption => item.captions.iter().map(|c| text(c)).collect(),
            Field::Exif(name) => item.exif.get(name).map(Value::of_json).unwrap_or_default(),
            Field::Payload(name) => item.payload.get(name).map(Value::of_json).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
