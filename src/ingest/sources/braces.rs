//! `{000..150}` and `{a,b}` in a source's name, as shells and webdataset write them.

use crate::error::{Error, Result};

/// The most names that one argument may stand for.
const MOST: usize = 1_000_000;

/// All names that `text` stands for, itself where it has no braces.
pub(super) fn expand(text: &str) -> Result<Vec<String>> {
    let Some((before, inside, after)) = first(text) else { return Ok(vec![text.to_owned()]) };
    let many = || Error::invalid(format!("source {text:?}"), format!("it stands for more than {MOST} names"));
    let choices: Vec<String> = match range(inside) {
        Some((from, to, width)) => {
            if from.abs_diff(to) >= MOST as u64 {
                return Err(many());
            }
            (from..=to).map(|n| format!("{n:0width$}")).collect()
        }
        None => inside.split(',').map(str::to_owned).collect(),
    };
    let rest = expand(after)?;
    if choices.len().saturating_mul(rest.len()) > MOST {
        return Err(many());
    }
    let join =
        |choice: &String| rest.iter().map(|rest| format!("{before}{choice}{rest}")).collect::<Vec<_>>();
    Ok(choices.iter().flat_map(join).collect())
}

/// The first group that is a range or a choice, and what stands around it.
fn first(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (inside, after) = rest.split_once('}')?;
    (range(inside).is_some() || inside.contains(',')).then_some((before, inside, after))
}

/// `000..150`: from, to, and how many digits each has at least.
fn range(inside: &str) -> Option<(u64, u64, usize)> {
    let (from, to) = inside.split_once("..")?;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let width = if from.starts_with('0') { from.len() } else { 1 };
    let (first, last) = (from.parse().ok()?, to.parse().ok()?);
    (plain(from) && plain(to) && first <= last).then_some((first, last, width))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn braces_stand_for_many() {
        let check = |text: &str, wanted: &[&str]| assert_eq!(expand(text).unwrap(), wanted, "{text}");
        check("a.tar", &["a.tar"]);
        check("s3://b/{08..11}.tar", &["s3://b/08.tar", "s3://b/09.tar", "s3://b/10.tar", "s3://b/11.tar"]);
        check("{a,b}/{1..2}", &["a/1", "a/2", "b/1", "b/2"]);
        check("odd{name}.jpg", &["odd{name}.jpg"]);
        check("{2..1}", &["{2..1}"]);
        assert!(expand("{0..99999999}").is_err() && expand("{0..9999}{0..9999}").is_err());
    }
}
