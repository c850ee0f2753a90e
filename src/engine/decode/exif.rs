//! EXIF into typed fields: orientation, date, camera, lens, place, exposure. Source: CIPA DC-008 (Exif 2.32).

use crate::types::Payload;
use exif::{Exif, In, Reader, Tag, Value};
use image::metadata::Orientation;
use serde_json::json;

/// The longest text kept of one field, in characters.
const LONGEST: usize = 200;
const PREFIX: &[u8] = b"Exif\0\0";
/// Where a TIFF file holds an ICC profile.
const INTER_COLOUR_PROFILE: Tag = Tag(exif::Context::Tiff, 34675);

/// What was found; nothing of it is required.
pub(super) struct Found {
    pub orientation: Orientation,
    /// Seconds since 1970-01-01T00:00:00, local time with no zone.
    pub taken: Option<i64>,
    pub fields: Payload,
    /// The colour profile, where the EXIF is a TIFF file that has one.
    pub profile: Option<Vec<u8>>,
}

/// Reads a raw EXIF chunk. Broken EXIF gives what can be read of it, and never an error: the picture is not the worse for it.
pub(super) fn read(mut chunk: Vec<u8>) -> Found {
    let nothing =
        Found { orientation: Orientation::NoTransforms, taken: None, fields: Payload::new(), profile: None };
    // Some writers leave in WebP and PNG the prefix that belongs to JPEG alone.
    if chunk.starts_with(PREFIX) {
        chunk.drain(..PREFIX.len());
    }
    if chunk.is_empty() {
        return nothing;
    }
    super::tiff::tame(&mut chunk);
    let parsed = Reader::new().continue_on_error(true).read_raw(chunk);
    let Ok(exif) = parsed.or_else(|e| e.distill_partial_result(|_| {})) else { return nothing };
    Found {
        orientation: orientation(&exif),
        taken: taken(&exif),
        fields: fields(&exif),
        profile: profile(&exif),
    }
}

fn profile(exif: &Exif) -> Option<Vec<u8>> {
    match &exif.get_field(INTER_COLOUR_PROFILE, In::PRIMARY)?.value {
        Value::Undefined(bytes, _) => Some(bytes.clone()),
        Value::Byte(bytes) => Some(bytes.clone()),
        _ => None,
    }
}

fn orientation(exif: &Exif) -> Orientation {
    let value = exif.get_field(Tag::Orientation, In::PRIMARY).and_then(|f| f.value.get_uint(0));
    let value = value.and_then(|v| u8::try_from(v).ok());
    value.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
}

/// When the shutter opened, else when it was digitised. `DateTime` is left out: editing a file changes it.
fn taken(exif: &Exif) -> Option<i64> {
    [Tag::DateTimeOriginal, Tag::DateTimeDigitized].into_iter().find_map(|tag| {
        let Value::Ascii(lines) = &exif.get_field(tag, In::PRIMARY)?.value else { return None };
        let at = exif::DateTime::from_ascii(lines.first()?).ok()?;
        let small = |value: u8| i8::try_from(value).ok();
        let date =
            jiff::civil::Date::new(i16::try_from(at.year).ok()?, small(at.month)?, small(at.day)?).ok()?;
        let time = jiff::civil::Time::new(small(at.hour)?, small(at.minute)?, small(at.second)?, 0).ok()?;
        // A camera that was never set says the year 0; nobody took a digital picture then.
        let zoned = date.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).ok().filter(|_| at.year > 0)?;
        Some(zoned.timestamp().as_second())
    })
}

fn fields(exif: &Exif) -> Payload {
    let mut out = Payload::new();
    let mut put = |name: &str, value: Option<serde_json::Value>| {
        if let Some(value) = value {
            out.insert(name.to_owned(), value);
        }
    };
    put("camera", camera(exif).map(Into::into));
    put("lens", text(exif, Tag::LensModel).map(Into::into));
    put("gps", gps(exif));
    put(
        "iso",
        exif.get_field(Tag::PhotographicSensitivity, In::PRIMARY)
            .and_then(|f| f.value.get_uint(0))
            .map(Into::into),
    );
    put("aperture", number(exif, Tag::FNumber).map(Into::into));
    put("exposure", number(exif, Tag::ExposureTime).map(Into::into));
    put("focal_length", number(exif, Tag::FocalLength).map(Into::into));
    out
}

/// Make and model as people say them: "Canon EOS R5", not "Canon Canon EOS R5".
fn camera(exif: &Exif) -> Option<String> {
    match (text(exif, Tag::Make), text(exif, Tag::Model)) {
        (Some(make), Some(model)) => {
            let first = |name: &str| name.split_whitespace().next().map(str::to_lowercase);
            Some(if first(&make) == first(&model) { model } else { format!("{make} {model}") })
        }
        (make, model) => model.or(make),
    }
}

/// Degrees north and east, and metres above the sea where they are given.
fn gps(exif: &Exif) -> Option<serde_json::Value> {
    let lat = degrees(exif, Tag::GPSLatitude, Tag::GPSLatitudeRef, b'S').filter(|v| v.abs() <= 90.0)?;
    let lon = degrees(exif, Tag::GPSLongitude, Tag::GPSLongitudeRef, b'W').filter(|v| v.abs() <= 180.0)?;
    let below = exif.get_field(Tag::GPSAltitudeRef, In::PRIMARY).and_then(|f| f.value.get_uint(0)) == Some(1);
    Some(match number(exif, Tag::GPSAltitude) {
        Some(alt) => json!({ "lat": lat, "lon": lon, "alt": if below { -alt } else { alt } }),
        None => json!({ "lat": lat, "lon": lon }),
    })
}

/// Degrees, minutes and seconds as one number, negative where the reference is `negative`.
fn degrees(exif: &Exif, tag: Tag, reference: Tag, negative: u8) -> Option<f64> {
    let Value::Rational(parts) = &exif.get_field(tag, In::PRIMARY)?.value else { return None };
    let [degrees, rest @ ..] = parts.as_slice() else { return None };
    // Some writers give degrees alone and 0/0 for what is left.
    let part = |at: usize| rest.get(at).map(|r| r.to_f64()).filter(|v| v.is_finite()).unwrap_or(0.0);
    let value = degrees.to_f64() + part(0) / 60.0 + part(1) / 3600.0;
    let away = match &exif.get_field(reference, In::PRIMARY)?.value {
        Value::Ascii(lines) => lines.first()?.first()?.to_ascii_uppercase() == negative,
        _ => return None,
    };
    // Seven decimals are a centimetre.
    let value = (value * 1e7).round() / 1e7;
    value.is_finite().then_some(if away { -value } else { value })
}

fn number(exif: &Exif, tag: Tag) -> Option<f64> {
    let Value::Rational(parts) = &exif.get_field(tag, In::PRIMARY)?.value else { return None };
    Some(parts.first()?.to_f64()).filter(|value| value.is_finite())
}

fn text(exif: &Exif, tag: Tag) -> Option<String> {
    let Value::Ascii(lines) = &exif.get_field(tag, In::PRIMARY)?.value else { return None };
    let text = String::from_utf8_lossy(lines.first()?);
    let text: String = text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
