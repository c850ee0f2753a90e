//! Numbers that compare exactly, whole or not.

use serde_json::Number as JsonNumber;
use std::cmp::Ordering;

/// An integer or a float. The two kinds compare by what they stand for: 3 equals 3.0, and integers beyond 2^53, which a
/// float cannot tell apart, stay distinct.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// A whole number.
    Integer(i64),
    /// A float. Not NaN, which sorts above everything.
    Real(f64),
}

impl Number {
    /// A float as a number; None for NaN and the infinities, which no item holds.
    pub fn real(value: f64) -> Option<Number> {
        value.is_finite().then_some(Number::Real(value))
    }

    /// The number that a text such as `-3` or `2.5e3` writes.
    pub fn parse(text: &str) -> Option<Number> {
        text.parse().map(Number::Integer).ok().or_else(|| text.parse().ok().and_then(Number::real))
    }

    /// A JSON number; integers above 2^63 are rounded to the next float.
    pub fn of_json(number: &JsonNumber) -> Option<Number> {
        number.as_i64().map(Number::Integer).or_else(|| number.as_f64().and_then(Number::real))
    }

    /// A count or a size; above 2^63 rounded to the next float.
    pub fn of_u64(value: u64) -> Number {
        i64::try_from(value).map_or(Number::Real(value as f64), Number::Integer)
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (*self, *other) {
            (Number::Integer(a), Number::Integer(b)) => a.cmp(&b),
            (Number::Real(a), Number::Real(b)) => {
                a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
            }
            (Number::Integer(a), Number::Real(b)) => whole_to_real(a, b),
            (Number::Real(a), Number::Integer(b)) => whole_to_real(b, a).reverse(),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

/// Compares without turning the integer into a float, which would round it.
fn whole_to_real(whole: i64, real: f64) -> Ordering {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0; // 2^63
    if real.is_nan() || real >= LIMIT {
        Ordering::Less
    } else if real < -LIMIT {
        Ordering::Greater
    } else {
        let part = real.fract().partial_cmp(&0.0).unwrap_or(Ordering::Equal);
        whole.cmp(&(real.trunc() as i64)).then(part.reverse())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_what_they_stand_for() {
        let big = 1i64 << 53;
        let rising = [
            Number::Real(-1e30),
            Number::Integer(i64::MIN),
            Number::Real(-2.5),
            Number::Integer(-2),
            Number::Real(-1.5),
            Number::Real(-0.5),
            Number::Integer(0),
            Number::Real(0.5),
            Number::Integer(1),
            Number::Integer(big),
            Number::Integer(big + 1),
            Number::Real((big + 2) as f64),
            Number::Integer(i64::MAX),
            Number::Real(9_223_372_036_854_775_808.0),
            Number::Real(f64::NAN),
        ];
        for (i, a) in rising.iter().enumerate() {
            for (j, b) in rising.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{a:?} and {b:?}");
            }
        }
        for (a, b) in [(3, 3.0), (0, -0.0), (i64::MIN, i64::MIN as f64)] {
            assert_eq!(Number::Integer(a), Number::Real(b));
        }
    }
}
