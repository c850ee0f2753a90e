//! A buffer that several threads write to, each to its own part.

/// Where the buffer is. Whoever writes makes sure that no two threads touch the same elements.
#[derive(Clone, Copy)]
pub(super) struct Place(*mut f32);

// SAFETY: it is only an address; what is done with it is vouched for where it is done.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

impl Place {
    pub fn of(buffer: &mut [f32]) -> Self {
        Place(buffer.as_mut_ptr())
    }

    /// The address of element `offset`.
    pub fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}
