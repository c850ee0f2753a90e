//! From a decoded picture to the numbers that a vision tower reads.
//!
//! 1. `config` reads the recipe that the checkpoint brings.
//! 2. `resample` scales as Pillow does, `windows` its pass along rows on CPUs that multiply bytes.
//! 3. Here a picture is scaled, cut, and its colours normalised, as transformers' Pillow-backed processors do it. Scaling
//!    and cutting are one step: only the pixels that stay are computed, so that a very long picture costs no more than a
//!    square one.

mod config;
mod resample;
#[cfg(target_arch = "x86_64")]
mod windows;

pub(crate) use config::ground;
pub use config::{Recipe, Target};
pub use resample::Filter;

use super::files::ModelFiles;
use crate::{Error, Result};
use resample::{Axis, resample};

/// The longest side of a square that pictures are padded to.
const LARGEST_SQUARE: u32 = 4096;

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

/// Several pictures' values, and their shape.
type Stack = (Vec<f32>, (usize, usize, usize, usize));

/// A recipe that is ready to run, on any thread.
#[derive(Clone, Debug)]
pub struct Preprocess {
    recipe: Recipe,
    /// For each colour, what each of its 256 values becomes.
    table: [[f32; 256]; 3],
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

    /// The side that a picture is scaled to, of those that it must have pixels for: its shorter one, or the longer of a fixed
    /// size. None where nothing is scaled.
    pub fn enough(&self) -> Option<u32> {
        Some(match self.recipe.resize?.0 {
            Target::Exact(height, width) => height.max(width),
            Target::ShortestEdge(edge) => edge,
        })
    }

    /// # Errors
    /// [`Error::Model`] when what comes out is not the square of `side` pixels that the vision tower wants.
    pub(crate) fn must_make(&self, files: &ModelFiles, side: usize) -> Result<()> {
        let side = side as u32;
        if self.output() == Some((side, side)) {
            return Ok(());
        }
        Err(files.error(format!(
            "{} makes pictures of {}, and config.json wants vision_config.image_size {side}",
            files.preprocessor()?,
            self.output().map_or("varying size".to_owned(), |(h, w)| format!("{h} x {w} pixels")),
        )))
    }

    /// The values of `batch` one after another, and their shape: (batch, 3, height, width). `model` is named in the error.
    ///
    /// # Errors
    /// [`Error::Invalid`] for pixels that another model prepared.
    pub(crate) fn stack(&self, model: &str, batch: &[Pixels]) -> Result<Stack> {
        let (height, width) = self.output().unwrap_or_default();
        let mut values = Vec::with_capacity(batch.len() * 3 * (height * width) as usize);
        for pixels in batch {
            if pixels.size() != (height, width) {
                return Err(Error::invalid(
                    format!("pixels of size {:?}", pixels.size()),
                    format!("pixels that {model} prepared: {height} x {width}"),
                ));
            }
            values.extend_from_slice(pixels.values());
        }
        Ok((values, (batch.len(), 3, height as usize, width as usize)))
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
        let squared = match self.recipe.square {
            Some(ground) if width != height => Some(self.square(image, ground)),
            _ => None,
        };
        let image = squared.as_ref().unwrap_or(image);
        let plan = Plan::new(&self.recipe, (image.height() as usize, image.width() as usize));
        let scaled = resample(image.as_raw(), &plan.columns.axis, &plan.rows.axis, plan.filter);
        Ok(self.normalize(&scaled, &plan))
    }

    /// `image` scaled to exactly (height, width) by the recipe's filter, and nothing else done to it.
    pub fn scale(&self, image: &image::RgbImage, size: (u32, u32)) -> image::RgbImage {
        let filter = self.recipe.resize.map_or(Filter::Bicubic, |(_, filter)| filter);
        scale(image, size, filter)
    }

    /// `image` in the middle of a square of colour `ground`.
    fn square(&self, image: &image::RgbImage, ground: [u8; 3]) -> image::RgbImage {
        let (width, height) = image.dimensions();
        let side = width.max(height);
        // A long strip would take the square of its length: it is made shorter first.
        let shrunk = (side > LARGEST_SQUARE).then(|| {
            let shorter = |edge: u32| (u64::from(edge) * u64::from(LARGEST_SQUARE) / u64::from(side)).max(1);
            self.scale(image, (shorter(height) as u32, shorter(width) as u32))
        });
        let image = shrunk.as_ref().unwrap_or(image);
        let side = side.min(LARGEST_SQUARE);
        let mut square = image::RgbImage::from_pixel(side, side, image::Rgb(ground));
        let (left, top) = ((side - image.width()) / 2, (side - image.height()) / 2);
        image::imageops::replace(&mut square, image, i64::from(left), i64::from(top));
        square
    }

    /// Lays the interleaved `bytes` out as planes, in the middle of the output, black around them.
    fn normalize(&self, bytes: &[u8], plan: &Plan) -> Pixels {
        let (height, width) = (plan.rows.output, plan.columns.output);
        let area = height * width;
        let mut values = Vec::with_capacity(3 * area);
        for table in &self.table {
            values.resize(values.len() + area, table[0]);
        }
        let kept = plan.columns.axis.kept.len();
        for (colour, table) in self.table.iter().enumerate() {
            for (row, source) in bytes.chunks_exact(kept * 3).enumerate() {
                let start = colour * area + (plan.rows.before + row) * width + plan.columns.before;
                let target = values.iter_mut().skip(start).take(kept);
                for (value, pixel) in target.zip(source.chunks_exact(3)) {
                    *value = table[usize::from(pixel[colour])];
                }
            }
        }
        Pixels { values, height: height as u32, width: width as u32 }
    }
}

/// `image` scaled to exactly (height, width), as Pillow does it.
pub fn scale(image: &image::RgbImage, (height, width): (u32, u32), filter: Filter) -> image::RgbImage {
    let axis = |source: u32, scaled: u32| Axis {
        source: source as usize,
        scaled: scaled as usize,
        kept: 0..scaled as usize,
    };
    let scaled = resample(image.as_raw(), &axis(image.width(), width), &axis(image.height(), height), filter);
    image::RgbImage::from_raw(width, height, scaled).unwrap_or_default()
}

/// What happens to one picture.
struct Plan {
    rows: Placed,
    columns: Placed,
    filter: Filter,
}

/// One axis: what is computed of it, and where that lies in `output` pixels: after `before` black ones.
struct Placed {
    axis: Axis,
    before: usize,
    output: usize,
}

impl Plan {
    fn new(recipe: &Recipe, (height, width): (usize, usize)) -> Self {
        let filter = recipe.resize.map_or(Filter::Nearest, |(_, filter)| filter);
        let (rows, columns) = match recipe.resize {
            Some((Target::Exact(rows, columns), _)) => (rows as usize, columns as usize),
            Some((Target::ShortestEdge(edge), _)) => {
                // transformers' get_resize_output_image_size: int(edge * long / short).
                let edge = edge as usize;
                let long = edge.saturating_mul(height.max(width)) / height.min(width);
                if width <= height { (long, edge) } else { (edge, long) }
            }
            None => (height, width),
        };
        let (crop_rows, crop_columns) =
            recipe.crop.map_or((rows, columns), |(h, w)| (h as usize, w as usize));
        Plan {
            rows: Placed::new(height, rows, crop_rows),
            columns: Placed::new(width, columns, crop_columns),
            filter,
        }
    }
}

impl Placed {
    /// `source` pixels scaled to `scaled`, of which the middle `crop` are kept: transformers' `center_crop`, which cuts at
    /// floor((scaled - crop) / 2) and pads at ceil((crop - scaled) / 2).
    fn new(source: usize, scaled: usize, crop: usize) -> Self {
        let from = scaled.saturating_sub(crop) / 2;
        let axis = Axis { source, scaled, kept: from..from + crop.min(scaled) };
        Placed { axis, before: crop.saturating_sub(scaled).div_ceil(2), output: crop }
    }
}
