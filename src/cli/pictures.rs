//! Pictures named on the command line, as a BLIP sees them; one that is broken costs no other.

use super::Outcome;
use super::terms::bytes;
use crate::engine::{Blip, Features, decode};
use crate::error::{Error, Result};

/// A picture and what was seen in it.
pub(super) struct Looked<'a> {
    pub name: &'a str,
    pub features: Features,
}

/// Calls `then` for each picture that can be read, and lists the others on standard error.
pub(super) fn each(
    blip: &Blip,
    names: &[String],
    mut then: impl FnMut(Looked<'_>) -> Result<()>,
) -> Result<Outcome> {
    let mut outcome = Outcome::Done;
    for name in names {
        match look(blip, name) {
            Ok(features) => then(Looked { name, features })?,
            Err(error) if names.len() == 1 || !is_of_one(&error) => return Err(error),
            Err(error) => {
                eprintln!("refused {name}: {error}");
                outcome = Outcome::Refused;
            }
        }
    }
    Ok(outcome)
}

fn look(blip: &Blip, name: &str) -> Result<Features> {
    let decoded = decode::decode(&bytes(name)?, &decode::Limits::default())?;
    let looked = blip.look(&[blip.prepare(&decoded.image)?])?.pop();
    looked.ok_or_else(|| Error::Compute { reason: format!("nothing was seen in {name}") })
}

/// Whether it is this picture's fault.
fn is_of_one(error: &Error) -> bool {
    matches!(error, Error::Image { .. } | Error::NotFound { .. } | Error::Fetch { .. } | Error::Io { .. })
}
