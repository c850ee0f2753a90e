//! Buffers that begin where a line of the cache does: a register's load that lies across two lines costs as much as two.

use std::ops::{Deref, DerefMut};

/// Bytes in a line, and in the widest register.
const LINE: usize = 64;

/// A buffer of plain numbers.
pub(super) struct Aligned<T> {
    values: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Aligned::default();
        buffer.resize(len);
        buffer
    }

    /// Makes it `len` long. What it holds is then anything that it held before, or zeros.
    pub fn resize(&mut self, len: usize) {
        let spare = LINE / size_of::<T>();
        if len + spare > self.values.len() {
            self.values = vec![T::default(); len + spare];
            // A vector's memory lies where its elements may, so that the offset is never beyond what is spare.
            self.start = self.values.as_ptr().align_offset(LINE).min(spare);
        }
        self.len = len;
    }
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Aligned { values: Vec::new(), start: 0, len: 0 }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[self.start..][..self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[self.start..][..self.len]
    }
}
