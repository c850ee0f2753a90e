//! Fields: their names, and what an item holds under them.

use super::{Field, Held, Number};
use crate::types::{Item, Payload, uri};
use serde_json::Value as Json;
use std::borrow::Cow;

/// Gives every value of `item` with the full name of its field, as [`Field::full_name`] has it.
pub fn each_value<'a>(item: &'a Item, visit: &mut dyn FnMut(&str, Held<'a>)) {
    for field in
        [Field::Width, Field::Height, Field::Size, Field::Format, Field::Taken, Field::Path, Field::Caption]
    {
        let name = field.full_name();
        field.values(item).into_iter().for_each(|value| visit(&name, value));
    }
    each_within(&mut "exif".to_owned(), &item.exif, visit);
    each_within(&mut "payload".to_owned(), &item.payload, visit);
}

fn each_within<'a>(name: &mut String, object: &'a Payload, visit: &mut dyn FnMut(&str, Held<'a>)) {
    let length = name.len();
    for (key, value) in object {
        name.push('.');
        name.push_str(key);
        each_of(name, value, visit);
        name.truncate(length);
    }
}

fn each_of<'a>(name: &mut String, json: &'a Json, visit: &mut dyn FnMut(&str, Held<'a>)) {
    if let Some(value) = Held::of_one(json) {
        visit(name, value);
    }
    match json {
        Json::Array(list) => list.iter().for_each(|one| each_of(name, one, visit)),
        Json::Object(object) => each_within(name, object, visit),
        _ => {}
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
            Field::Payload(name) => name.clone(),
            other => other.full_name(),
        }
    }

    /// The name that no other field has: the payload's begin with `payload.`.
    pub fn full_name(&self) -> String {
        match self {
            Field::Width => "width".to_owned(),
            Field::Height => "height".to_owned(),
            Field::Size => "size".to_owned(),
            Field::Format => "format".to_owned(),
            Field::Taken => "taken".to_owned(),
            Field::Path => "path".to_owned(),
            Field::Caption => "caption".to_owned(),
            Field::Exif(name) => format!("exif.{name}"),
            Field::Payload(name) => format!("payload.{name}"),
        }
    }

    /// What `item` holds there: nothing, one value, or several.
    pub fn values<'a>(&self, item: &'a Item) -> Vec<Held<'a>> {
        let text = |s: &'a str| Held::Text(Cow::Borrowed(s));
        match self {
            Field::Width => vec![Held::Number(Number::Integer(item.width.into()))],
            Field::Height => vec![Held::Number(Number::Integer(item.height.into()))],
            Field::Size => vec![Held::Number(Number::of_u64(item.size))],
            Field::Format => vec![text(&item.format)],
            Field::Taken => item.taken.map(Held::Time).into_iter().collect(),
            Field::Path => vec![Held::Text(uri::display(&item.key))],
            Field::Caption => item.captions.iter().map(|c| text(c)).collect(),
            Field::Exif(name) => under(&item.exif, name),
            Field::Payload(name) => under(&item.payload, name),
        }
    }

    /// Whether `item` holds anything there, or in a field within it.
    pub fn is_in(&self, item: &Item) -> bool {
        let name = self.full_name();
        let mut found = false;
        each_value(item, &mut |at, _| {
            found |= at.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        });
        found
    }
}

/// The values under a dotted name. A key that has a dot itself is found too, and a list of objects is looked through.
fn under<'a>(object: &'a Payload, name: &str) -> Vec<Held<'a>> {
    let mut out = Vec::new();
    for (key, value) in object {
        match name.strip_prefix(key.as_str()) {
            Some("") => out.extend(Held::of_json(value)),
            Some(rest) => {
                let Some(rest) = rest.strip_prefix('.') else { continue };
                objects(value, &mut |inner| out.extend(under(inner, rest)));
            }
            None => {}
        }
    }
    out
}

/// The object, or those in the list.
fn objects<'a>(json: &'a Json, visit: &mut dyn FnMut(&'a Payload)) {
    match json {
        Json::Object(object) => visit(object),
        Json::Array(list) => list.iter().for_each(|one| objects(one, visit)),
        _ => {}
    }
}
