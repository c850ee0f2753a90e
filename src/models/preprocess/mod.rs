//! From a decoded picture to the numbers that a vision tower reads.
//!
//! 1. `config` reads the recipe that the checkpoint brings.
//! 2. Here a picture is scaled, cut, and its colours normalised, as transformers' Pillow-backed processors do it. Scaling
//!    and cutting are one step: only the pixels that stay are computed, so that a very long picture costs no more than a
//!    square one.

mod config;

pub use config::{Recipe, Target};

use super::files::ModelFiles;
use crate::{Error, Result};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{PixelType, ResizeAlg, ResizeOptions, Resizer};
use std::cell::RefCell;

/// A picture as a vision tower reads it: 3 x height x width, colour planes in the order red, green, blue.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels {
    values: Vec<f32>,
    height: u32,
    width: u32,
}

impl Pixels {
    /// The planes one after another, rows from the top.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// (height, width) in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.height, self.width)
    }
}

/// A recipe that is ready to run, on any thread.
#[derive(Clone, Debug)]
pub struct Preprocess {
    recipe: Recipe,
    /// For each colour, what each of its 256 values becomes.
    table: [[f32; 256]; 3],
}

thread_local! {
    // Keeps its buffers from one picture to the next.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

impl Preprocess {
    /// Reads the recipe of `files`.
    ///
    /// # Errors
    /// As [`Recipe::read`].
    pub fn read(files: &ModelFiles) -> Result<Self> {
        Ok(Preprocess::new(Recipe::read(files)?))
    }

    /// Makes `recipe` ready.
    pub fn new(recipe: Recipe) -> Self {
        let table = std::array::from_fn(|colour| {
            std::array::from_fn(|value| {
                // In f64, then cut to f32, then normalised in f32: bit for bit what numpy does.
                let value = recipe.rescale.map_or(value as f32, |factor| (value as f64 * factor) as f32);
                recipe.normalize.map_or(value, |(mean, std)| (value - mean[colour]) / std[colour])
            })
        });
        Preprocess { recipe, table }
    }

    /// (height, width) of what comes out; None where it depends on the picture.
    pub fn output(&self) -> Option<(u32, u32)> {
        match (self.recipe.crop, self.recipe.resize) {
            (Some(crop), _) => Some(crop),
            (None, Some((Target::Exact(height, width), _))) => Some((height, width)),
            _ => None,
        }
    }

    /// Takes `image` through the recipe.
    ///
    /// # Errors
    /// [`Error::Image`] for an image without pixels.
    pub fn run(&self, image: &image::RgbImage) -> Result<Pixels> {
        let (width, height) = image.dimensions();
        if width == 0 || height == 0 {
            return Err(Error::image("the image has no pixels"));
        }
        let plan = Plan::new(&self.recipe, (height, width));
        if plan.is_identity((height, width)) {
            return Ok(self.normalize(image.as_raw(), (height, width), &plan));
        }
        let source = ImageRef::new(width, height, image.as_raw(), PixelType::U8x3)
            .map_err(|e| Error::image(format!("its buffer is odd: {e}")))?;
        let (rows, columns) = (plan.vertical.kept, plan.horizontal.kept);
        let mut scaled = Image::new(columns, rows, PixelType::U8x3);
        let options = ResizeOptions::new().resize_alg(plan.algorithm).use_alpha(false).crop(
            plan.horizontal.from,
            plan.vertical.from,
            plan.horizontal.length,
            plan.vertical.length,
        );
        RESIZER
            .with_borrow_mut(|resizer| resizer.resize(&source, &mut scaled, &options))
            .map_err(|e| Error::image(format!("it can't be scaled: {e}")))?;
        Ok(self.normalize(scaled.buffer(), (rows, columns), &plan))
    }

    /// Lays the interleaved `bytes` out as planes, in the middle of the output, black around them.
    fn normalize(&self, bytes: &[u8], (rows, columns): (u32, u32), plan: &Plan) -> Pixels {
        let (height, width) = (plan.vertical.output, plan.horizontal.output);
        let area = height as usize * width as usize;
        let mut values = Vec::with_capacity(3 * area);
        for table in &self.table {
            values.resize(values.len() + area, table[0]);
        }
        let (top, left) = (plan.vertical.before as usize, plan.horizontal.before as usize);
        let line = columns as usize * 3;
        for (colour, table) in self.table.iter().enumerate() {
            for (row, source) in bytes.chunks_exact(line).take(rows as usize).enumerate() {
                let start = colour * area + (top + row) * width as usize + left;
                let target = values[start..].iter_mut().take(columns as usize);
                for (value, pixel) in target.zip(source.chunks_exact(3)) {
                    *value = table[usize::from(pixel[colour])];
                }
            }
        }
        Pixels { values, height, width }
    }
}

/// What happens along the two axes of one picture.
struct Plan {
    vertical: Axis,
    horizontal: Axis,
    algorithm: ResizeAlg,
}

/// What happens along one axis: the source's stretch `from..from + length` becomes `kept` pixels, which lie in `output`
/// pixels after `before` black ones.
struct Axis {
    from: f64,
    length: f64,
    kept: u32,
    before: u32,
    output: u32,
}

impl Plan {
    fn new(recipe: &Recipe, (height, width): (u32, u32)) -> Self {
        let algorithm = recipe.resize.map_or(ResizeAlg::Nearest, |(_, algorithm)| algorithm);
        let (rows, columns) = match recipe.resize {
            Some((Target::Exact(rows, columns), _)) => (rows, columns),
            Some((Target::ShortestEdge(edge), _)) => {
                // transformers' get_resize_output_image_size: int(edge * long / short).
                let long = u64::from(edge) * u64::from(height.max(width)) / u64::from(height.min(width));
                let long = u32::try_from(long).unwrap_or(u32::MAX);
                if width <= height { (long, edge) } else { (edge, long) }
            }
            None => (height, width),
        };
        let (crop_rows, crop_columns) = recipe.crop.unwrap_or((rows, columns));
        Plan {
            vertical: Axis::new(height, rows, crop_rows),
            horizontal: Axis::new(width, columns, crop_columns),
            algorithm,
        }
    }

    fn is_identity(&self, (height, width): (u32, u32)) -> bool {
        [(&self.vertical, height), (&self.horizontal, width)].iter().all(|(axis, source)| {
            axis.from == 0.0 && axis.kept == *source && axis.length == f64::from(*source)
        })
    }
}

impl Axis {
    /// `source` pixels scaled to `scaled`, of which the middle `crop` are kept: transformers' `center_crop`, which cuts at
    /// floor((scaled - crop) / 2) and pads at ceil((crop - scaled) / 2).
    fn new(source: u32, scaled: u32, crop: u32) -> Self {
        if crop >= scaled {
            let before = (crop - scaled).div_ceil(2);
            return Axis { from: 0.0, length: f64::from(source), kept: scaled, before, output: crop };
        }
        let step = f64::from(source) / f64::from(scaled);
        let (from, length) = (f64::from((scaled - crop) / 2) * step, f64::from(crop) * step);
        Axis { from, length, kept: crop, before: 0, output: crop }
    }
}
