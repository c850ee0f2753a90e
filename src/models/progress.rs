//! How a download tells how far it is. This layer prints nothing itself.

/// Hears of one file after another.
pub trait Progress: Send + Sync {
    /// The transfer of `file` begins; `total` is its length in bytes, where known.
    fn start(&self, file: &str, total: Option<u64>);
    /// `bytes` more are there; the first call of a resumed transfer counts what was there before.
    fn advance(&self, bytes: u64);
    /// The file is whole.
    fn finish(&self);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _file: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
}
