//! Plain loops that the compiler vectorises, compiled again for wider registers.

/// Defines a function whose body is compiled for any CPU, for those with AVX2 and for those with AVX-512; which one runs is told when it
/// is called. A product and a sum are rounded once where the body says `mul_add`, and nowhere else, so that all give the same bits (on x86 CPUs
/// with neither, `mul_add` is a slow call).
macro_rules! widest {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$(const $n:ident: usize),+>)? ($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name $(<$(const $n: usize),+>)? ($($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            fn body $(<$(const $n: usize),+>)? ($($arg: $type),*) $(-> $out)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn wide $(<$(const $n: usize),+>)? ($($arg: $type),*) $(-> $out)? {
                    body $(::<$($n),+>)? ($($arg),*)
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
                fn widest $(<$(const $n: usize),+>)? ($($arg: $type),*) $(-> $out)? {
                    body $(::<$($n),+>)? ($($arg),*)
                }
                if std::is_x86_feature_detected!("avx512bw") && std::is_x86_feature_detected!("avx512vl") {
                    // SAFETY: the CPU has what `widest` needs beyond its safe body.
                    return unsafe { widest $(::<$($n),+>)? ($($arg),*) };
                }
                if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
                    // SAFETY: the CPU has what `wide` needs beyond its safe body.
                    return unsafe { wide $(::<$($n),+>)? ($($arg),*) };
                }
            }
            body $(::<$($n),+>)? ($($arg),*)
        }
    };
}

pub(crate) use widest;

/// What all lanes come to, one half with the other again and again: in a chain each would wait for the one before.
#[inline(always)]
pub(crate) fn fold<const LANES: usize>(mut lanes: [f32; LANES], pick: impl Fn(f32, f32) -> f32) -> f32 {
    const { assert!(LANES.is_power_of_two()) };
    let mut half = LANES / 2;
    while half > 0 {
        for at in 0..half {
            lanes[at] = pick(lanes[at], lanes[at + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// The greater and the smaller of two; the first, where either is not a number.
#[inline(always)]
pub(crate) fn greater(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

#[inline(always)]
pub(crate) fn smaller(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

/// The nearest whole number, the even one of two, for numbers up to 2^22. (The library's rounding is a call where the processor that the
/// program was built for has no instruction for it, and its conversion looks for numbers that fit none, one by one.)
#[inline(always)]
pub(crate) fn whole(x: f32) -> i32 {
    // Adding 1.5 * 2^23 leaves no room for a fraction: the whole number stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    (x + ROUND).to_bits() as i32 - ROUND.to_bits() as i32
}
