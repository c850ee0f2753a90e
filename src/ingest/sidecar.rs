//! What the files beside an image say of it: captions and payload.
//!
//! `.txt` has a caption a line. `.json` has `caption` and `captions`, each a text or a list of texts; every other field is
//! payload, as it stands (img2dataset's files are of this kind). A file that cannot be read so is an error that names it:
//! the image is refused rather than indexed without what its owner wrote.

use super::options::Captions;
use super::sources::{Sidecar, SidecarKind};
use crate::error::{Error, Result};
use crate::types::Payload;
use serde_json::Value;

/// The most captions that an image can have; each gets a vector of its own.
const MOST: usize = 100;
/// The longest caption, in bytes. Encoders read the first sentences and no further.
const LONGEST: usize = 4096;
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What was said of an image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// Its captions, in order, none twice.
    pub captions: Vec<String>,
    /// Everything else.
    pub payload: Payload,
}

/// Reads an image's sidecars.
pub fn read(sidecars: &[Sidecar], from: Captions) -> Result<Said> {
    let mut said = Said::default();
    for sidecar in sidecars {
        let error = |reason: String| Error::image(format!("{}: {reason}", sidecar.name));
        if (from, sidecar.kind) == (Captions::None, SidecarKind::Text) {
            continue;
        }
        let text = std::str::from_utf8(&sidecar.bytes).map_err(|_| error("not UTF-8 text".into()))?;
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        match sidecar.kind {
            SidecarKind::Text => text.lines().for_each(|line| add(&mut said.captions, line)),
            SidecarKind::Json => json(text, &mut said).map_err(error)?,
        }
        if from == Captions::None {
            said.captions.clear();
        }
        check(&said.captions).map_err(error)?;
    }
    Ok(said)
}

fn json(text: &str, said: &mut Said) -> Result<(), String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
    let Value::Object(fields) = value else { return Err("not a JSON object".into()) };
    for (name, value) in fields {
        match name.as_str() {
            "caption" | "captions" => {
                texts(&name, value)?.iter().for_each(|text| add(&mut said.captions, text))
            }
            _ => _ = said.payload.insert(name, value),
        }
    }
    Ok(())
}

/// A text, a list of texts, or null, which says nothing.
fn texts(name: &str, value: Value) -> Result<Vec<String>, String> {
    let wrong = || format!("{name:?} is not a text or a list of texts");
    match value {
        Value::Null => Ok(vec![]),
        Value::String(text) => Ok(vec![text]),
        Value::Array(all) => all
            .into_iter()
            .map(|one| if let Value::String(text) = one { Ok(text) } else { Err(wrong()) })
            .collect(),
        _ => Err(wrong()),
    }
}

fn add(captions: &mut Vec<String>, text: &str) {
    let text = text.trim();
    if !text.is_empty() && !captions.iter().any(|known| known == text) {
        captions.push(text.to_owned());
    }
}

fn check(captions: &[String]) -> Result<(), String> {
    if captions.len() > MOST {
        return Err(format!("more than {MOST} captions"));
    }
    match captions.iter().map(String::len).max() {
        Some(longest) if longest > LONGEST => {
            Err(format!("a caption of {longest} bytes; the longest may have {LONGEST}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sidecar(name: &str, text: impl AsRef<[u8]>) -> Sidecar {
        let kind = if name.ends_with("txt") { SidecarKind::Text } else { SidecarKind::Json };
        Sidecar { name: name.into(), kind, bytes: text.as_ref().to_vec() }
    }

    fn check(sidecars: &[(&str, &str)], from: Captions, captions: &[&str], payload: Value) {
        let files: Vec<Sidecar> = sidecars.iter().map(|(name, text)| sidecar(name, text)).collect();
        let said = read(&files, from).unwrap();
        assert_eq!(said.captions, captions, "{sidecars:?}");
        assert_eq!(Value::Object(said.payload), payload, "{sidecars:?}");
    }

    #[test]
    fn captions_and_payload() {
        let none = || json!({});
        check(&[], Captions::Sidecar, &[], none());
        check(&[("a.txt", "")], Captions::Sidecar, &[], none());
        check(
            &[("a.txt", "\u{feff}a cat\r\n\n  a dog \na cat")],
            Captions::Sidecar,
            &["a cat", "a dog"],
            none(),
        );
        check(&[("a.json", r#"{"caption":"a cat"}"#)], Captions::Sidecar, &["a cat"], none());
        check(
            &[("a.json", r#"{"captions":["a","b"],"caption":null}"#)],
            Captions::Sidecar,
            &["a", "b"],
            none(),
        );
        let both =
            [("a.txt", "first"), ("a.json", r#"{"caption":"second","year":1999,"tags":["x"],"n":null}"#)];
        let payload = json!({ "year": 1999, "tags": ["x"], "n": null });
        check(&both, Captions::Sidecar, &["first", "second"], payload.clone());
        check(&both, Captions::None, &[], payload);
    }

    #[test]
    fn what_is_broken_is_named() {
        let many: String = (0..=MOST).map(|i| format!("{i}\n")).collect();
        let long = "x".repeat(LONGEST + 1);
        let cases: [(Sidecar, &str); 8] = [
            (sidecar("a.txt", b"caf\xe9"), "a.txt: not UTF-8"),
            (sidecar("a.json", "{"), "a.json: not JSON"),
            (sidecar("a.json", ""), "a.json: not JSON"),
            (sidecar("a.json", "[1]"), "a.json: not a JSON object"),
            (sidecar("a.json", r#"{"caption":3}"#), r#"a.json: "caption" is not"#),
            (sidecar("a.json", r#"{"captions":["a",{}]}"#), r#"a.json: "captions" is not"#),
            (sidecar("a.txt", many), "a.txt: more than 100 captions"),
            (sidecar("a.txt", long), "a.txt: a caption of 4097 bytes"),
        ];
        for (file, expected) in cases {
            let error = read(&[file], Captions::Sidecar).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error} is not {expected}");
        }
    }
}
