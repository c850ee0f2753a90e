//! A perceptual hash: what a picture looks like in 64 bits, so that copies that were resized or saved again are told from
//! pictures of the same thing. The signs of the lowest frequencies of its brightness (Zauner, "Implementation and
//! Benchmarking of Perceptual Image Hash Functions", 2010; DCT variant).

use image::RgbImage;
use image::imageops::{FilterType, grayscale, resize};

/// The side of the small picture that is looked at, and how many frequencies each way.
const SIDE: usize = 32;
const FREQUENCIES: usize = 8;

/// The hash of a picture. Two of the same picture differ in few bits, two of others in about half.
pub fn looks(image: &RgbImage) -> u64 {
    let small = resize(&grayscale(image), SIDE as u32, SIDE as u32, FilterType::Triangle);
    let wave =
        |k: usize, n: usize| (std::f32::consts::PI * k as f32 * (2 * n + 1) as f32 / (2 * SIDE) as f32).cos();
    // The lowest but the mean, which is how bright it is.
    let at = |u: usize, v: usize| -> f32 {
        small
            .enumerate_pixels()
            .map(|(x, y, p)| f32::from(p.0[0]) * wave(u, x as usize) * wave(v, y as usize))
            .sum()
    };
    let parts: Vec<f32> =
        (0..FREQUENCIES * FREQUENCIES).map(|n| at(1 + n % FREQUENCIES, n / FREQUENCIES)).collect();
    let mut sorted = parts.clone();
    sorted.sort_unstable_by(f32::total_cmp);
    let middle = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    parts.iter().enumerate().fold(0, |hash, (bit, part)| hash | (u64::from(*part > middle) << bit))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use image::{ImageFormat, Rgb};
    use std::io::Cursor;

    fn picture(seed: u32) -> RgbImage {
        RgbImage::from_fn(200, 150, |x, y| {
            let n = (x / 20 + 11 * (y / 20))
                .wrapping_mul(seed.wrapping_mul(2_654_435_761) | 1)
                .wrapping_add(seed);
            Rgb([(n >> 5) as u8, (n >> 11) as u8, (n >> 19) as u8])
        })
    }

    #[test]
    fn copies_look_alike_and_others_do_not() {
        for seed in 1..20 {
            let (one, other) = (picture(seed), picture(seed + 100));
            let mut jpeg = Cursor::new(vec![]);
            resize(&one, 120, 90, FilterType::CatmullRom).write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
            let copy = image::load_from_memory(jpeg.get_ref()).unwrap().into_rgb8();
            let (near, far) = (looks(&one) ^ looks(&copy), looks(&one) ^ looks(&other));
            assert!(near.count_ones() <= 6, "{seed}: {}", near.count_ones());
            assert!(far.count_ones() >= 14, "{seed}: {}", far.count_ones());
        }
    }
}
