//! A typed condition on items.

/// Which items pass. The little language that writes it stands in `Filter::parse`.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Every part passes (`must`).
    All(Vec<Filter>),
}
