//! How vectors are kept in memory.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The integers that stand for a vector's components where it is searched for. What is stored on disk does not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codes {
    /// A search reads 8 bits a component, and 4 more of the best it comes by: 1.5 bytes a component in all.
    #[default]
    Int8,
    /// A search reads 4 bits a component, and 4 more of the best it comes by: 1 byte in all, and less of what is nearest is found.
    Int4,
}

impl Codes {
    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Codes::Int8 => "int8",
            Codes::Int4 => "int4",
        }
    }

    /// Whether it is what collections get where nobody names any.
    pub fn is_default(&self) -> bool {
        *self == Codes::default()
    }
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codes {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = [Codes::Int8, Codes::Int4].into_iter().find(|codes| codes.name() == name);
        known.ok_or_else(|| Error::invalid(format!("codes {name:?}"), "int8 or int4"))
    }
}
