//! Room for pixels, used again by the thread that used it last: a fresh buffer of tens of megabytes costs a fault of the page
//! table for every 4 KiB, which at 12 megapixels is a fifth of the time that decoding takes.

use image::RgbImage;
use std::cell::Cell;

/// The most that a thread keeps, in bytes: 22 megapixels.
const MOST: usize = 64 << 20;

thread_local! {
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// `len` zeros: what one picture left is not seen in the next, whatever a decoder leaves out.
pub(super) fn take(len: usize) -> Vec<u8> {
    let mut room = KEPT.take();
    if room.capacity() < len {
        return vec![0; len];
    }
    room.clear();
    room.resize(len, 0);
    room
}

/// Takes back a picture that no one looks at any more, for the next one that this thread decodes.
pub fn give_back(image: RgbImage) {
    let room = image.into_raw();
    let kept = KEPT.take();
    let larger = if room.capacity() > kept.capacity() && room.capacity() <= MOST { room } else { kept };
    KEPT.set(larger);
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn room_comes_back_empty() {
        let image = RgbImage::from_pixel(100, 50, Rgb([1, 2, 3]));
        let place = image.as_raw().as_ptr();
        give_back(image);
        // A smaller one is not kept in its stead.
        give_back(RgbImage::new(1, 1));
        let again = take(9_000);
        assert_eq!((again.as_ptr(), again.len()), (place, 9_000));
        assert!(again.iter().all(|byte| *byte == 0));
        assert_eq!(take(20_000_000).len(), 20_000_000, "what is too small stays unused");
    }
}
