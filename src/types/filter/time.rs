//! Dates and times as people and files write them.
//!
//! What has an offset (`Z`, `+02:00`) is a moment. What has none is read as if at UTC, but for `taken`, which is the
//! camera's own clock: there, an offset is left aside.

use jiff::civil::{Date, DateTime};
use jiff::{Span, Timestamp};

/// Seconds since 1970, from the first up to, not with, the second: a year, a month, a day, a minute or a second.
pub(super) type Stretch = (i64, i64);

/// What a condition's `2024`, `2024-05`, `2024-05-31`, `2024-05-31T18:00` or `2024-05-31T18:00:00Z` covers.
pub(super) fn stretch(text: &str) -> Option<Stretch> {
    calendar(text).or_else(|| moment(text, instant(text)?))
}

/// The same by the camera's clock: offsets are left aside.
pub(super) fn local_stretch(text: &str) -> Option<Stretch> {
    calendar(text).or_else(|| moment(text, civil(text.trim_end_matches(['Z', 'z']))?))
}

/// The second at which the time of a payload begins, if its text is one: a whole date, or a date with a time.
pub(super) fn second(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    // Most text is no date, and this is all that it costs to see it.
    if bytes.len() > 40
        || !digit(0)
        || !digit(9)
        || bytes.get(4) != Some(&b'-')
        || bytes.get(7) != Some(&b'-')
    {
        return None;
    }
    match bytes.len() {
        10 => seconds(text.parse::<Date>().ok()?.into()),
        _ => instant(text),
    }
}

/// A year, a month or a day.
fn calendar(text: &str) -> Option<Stretch> {
    let day = |t: &str| t.parse::<Date>().ok();
    let (from, to): (Date, Date) = if let (4, Ok(year)) = (text.len(), text.parse::<i16>()) {
        (Date::new(year, 1, 1).ok()?, Date::new(year + 1, 1, 1).ok()?)
    } else if let (7, Some(first)) = (text.len(), day(&format!("{text}-01"))) {
        (first, first.checked_add(Span::new().months(1)).ok()?)
    } else if let (10, Some(first)) = (text.len(), day(text)) {
        (first, first.tomorrow().ok()?)
    } else {
        return None;
    };
    Some((seconds(from.into())?, seconds(to.into())?))
}

/// The minute or the second that begins at `from`, by how finely it was written.
fn moment(text: &str, from: i64) -> Option<Stretch> {
    let clock = text.get(10..)?;
    let clock = clock.split(['Z', 'z', '+', '-', '[']).next()?;
    let step = if clock.matches(':').count() < 2 { 60 } else { 1 };
    Some((from, from.checked_add(step)?))
}

fn instant(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().and_then(whole).or_else(|| civil(text))
}

fn civil(text: &str) -> Option<i64> {
    seconds(text.parse::<DateTime>().ok()?)
}

fn seconds(moment: DateTime) -> Option<i64> {
    whole(moment.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// Rounded down; `as_second` rounds towards zero, which before 1970 is the second after.
fn whole(moment: Timestamp) -> Option<i64> {
    i64::try_from(moment.as_nanosecond().div_euclid(1_000_000_000)).ok()
}
