//! The kernel in 8 bits for AMX: two tiles of sixteen rows by two tiles of sixteen outputs, 64 inputs at a time.

use super::bytes::{GROUP, Kernel, Work};
use super::inputs::{lay_row, round_row};
use super::tiles::{self, Numbers, SIDE};
use super::vnni;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// Outputs in a panel: two tiles.
const PANEL: usize = 2 * SIDE;
/// Rows at once: two tiles.
const TILE: usize = 2 * SIDE;
/// Inputs at a time.
const RUN: usize = tiles::ROW;
/// Runs of inputs that all rows of a job go through before the next: a panel's part, 24 KB, stays in the first-level cache.
const DEPTH: usize = 12;
/// Rows of a job: a panel comes from afar once for all that go through all layers together.
const ROWS: usize = 13 * TILE;

/// The kernel, where the CPU has AMX for bytes and the system lets programs use it.
pub(super) fn kernel() -> Option<&'static Kernel> {
    const KERNEL: Kernel = Kernel {
        panel: PANEL,
        tile: TILE,
        run: RUN,
        pairs: false,
        rows: ROWS,
        round: round_row::<TILE, RUN>,
        lay: lay_row::<TILE, RUN>,
        multiply,
    };
    (vnni::kernel().is_some() && tiles::multiply(Numbers::Bytes)).then_some(&KERNEL)
}

/// What a job's rows have come to.
#[repr(align(64))]
struct Sums(#[expect(dead_code, reason = "it is read and written by its address")] [[i32; PANEL]; ROWS]);

/// # Safety
/// AMX and AVX-512 with VNNI, and what `work` points to: whole tiles of A, of which `rows` rows, [`ROWS`] at most, count and are in C, 32
/// outputs of B, and `columns` of C.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn multiply(work: &Work, rows: usize) {
    let mut sums = MaybeUninit::<Sums>::uninit();
    let sums = sums.as_mut_ptr().cast::<i32>();
    let runs = work.groups * GROUP / RUN;
    assert!(rows <= ROWS);
    let all = || {
        for first in (0..runs).step_by(DEPTH) {
            let depth = DEPTH.min(runs - first);
            for row in (0..rows).step_by(TILE) {
                let (work, rows) = (work.from(row), TILE.min(rows - row));
                let (a, b) =
                    (work.a.wrapping_add(first * TILE * RUN), work.b.wrapping_add(first * PANEL * RUN));
                // Those that are done with at once are all in one place, which stays in the first-level cache.
                let sums = if runs <= DEPTH { sums } else { sums.wrapping_add(row * PANEL) };
                let ahead = b.wrapping_add(DEPTH * PANEL * RUN + row / TILE * DEPTH * tiles::AHEAD).cast();
                // SAFETY: the caller vouches for A and B, whose inputs are filled up to whole runs. `sums` has room for whole tiles; what is
                // read of it was written when `first` was zero, or just now.
                unsafe {
                    match rows {
                        0..=SIDE => low(a, b.cast(), depth, sums.cast(), first > 0, ahead),
                        _ => high(a, b.cast(), depth, sums.cast(), first > 0, ahead),
                    }
                    if first + depth == runs {
                        for n in 0..PANEL / SIDE {
                            let sum =
                                |row: usize| _mm512_loadu_si512(sums.add(row * PANEL + n * SIDE).cast());
                            vnni::finish(&work, n, rows, sum);
                        }
                        work.activate(rows);
                    }
                }
            }
        }
    };
    // SAFETY: as the caller says.
    unsafe { tiles::with(all) };
}

tiles::adds! {
    /// A's loads say that it passes by: B is what should stay in the first-level cache. The panel's next part is fetched with each step; in
    /// one burst before them it gains nothing.
    fn high, high, 2048, [
        "prefetcht1 [{ahead}]",
        "prefetcht1 [{ahead} + 64]",
        "prefetcht1 [{ahead} + 128]",
        "tileloaddt1 tmm4, [{a} + {across}*1]",
        "tileloadd tmm6, [{b} + {down}*1]",
        "tileloadd tmm7, [{b} + {down}*1 + 64]",
        "tdpbusd tmm0, tmm4, tmm6",
        "tileloaddt1 tmm5, [{a} + {across}*1 + 1024]",
        "tdpbusd tmm1, tmm4, tmm7",
        "tdpbusd tmm2, tmm5, tmm6",
        "tdpbusd tmm3, tmm5, tmm7",
    ]
}

tiles::adds! {
    fn low, low, 2048, [
        "prefetcht1 [{ahead}]",
        "prefetcht1 [{ahead} + 64]",
        "prefetcht1 [{ahead} + 128]",
        "tileloadd tmm4, [{a} + {across}*1]",
        "tileloadd tmm6, [{b} + {down}*1]",
        "tileloadd tmm7, [{b} + {down}*1 + 64]",
        "tdpbusd tmm0, tmm4, tmm6",
        "tdpbusd tmm1, tmm4, tmm7",
    ]
}
