//! Rows of numbers, each as far from the next as suits the cache.

use super::aligned::Aligned;
use rayon::prelude::*;

/// What lies between two rows of a [`Sheet`], at least: two lines of the cache. Widths are multiples of large powers of two, and so far
/// apart all rows would share a few sets of the cache, from which they drive one another out.
const APART: usize = 32;
/// Numbers in a line of the cache.
const LINE: usize = 16;

/// Rows that are read.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    values: &'a [f32],
    pub stride: usize,
    width: usize,
}

/// Rows that are written.
pub(super) struct RowsMut<'a> {
    values: &'a mut [f32],
    pub stride: usize,
    width: usize,
}

/// Room for rows.
#[derive(Default)]
pub(super) struct Sheet {
    values: Aligned<f32>,
    width: usize,
}

/// How far apart the rows of a sheet are.
fn stride(width: usize) -> usize {
    width.next_multiple_of(LINE) + APART
}

impl<'a> Rows<'a> {
    /// Rows of `width` numbers, one right after another.
    pub fn close(values: &'a [f32], width: usize) -> Self {
        Rows { values, stride: width, width }
    }

    /// How many numbers each has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.values.len() / self.stride.max(1)
    }

    /// Each.
    pub fn iter(self) -> impl Iterator<Item = &'a [f32]> {
        self.values.chunks(self.stride.max(1)).map(move |row| &row[..self.width])
    }

    /// The row of that number, and all behind it.
    pub fn from(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.stride..]
    }

    /// `count` at a time.
    pub fn par_chunks(self, count: usize) -> impl IndexedParallelIterator<Item = Rows<'a>> {
        let Rows { values, stride, width } = self;
        values.par_chunks((count * stride).max(1)).map(move |values| Rows { values, stride, width })
    }

    /// All numbers of all rows, one right after another.
    pub fn to_vec(self) -> Vec<f32> {
        self.iter().flatten().copied().collect()
    }
}

impl<'a> RowsMut<'a> {
    /// Rows of `width` numbers, one right after another.
    pub fn close(values: &'a mut [f32], width: usize) -> Self {
        RowsMut { values, stride: width, width }
    }

    /// The same, to be read.
    pub fn read(&self) -> Rows<'_> {
        Rows { values: self.values, stride: self.stride, width: self.width }
    }

    /// The same, for somebody else for a while.
    pub fn again(&mut self) -> RowsMut<'_> {
        RowsMut { values: self.values, stride: self.stride, width: self.width }
    }

    /// Each.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_mut(self.stride.max(1)).map(|row| &mut row[..self.width])
    }

    /// `count` at a time.
    pub fn par_chunks(self, count: usize) -> impl IndexedParallelIterator<Item = RowsMut<'a>> {
        let RowsMut { values, stride, width } = self;
        values.par_chunks_mut((count * stride).max(1)).map(move |values| RowsMut { values, stride, width })
    }

    /// All of it, for threads that share it.
    pub fn values(&mut self) -> &mut [f32] {
        self.values
    }
}

impl Sheet {
    /// A copy of `rows` of `width` numbers.
    pub fn of(values: &[f32], width: usize) -> Self {
        let mut sheet = Sheet::default();
        sheet.resize(values.len() / width.max(1), width);
        let mut rows = sheet.rows_mut();
        rows.iter_mut()
            .zip(values.chunks_exact(width.max(1)))
            .for_each(|(to, from)| to.copy_from_slice(from));
        sheet
    }

    /// Makes it `count` rows of `width`. What they hold is then anything that it held before, or zeros.
    pub fn resize(&mut self, count: usize, width: usize) {
        self.width = width;
        self.values.resize(count * stride(width));
    }

    pub fn rows(&self) -> Rows<'_> {
        Rows { values: &self.values, stride: stride(self.width), width: self.width }
    }

    pub fn rows_mut(&mut self) -> RowsMut<'_> {
        RowsMut { stride: stride(self.width), width: self.width, values: &mut self.values }
    }
}
