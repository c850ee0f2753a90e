//! AMX's tiles: whether there are any, and what they are like. (Intel's Architecture Instruction Set Extensions reference, chapter 3.)
//!
//! The compiler has no stable names for these instructions yet, so that they stand here and in the kernels as they are.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::sync::LazyLock;

/// Rows of a tile.
pub(super) const SIDE: usize = 16;
/// Bytes of a row.
pub(super) const ROW: usize = 64;
/// Bytes that a step may fetch for later into the second-level cache: the processor itself guesses no farther than a page.
pub(super) const AHEAD: usize = 3 * 64;

/// What tiles can multiply: bits of leaf 7, EDX.
#[derive(Clone, Copy)]
pub(super) enum Numbers {
    /// Bytes, into 32-bit integers.
    Bytes = 1 << 25,
    /// 16-bit floats with the range of f32, into f32.
    Brain = 1 << 22,
}

/// Whether the CPU has tiles that multiply `numbers`, and the system lets programs use them.
pub(super) fn multiply(numbers: Numbers) -> bool {
    const TILES: u32 = 1 << 24;
    // Asked once: where the machine is a virtual one, the question takes it tens of microseconds.
    static ABLE: LazyLock<u32> = LazyLock::new(|| match __cpuid(0).eax >= 7 {
        true => Some(__cpuid_count(7, 0).edx).filter(|able| able & TILES != 0 && may_use()).unwrap_or(0),
        false => 0,
    });
    *ABLE & numbers as u32 != 0
}

/// Asks Linux for the registers, which it gives to the whole process; its signal stacks have to be large enough for them.
#[cfg(target_os = "linux")]
fn may_use() -> bool {
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
fn may_use() -> bool {
    false
}

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
        (row_bytes[tile], rows[tile]) = (ROW as u16, SIDE as u8);
        tile += 1;
    }
    Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

/// Runs `work` with tiles that are set up, and lets go of them: threads whose tiles hold nothing are as quick to switch as ever.
///
/// # Safety
/// [`multiply`] said that there are some, and `work` uses them here only.
#[inline(always)]
pub(super) unsafe fn with<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: as the caller says; nothing else in the program uses tiles.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly)) };
    let made = work();
    // SAFETY: as above.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
    made
}

/// A function that adds steps of inputs, one at least, to the sums of a tile's rows: of sixteen (`low`), whose sums are tiles 0 and 1, or of
/// 32 (`high`), whose sums are 0 to 3, by 32 outputs each. A step is the given instructions; A's rows are `{across}` apart, those of B and of
/// the sums `{down}`, and both go `$bytes` on. From
/// `{ahead}` on lie weights that will be read later, of which a step may fetch [`AHEAD`].
macro_rules! adds {
    ($(#[$meta:meta])* fn $name:ident, low, $bytes:literal, [$($line:literal),* $(,)?]) => {
        tiles::adds! { @ $(#[$meta])* $name, $bytes,
            ["tilezero tmm0", "tilezero tmm1"],
            ["tileloadd tmm0, [{sums} + {down}*1]", "tileloadd tmm1, [{sums} + {down}*1 + 64]"],
            [$($line),*],
            ["tilestored [{sums} + {down}*1], tmm0", "tilestored [{sums} + {down}*1 + 64], tmm1"]
        }
    };
    ($(#[$meta:meta])* fn $name:ident, high, $bytes:literal, [$($line:literal),* $(,)?]) => {
        tiles::adds! { @ $(#[$meta])* $name, $bytes,
            ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"],
            [
                "tileloadd tmm0, [{sums} + {down}*1]", "tileloadd tmm1, [{sums} + {down}*1 + 64]",
                "tileloadd tmm2, [{sums} + {down}*1 + 2048]", "tileloadd tmm3, [{sums} + {down}*1 + 2112]"
            ],
            [$($line),*],
            [
                "tilestored [{sums} + {down}*1], tmm0", "tilestored [{sums} + {down}*1 + 64], tmm1",
                "tilestored [{sums} + {down}*1 + 2048], tmm2", "tilestored [{sums} + {down}*1 + 2112], tmm3"
            ]
        }
    };
    (@ $(#[$meta:meta])* $name:ident, $bytes:literal,
        [$($clear:literal),*], [$($load:literal),*], [$($line:literal),*], [$($store:literal),*]) => {
        $(#[$meta])*
        /// `more` says that there are sums already.
        ///
        /// # Safety
        /// Tiles that are set up, `steps` steps at `a` and `b`, and the rows at `sums`.
        unsafe fn $name(a: *const u8, b: *const u8, steps: usize, sums: *mut u8, more: bool, ahead: *const u8) {
            // SAFETY: as the caller says.
            unsafe {
                std::arch::asm!(
                    $($clear,)*
                    "test {more}, {more}",
                    "jz 2f",
                    $($load,)*
                    "2:",
                    $($line,)*
                    concat!("add {a}, ", $bytes),
                    concat!("add {b}, ", $bytes),
                    "add {ahead}, {lines}",
                    "dec {steps}",
                    "jnz 2b",
                    $($store,)*
                    a = inout(reg) a => _, b = inout(reg) b => _, steps = inout(reg) steps => _, sums = in(reg) sums,
                    ahead = inout(reg) ahead => _, lines = const tiles::AHEAD,
                    more = in(reg) usize::from(more), across = in(reg) tiles::ROW, down = in(reg) 2 * tiles::ROW,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

pub(super) use adds;
