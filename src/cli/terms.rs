//! What users write on the command line, as the terms of a query.

use crate::engine::fetch;
use crate::error::{Error, Result};
use crate::types::terms::{Weighed, parse, parse_one};
use crate::types::{ItemId, Term, TermKind};
use std::path::Path;

/// All terms of a search: the words (with `+` and `-`), the images, and what is added and taken away.
pub(super) fn terms(
    text: &[String],
    images: &[String],
    plus: &[String],
    minus: &[String],
) -> Result<Vec<Term>> {
    let mut terms: Vec<Term> = parse(&text.join(" ")).into_iter().map(any).collect::<Result<_>>()?;
    for image in images {
        terms.push(image_of(parse_one(image))?);
    }
    for term in plus {
        terms.push(any(parse_one(term))?);
    }
    for term in minus {
        let Weighed { weight, text } = parse_one(term);
        terms.push(any(Weighed { weight: -weight, text })?);
    }
    Ok(terms)
}

/// Words, unless it names an item, a URL, or a file that is there.
fn any(term: Weighed) -> Result<Term> {
    let path = Path::new(&term.text);
    let names_file = path.extension().is_some() && path.is_file();
    if names_file || id(&term.text).is_some() || fetch::is_url(&term.text) {
        return image_of(term);
    }
    Ok(Term { kind: TermKind::Text(term.text), weight: term.weight })
}

/// An item, a URL's image, or a file's.
fn image_of(term: Weighed) -> Result<Term> {
    let kind = match id(&term.text) {
        Some(id) => TermKind::Item(id?),
        None => TermKind::Image(bytes(&term.text)?),
    };
    Ok(Term { kind, weight: term.weight })
}

/// The bytes of an image file or URL.
pub(super) fn bytes(name: &str) -> Result<Vec<u8>> {
    if fetch::is_url(name) {
        return fetch::url(name);
    }
    let path = crate::types::uri::uri_to_path(name).unwrap_or_else(|_| name.into());
    match std::fs::read(&path) {
        Ok(bytes) => Ok(bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::NotFound {
            kind: "image file",
            name: name.to_owned(),
            fix: "give a path, an http(s) URL, or id:N for an item of the collection".into(),
        }),
        Err(e) => Err(Error::io(path, e)),
    }
}

fn id(text: &str) -> Option<Result<ItemId>> {
    let number = text.strip_prefix("id:")?;
    let parsed = number.parse().map(ItemId);
    Some(
        parsed.map_err(|_| {
            Error::invalid(format!("{text:?}"), "write id: and the item's number, such as id:7")
        }),
    )
}
