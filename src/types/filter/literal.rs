//! The types of what is written in a condition.

use super::words::Word;
use super::{Field, Number, Op, Value, time};
use crate::error::{Error, Result};

/// A mile, as the international agreement of 1959 has it.
const METRES_A_MILE: f64 = 1609.344;

/// The value as the field's type has it. A field of the payload may have any type: there, a value has every type that it
/// looks like.
pub(super) fn readings(field: &Field, op: Op, word: &Word) -> Result<Vec<Value>> {
    let wants = |kind: &str, example: &str| {
        let what = format!("filter: {:?} is no {kind}, which {} is", word.text, field.name());
        Err(Error::invalid(what, format!("write {example}")))
    };
    let text = || Value::Text(word.text.clone());
    let textual = matches!(op, Op::Contains | Op::Prefix);
    Ok(match field {
        Field::Width | Field::Height | Field::Size if textual => {
            return wants("text", "a comparison such as >= 800");
        }
        Field::Width | Field::Height | Field::Size => match Number::parse(&word.text) {
            Some(number) => vec![Value::Number(number)],
            None => return wants("number", "one such as 800"),
        },
        Field::Taken => match time::local_stretch(&word.text) {
            Some((from, to)) if !textual => vec![Value::Time { from, to }],
            _ => {
                return wants(
                    "date",
                    "2024, 2024-05, 2024-05-31 or 2024-05-31T18:00 after =, <, <=, > or >=",
                );
            }
        },
        Field::Format => vec![Value::Text(match word.text.to_lowercase().as_str() {
            "jpg" => "jpeg".to_owned(),
            "tif" => "tiff".to_owned(),
            other => other.to_owned(),
        })],
        Field::Path | Field::Caption => vec![text()],
        Field::Exif(_) | Field::Payload(_) if word.quoted || textual => vec![text()],
        Field::Exif(_) | Field::Payload(_) => open(&word.text),
    })
}

/// The types that a bare word looks like.
fn open(word: &str) -> Vec<Value> {
    let date = time::stretch(word).map(|(from, to)| Value::Time { from, to });
    match (word, Number::parse(word), date) {
        ("true", ..) => vec![Value::Bool(true)],
        ("false", ..) => vec![Value::Bool(false)],
        (_, Some(number), date) => [Some(Value::Number(number)), date].into_iter().flatten().collect(),
        (_, None, date) => date.into_iter().chain([Value::Text(word.to_owned())]).collect(),
    }
}

/// A distance such as `5km` or `300m`.
pub(super) fn metres(text: &str) -> Option<f64> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_alphabetic() && c != 'e')?);
    let metres = match unit.to_ascii_lowercase().as_str() {
        "m" => 1.0,
        "km" => 1000.0,
        "mi" => METRES_A_MILE,
        _ => return None,
    };
    Some(number.trim_end().parse::<f64>().ok()? * metres)
}
