//! From the colours that an embedded ICC profile means to sRGB, in which models were trained and screens show pictures.
//!
//! A profile is the file's own claim, and may be broken or hostile: whatever cannot be used is left alone, and the picture
//! shown as if it had none. Source: ICC.1:2022.

use image::RgbImage;
use moxcms::{
    CmsError, ColorProfile, DataColorSpace, Layout, ParsingOptions, Transform8BitExecutor, TransformOptions,
};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The longest profile that is read, in bytes: those of printing presses take two or three million.
const LONGEST: usize = 4 << 20;
/// How far, of 255, a colour may move by a profile that is as good as sRGB: what rounding alone does.
const NEAR: u8 = 2;

/// What a file's samples stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Samples {
    Grey,
    Rgb,
    Cmyk,
}

/// How to come from a file's colours to sRGB.
#[derive(Clone)]
pub(super) enum Colours {
    /// What each of the 256 greys is.
    Grey(Box<[[u8; 3]; 256]>),
    Rgb(Arc<Transform8BitExecutor>),
    Cmyk(Arc<Transform8BitExecutor>),
}

thread_local! {
    /// The last profile and what it came to: pictures of a collection mostly share one, or a few.
    static LAST: RefCell<(Vec<u8>, Samples, Option<Colours>)> = const { RefCell::new((Vec::new(), Samples::Rgb, None)) };
}

/// How to come from what `profile` says that `samples` stand for to sRGB. None where there is nothing to do, or no way to do
/// it: the profile is sRGB, is of another kind of colour, is too long, or is broken.
pub(super) fn read(profile: &[u8], samples: Samples) -> Option<Colours> {
    if profile.is_empty() || profile.len() > LONGEST {
        return None;
    }
    LAST.with_borrow_mut(|(known, of, colours)| {
        if *of != samples || known.as_slice() != profile {
            // What is built is given out whole or not at all, so no one sees it half changed.
            *colours = catch_unwind(AssertUnwindSafe(|| build(profile, samples))).ok().flatten();
            (*known, *of) = (profile.to_vec(), samples);
        }
        colours.clone()
    })
}

fn build(profile: &[u8], samples: Samples) -> Option<Colours> {
    let options = ParsingOptions { max_profile_size: LONGEST + 1, ..ParsingOptions::default() };
    let profile = ColorProfile::new_from_slice_with_options(profile, options).ok()?;
    let (space, layout) = match samples {
        Samples::Grey => (DataColorSpace::Gray, Layout::Gray),
        Samples::Rgb => (DataColorSpace::Rgb, Layout::Rgb),
        Samples::Cmyk => (DataColorSpace::Cmyk, Layout::Rgba),
    };
    if profile.color_space != space {
        return None;
    }
    let srgb = ColorProfile::new_srgb();
    let transform =
        profile.create_transform_8bit(layout, &srgb, Layout::Rgb, TransformOptions::default()).ok()?;
    // Every profile is tried before it is trusted with a picture.
    match samples {
        Samples::Grey => {
            let greys: Vec<u8> = (0..=255).collect();
            let mut shown = [0; 3 * 256];
            transform.transform(&greys, &mut shown).ok()?;
            let mut table = Box::new([[0; 3]; 256]);
            table.as_flattened_mut().copy_from_slice(&shown);
            let moved = (0..=255u8).zip(table.iter()).any(|(grey, shown)| far(&[grey; 3], shown));
            moved.then_some(Colours::Grey(table))
        }
        Samples::Rgb => {
            let colours = grid::<3>();
            let mut shown = vec![0; colours.len()];
            transform.transform(&colours, &mut shown).ok()?;
            far(&colours, &shown).then_some(Colours::Rgb(transform))
        }
        Samples::Cmyk => {
            let colours = grid::<4>();
            transform.transform(&colours, &mut vec![0; colours.len() / 4 * 3]).ok()?;
            Some(Colours::Cmyk(transform))
        }
    }
}

/// Colours of `N` samples from all over their space.
fn grid<const N: usize>() -> Vec<u8> {
    const STEPS: usize = 6;
    let step = |at: usize, axis: usize| (at / STEPS.pow(axis as u32) % STEPS * 255 / (STEPS - 1)) as u8;
    (0..STEPS.pow(N as u32)).flat_map(|at| (0..N).map(move |axis| step(at, axis))).collect()
}

fn far(one: &[u8], other: &[u8]) -> bool {
    one.iter().zip(other).any(|(a, b)| a.abs_diff(*b) > NEAR)
}

impl Colours {
    /// Turns the colours of a picture of greys, or of red, green and blue, into sRGB where they stand.
    pub(super) fn show(&self, image: &mut RgbImage) -> Result<(), CmsError> {
        match self {
            Colours::Grey(table) => {
                for pixel in image.pixels_mut() {
                    pixel.0 = table[usize::from(pixel.0[0])];
                }
                Ok(())
            }
            Colours::Rgb(transform) => {
                let mut row = vec![0; 3 * image.width() as usize];
                for pixels in image.chunks_exact_mut(row.len().max(1)) {
                    row.copy_from_slice(pixels);
                    transform.transform(&row, pixels)?;
                }
                Ok(())
            }
            // Inks come through `print`; where they could not be had, the decoder's own guess stands.
            Colours::Cmyk(_) => Ok(()),
        }
    }

    /// What ink on paper looks like: four bytes a pixel, 255 for all of an ink, to three. None where this is no profile of inks.
    pub(super) fn print(&self, inks: &[u8]) -> Option<Vec<u8>> {
        let Colours::Cmyk(transform) = self else { return None };
        let mut shown = vec![0; inks.len() / 4 * 3];
        transform.transform(inks, &mut shown).ok()?;
        Some(shown)
    }
}
