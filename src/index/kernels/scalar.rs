//! The sums, as they are meant.

use super::super::codes::{join, nibbles};
use super::{Kernels, Sums, check_fine, check_score};
use crate::types::Codes;

pub const KERNELS: Kernels =
    Kernels { name: "scalar", int8: Sums { score, fine }, int4: Sums { score: score_int4, fine: fine_int4 } };

fn score(rows: &[&[u8]], query: &[i8], out: &mut [i32]) {
    check_score(1, rows, query, out);
    rows.iter().zip(out).for_each(|(row, out)| *out = products(row.iter().copied(), query));
}

fn score_int4(rows: &[&[u8]], query: &[i8], out: &mut [i32]) {
    check_score(2, rows, query, out);
    rows.iter().zip(out).for_each(|(row, out)| *out = products(nibbles(row), query));
}

fn products(parts: impl Iterator<Item = u8>, query: &[i8]) -> i32 {
    parts.zip(query).map(|(part, &q)| i32::from(part) * i32::from(q)).sum()
}

fn fine(rough: &[u8], fine: &[u8], query: &[i16]) -> i64 {
    check_fine(1, rough, fine, query);
    joined(Codes::Int8, rough.iter().copied(), fine, query)
}

fn fine_int4(rough: &[u8], fine: &[u8], query: &[i16]) -> i64 {
    check_fine(2, rough, fine, query);
    joined(Codes::Int4, nibbles(rough), fine, query)
}

fn joined(codes: Codes, parts: impl Iterator<Item = u8>, fine: &[u8], query: &[i16]) -> i64 {
    let whole = parts.zip(nibbles(fine)).map(|(high, low)| i64::from(join(codes, high, low)));
    whole.zip(query).map(|(code, &q)| code * i64::from(q)).sum()
}
