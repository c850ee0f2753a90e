//! Reads NumPy's `.npy`: one array of numbers or booleans, row after row.
//!
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>

use crate::error::{Error, Result};
use std::fs;
use std::path::Path;

/// An array of `rows` x `columns`.
pub struct Array<T> {
    /// How many rows; a plain list is one row.
    pub rows: usize,
    /// How many columns.
    pub columns: usize,
    /// The items, row after row.
    pub items: Vec<T>,
}

impl<T> Array<T> {
    /// The rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[T]> {
        self.items.chunks_exact(self.columns.max(1))
    }

    /// One row; empty where there is none.
    pub fn row(&self, row: usize) -> &[T] {
        self.items.get(row * self.columns..(row + 1) * self.columns).unwrap_or_default()
    }
}

/// An array of `f32`.
pub fn read_f32(path: &Path) -> Result<Array<f32>> {
    read(path, "<f4", 4, |b| f32::from_le_bytes(b.first_chunk().copied().unwrap_or_default()))
}

/// An array of booleans.
pub fn read_bool(path: &Path) -> Result<Array<bool>> {
    read(path, "|b1", 1, |b| b.first().is_some_and(|&b| b != 0))
}

fn read<T>(path: &Path, kind: &str, size: usize, item: impl Fn(&[u8]) -> T) -> Result<Array<T>> {
    let bytes = fs::read(path).map_err(|e| Error::io(path, e))?;
    let wrong = |fix: &str| Error::invalid(path.display().to_string(), fix.to_owned());
    let (header, data) = split(&bytes).ok_or_else(|| wrong("not a .npy file; write one with numpy.save"))?;
    if field(header, "descr").map(|d| d.trim_matches(['\'', '"'])) != Some(kind) {
        return Err(wrong(&format!("its items must be {kind}: use array.astype(\"{kind}\")")));
    }
    if field(header, "fortran_order") != Some("False") {
        return Err(wrong("it lies column after column: use numpy.ascontiguousarray"));
    }
    let shape = header.split_once("'shape':").and_then(|(_, rest)| rest.split_once('(')?.1.split_once(')'));
    let sizes: Option<Vec<usize>> = shape.and_then(|(s, _)| {
        s.split(',').map(str::trim).filter(|s| !s.is_empty()).map(|s| s.parse().ok()).collect()
    });
    let (rows, columns) = match sizes.as_deref() {
        Some([columns]) => (1, *columns),
        Some([rows, columns]) => (*rows, *columns),
        _ => return Err(wrong("it must have one or two dimensions")),
    };
    if rows.checked_mul(columns).and_then(|n| n.checked_mul(size)) != Some(data.len()) {
        return Err(wrong("it is cut short, or longer than it says"));
    }
    Ok(Array { rows, columns, items: data.chunks_exact(size).map(item).collect() })
}

/// The header's text, and what follows it.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let ([major, _minor], rest) = rest.split_first_chunk::<2>()?;
    let (len, rest) = if *major == 1 {
        let (len, rest) = rest.split_first_chunk::<2>()?;
        (u16::from_le_bytes(*len) as usize, rest)
    } else {
        let (len, rest) = rest.split_first_chunk::<4>()?;
        (u32::from_le_bytes(*len) as usize, rest)
    };
    let (header, data) = rest.split_at_checked(len)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// The value of a key in the header, a Python dictionary, where it has no comma.
fn field<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}':"))?;
    rest.split([',', '}']).next().map(str::trim)
}
