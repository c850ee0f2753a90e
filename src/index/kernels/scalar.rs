//! The sums, as they are meant.

use super::super::codes::join;
use super::{Kernels, check_fine, check_score};

pub const KERNELS: Kernels = Kernels { name: "scalar", score, fine };

fn score(rows: &[&[u8]], query: &[i8], out: &mut [i32]) {
    check_score(rows, query, out);
    for (row, out) in rows.iter().zip(out) {
        *out = row.iter().zip(query).map(|(&b, &q)| i32::from(b) * i32::from(q)).sum();
    }
}

fn fine(rough: &[u8], fine: &[u8], query: &[i16]) -> i64 {
    check_fine(rough, fine, query);
    let registers = rough.chunks_exact(64).zip(fine.chunks_exact(32)).zip(query.chunks_exact(64));
    registers
        .map(|((high, low), query)| {
            let nibbles = low.iter().map(|b| b & 15).chain(low.iter().map(|b| b >> 4));
            let codes = high.iter().zip(nibbles).map(|(&h, l)| i64::from(join(h, l)));
            codes.zip(query).map(|(code, &q)| code * i64::from(q)).sum::<i64>()
        })
        .sum()
}
