//! Attention head by head, in f32, over what a product of queries, keys and values leaves. A tile's scores never leave the
//! first-level cache.

use super::aligned::Aligned;
use super::floats::{Kernel, Work};
use super::parts::Sequence;
use super::place::Place;
use super::rows::{Rows, RowsMut};
use super::{WORTH, assert_fits, tiles_of};
use crate::models::act::exp;
use crate::simd::{fold, greater, widest};
use rayon::prelude::*;
use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
use std::ops::Range;

/// Floats in a register, and in two.
const LANES: usize = 16;
const PAIR: usize = 2 * LANES;
/// Keys in a panel: as many columns as a kernel takes at once.
const PANEL: usize = 48;

/// What an attention is like.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    /// Of all heads together.
    pub width: usize,
    pub heads: usize,
    /// Whether no position looks at those after it.
    pub causal: bool,
}

/// softmax(q k^T / sqrt(d)) v for each head of each of `sequences`: from `qkv`, rows of 3 x `width` with queries, keys and values
/// side by side, to `out`, rows of `width`.
pub(super) fn attend(kernel: &Kernel, qkv: Rows, mut out: RowsMut, sequences: &[Sequence], shape: Heads) {
    let Heads { width, heads, causal } = shape;
    let head = width / heads;
    assert_fits(&qkv, 3 * width, &out, width);
    assert!(head * heads == width);
    let end = sequences.iter().fold(0, |end, Sequence { before, own }| {
        assert!(own.start == end && (causal || before.is_empty()) && before.iter().all(|row| *row < end));
        own.end
    });
    assert!(end == qkv.count());
    let apart = out.stride;
    let place = Place::of(out.values());
    let pairs: usize = sequences.iter().map(|sequence| sequence.own.len() * sequence.len()).sum();
    let least = WORTH * sequences.len() / (2 * pairs * head).max(1) + 1;
    let jobs = (0..sequences.len() * heads).into_par_iter();
    let jobs = jobs.with_min_len(least).with_max_len(heads.max(least));
    jobs.for_each_init(Scratch::default, |scratch, job| {
        let (sequence, start) = (&sequences[job / heads], job % heads * head);
        let Range { start: first, end } = sequence.own;
        if first == end {
            return;
        }
        scratch.fill(qkv, sequence, head, start, kernel.tile);
        let place = place.at(first * apart + start);
        let strides = Strides { queries: qkv.stride, out: apart };
        // SAFETY: the CPU has the kernel that it gave; each job writes its own head's columns of its own sequence's rows.
        unsafe { one_head(kernel, scratch, sequence, &qkv.from(first)[start..], place, strides, shape) };
    });
}

/// How far apart rows are.
#[derive(Clone, Copy)]
struct Strides {
    queries: usize,
    out: usize,
}

/// One head's keys as panels, its values, and a tile's scores.
#[derive(Default)]
struct Scratch {
    keys: Aligned<f32>,
    /// Rows filled up to whole pairs of registers.
    values: Aligned<f32>,
    scores: Aligned<f32>,
}

impl Scratch {
    fn fill(&mut self, qkv: Rows, sequence: &Sequence, head: usize, start: usize, tile: usize) {
        let (length, width) = (sequence.len(), qkv.width() / 3);
        let (padded, stride) = (length.next_multiple_of(PANEL), head.next_multiple_of(PAIR));
        self.keys.resize(padded * head);
        self.values.resize(length * stride);
        self.scores.resize(tile * padded);
        let rows = sequence.before.iter().copied().chain(sequence.own.clone()).map(|row| qkv.from(row));
        for (at, (row, values)) in rows.zip(self.values.chunks_exact_mut(stride)).enumerate() {
            let panel = &mut self.keys[at / PANEL * head * PANEL..][..head * PANEL];
            for (slots, key) in panel.chunks_exact_mut(PANEL).zip(&row[width + start..]) {
                slots[at % PANEL] = *key;
            }
            values[..head].copy_from_slice(&row[2 * width + start..][..head]);
            // Rows are so far apart that the processor does not guess what the next head will read of them.
            (0..3).for_each(|part| ahead(row.as_ptr().wrapping_add(part * width + start + head), head));
        }
    }
}

/// Fetches `count` floats into the second-level cache.
fn ahead(from: *const f32, count: usize) {
    for at in (0..count).step_by(LANES) {
        // SAFETY: fetching ahead reads nothing, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add(at).cast()) };
    }
}

/// # Safety
/// The CPU has `kernel`; `queries` and `out` have a row for each of the sequence's own, as far apart as `strides` says, each of `head`
/// floats.
unsafe fn one_head(
    kernel: &Kernel,
    scratch: &mut Scratch,
    sequence: &Sequence,
    queries: &[f32],
    out: *mut f32,
    strides: Strides,
    shape: Heads,
) {
    let Heads { width, heads, causal } = shape;
    let head = width / heads;
    let (length, before) = (sequence.len(), sequence.before.len());
    let (padded, stride) = (length.next_multiple_of(PANEL), head.next_multiple_of(PAIR));
    for tile in tiles_of(0..sequence.own.len(), kernel.tile) {
        let (row, rows) = (tile.start, tile.len());
        // The keys that any row of this tile looks at.
        let seen = if causal { before + row + rows } else { length };
        for start in (0..seen).step_by(PANEL) {
            let work = Work {
                a: queries[row * strides.queries..].as_ptr(),
                a_stride: strides.queries,
                b: scratch.keys[start * head..].as_ptr(),
                b_stride: PANEL,
                inputs: head,
                c: scratch.scores[start..].as_mut_ptr(),
                c_stride: padded,
                bias: std::ptr::null(),
                scale: (head as f32).powf(-0.5),
                add: false,
                columns: PANEL.min(seen - start),
            };
            // SAFETY: a tile's scores fit their scratch, whose rows are `padded` long.
            unsafe { (kernel.multiply)(&work, rows) };
        }
        for (at, scores) in scratch.scores.chunks_exact_mut(padded).take(rows).enumerate() {
            let own = if causal { before + row + at + 1 } else { length };
            softmax(&mut scores[..seen.next_multiple_of(LANES)], own);
        }
        for start in (0..head).step_by(PAIR) {
            let work = Work {
                a: scratch.scores.as_ptr(),
                a_stride: padded,
                b: scratch.values[start..].as_ptr(),
                b_stride: stride,
                inputs: seen,
                c: out.wrapping_add(row * strides.out + start),
                c_stride: strides.out,
                bias: std::ptr::null(),
                scale: 1.0,
                add: false,
                columns: PAIR.min(head - start),
            };
            // SAFETY: as the caller says; a row of values is filled up to whole pairs of registers.
            unsafe { (kernel.multiply)(&work, rows) };
        }
    }
}

widest! {
    /// Of the first `seen` of `x`, in place; the others, up to whole registers, become zero.
    fn softmax(x: &mut [f32], seen: usize) {
        x[seen..].fill(f32::NEG_INFINITY);
        let (registers, _) = x.as_chunks_mut::<LANES>();
        let mut most = [f32::NEG_INFINITY; LANES];
        for register in &*registers {
            for (most, x) in most.iter_mut().zip(register) {
                *most = greater(*most, *x);
            }
        }
        let most = fold(most, greater);
        let mut sums = [0.0; LANES];
        for register in registers {
            for (sum, x) in sums.iter_mut().zip(register) {
                // What is not looked at weighs nothing: exp is cut off before it comes to zero.
                let share = if *x == f32::NEG_INFINITY { 0.0 } else { exp(*x - most) };
                *sum += share;
                *x = share;
            }
        }
        let share = 1.0 / fold(sums, |a, b| a + b);
        x.iter_mut().for_each(|v| *v *= share);
    }
}
