//! The kernel in 8 bits for AMX: two tiles of sixteen rows by two tiles of sixteen outputs, 64 inputs at a time.
//!
//! The compiler has no stable names for these instructions yet, so that they stand here as they are. (Intel's Architecture Instruction
//! Set Extensions reference, chapter 3.)

use super::bytes::{GROUP, Kernel, Work};
use super::inputs::round_row;
use super::vnni;
use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::sync::LazyLock;

/// Rows of a tile, and outputs.
const SIDE: usize = 16;
/// Outputs in a panel: two tiles.
const PANEL: usize = 2 * SIDE;
/// Rows at once: two tiles.
const TILE: usize = 2 * SIDE;
/// Inputs at a time: a row of a tile is 64 bytes.
const RUN: usize = 64;
/// Runs of inputs that all rows of a job go through before the next: a panel's part, 24 KB, stays in the first-level cache.
const DEPTH: usize = 12;
/// Rows of a job.
const ROWS: usize = super::rows_of_a_job(TILE);

/// The kernel, where the CPU has AMX for bytes and the system lets programs use it.
pub(super) fn kernel() -> Option<&'static Kernel> {
    const KERNEL: Kernel =
        Kernel { panel: PANEL, tile: TILE, run: RUN, pairs: false, round: round_row::<TILE, RUN>, multiply };
    static ABLE: LazyLock<bool> =
        LazyLock::new(|| vnni::kernel().is_some() && has_tiles() && may_use_tiles());
    ABLE.then_some(&KERNEL)
}

/// Whether the CPU says so: leaf 7, EDX bits 24 (tiles) and 25 (bytes).
fn has_tiles() -> bool {
    const BOTH: u32 = 0b11 << 24;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & BOTH == BOTH
}

/// Asks Linux for the registers, which it gives to the whole process; its signal stacks have to be large enough for them.
#[cfg(target_os = "linux")]
fn may_use_tiles() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XTILEDATA: i64 = 18;
    let mut answer = ARCH_PRCTL;
    // SAFETY: the call touches no memory of ours; it changes which registers the process may use, to more.
    unsafe {
        asm!("syscall", inlateout("rax") answer, in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") XTILEDATA,
            out("rcx") _, out("r11") _, options(nostack));
    }
    answer == 0
}

#[cfg(not(target_os = "linux"))]
fn may_use_tiles() -> bool {
    false
}

/// What a job's rows have come to.
#[repr(align(64))]
struct Sums(#[expect(dead_code, reason = "it is read and written by its address")] [[i32; PANEL]; ROWS]);

/// What tiles are like: palette 1, eight of sixteen rows of 64 bytes.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIG: Config = {
    let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        (row_bytes[tile], rows[tile]) = (RUN as u16, SIDE as u8);
        tile += 1;
    }
    Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

/// # Safety
/// AMX and AVX-512 with VNNI, and what `work` points to: whole tiles of A, of which `rows` rows, 160 at most, count and are in C, 32
/// outputs of B, and `columns` of C.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn multiply(work: &Work, rows: usize) {
    let mut sums = MaybeUninit::<Sums>::uninit();
    let sums = sums.as_mut_ptr().cast::<i32>();
    let runs = work.groups * GROUP / RUN;
    assert!(rows <= ROWS);
    // SAFETY: nothing else in the program uses tiles.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly)) };
    for first in (0..runs).step_by(DEPTH) {
        let depth = DEPTH.min(runs - first);
        for row in (0..rows).step_by(TILE) {
            let (work, rows) = (work.from(row), TILE.min(rows - row));
            let (a, b) = (work.a.wrapping_add(first * TILE * RUN), work.b.wrapping_add(first * PANEL * RUN));
            let sums = sums.wrapping_add(row * PANEL);
            // SAFETY: the caller vouches for A and B, whose inputs are filled up to whole runs. `sums` has room for whole tiles; what is
            // read of it was written when `first` was zero, or just now.
            unsafe {
                match rows {
                    0..=SIDE => low(a, b, depth, sums, first > 0),
                    _ => high(a, b, depth, sums, first > 0),
                }
                if first + depth == runs {
                    for n in 0..PANEL / SIDE {
                        let sum = |row: usize| _mm512_loadu_si512(sums.add(row * PANEL + n * SIDE).cast());
                        vnni::finish(&work, n, rows, sum);
                    }
                    work.activate(rows);
                }
            }
        }
    }
    // SAFETY: as above. Threads whose tiles hold nothing are as quick to switch as they were.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// Adds `runs` runs of inputs, one at least, to the sums of the 32 rows of a tile of A; `more` says that there are any. A's loads say
/// that it passes by: B is what should stay in the first-level cache.
///
/// # Safety
/// [`multiply`]'s tiles, A and B, and 32 rows of 32 at `sums`.
unsafe fn high(a: *const u8, b: *const i8, runs: usize, sums: *mut i32, more: bool) {
    // SAFETY: as the caller says.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "test {more}, {more}",
            "jz 2f",
            "tileloadd tmm0, [{sums} + {down}*1]",
            "tileloadd tmm1, [{sums} + {down}*1 + 64]",
            "tileloadd tmm2, [{sums} + {down}*1 + 2048]",
            "tileloadd tmm3, [{sums} + {down}*1 + 2112]",
            "2:",
            "tileloaddt1 tmm4, [{a} + {across}*1]",
            "tileloadd tmm6, [{b} + {down}*1]",
            "tileloadd tmm7, [{b} + {down}*1 + 64]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tileloaddt1 tmm5, [{a} + {across}*1 + 1024]",
            "tdpbusd tmm1, tmm4, tmm7",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            "add {a}, 2048",
            "add {b}, 2048",
            "dec {runs}",
            "jnz 2b",
            "tilestored [{sums} + {down}*1], tmm0",
            "tilestored [{sums} + {down}*1 + 64], tmm1",
            "tilestored [{sums} + {down}*1 + 2048], tmm2",
            "tilestored [{sums} + {down}*1 + 2112], tmm3",
            a = inout(reg) a => _, b = inout(reg) b => _, runs = inout(reg) runs => _, sums = in(reg) sums,
            more = in(reg) usize::from(more), across = in(reg) RUN, down = in(reg) PANEL * GROUP,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// [`high`] for the first 16 rows of a tile of A.
///
/// # Safety
/// As [`high`], with 16 rows of 32 at `sums`.
unsafe fn low(a: *const u8, b: *const i8, runs: usize, sums: *mut i32, more: bool) {
    // SAFETY: as the caller says.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "test {more}, {more}",
            "jz 2f",
            "tileloadd tmm0, [{sums} + {down}*1]",
            "tileloadd tmm1, [{sums} + {down}*1 + 64]",
            "2:",
            "tileloadd tmm4, [{a} + {across}*1]",
            "tileloadd tmm6, [{b} + {down}*1]",
            "tileloadd tmm7, [{b} + {down}*1 + 64]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tdpbusd tmm1, tmm4, tmm7",
            "add {a}, 2048",
            "add {b}, 2048",
            "dec {runs}",
            "jnz 2b",
            "tilestored [{sums} + {down}*1], tmm0",
            "tilestored [{sums} + {down}*1 + 64], tmm1",
            a = inout(reg) a => _, b = inout(reg) b => _, runs = inout(reg) runs => _, sums = in(reg) sums,
            more = in(reg) usize::from(more), across = in(reg) RUN, down = in(reg) PANEL * GROUP,
            out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
