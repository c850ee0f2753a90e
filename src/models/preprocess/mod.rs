//! From a decoded picture to the numbers that a vision tower reads.
//!
//! 1. `config` reads the recipe that the checkpoint brings.
//! 2. `resample` scales as Pillow does, `windows` its pass along rows on CPUs that multiply bytes.
//! 3. Here a picture is scaled and cut, and its colours normalised when a tower wants numbers, as transformers' Pillow-backed
//!    processors do it. Scaling
//!    and cutting are one step: only the pixels that stay are computed, so that a very long picture costs no more than a
//!    square one.
//! 4. `upload` takes the bytes to a GPU, which normalises them itself: they are a quarter of what numbers would be.

mod config;
mod resample;
mod upload;
#[cfg(target_arch = "x86_64")]
mod windows;

pub(crate) use config::ground;
pub use config::{Recipe, Target};
pub use resample::Filter;

use super::files::ModelFiles;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use resample::{Axis, resample};
use std::sync::Arc;
use upload::Upload;

/// The longest side of a square that pictures are padded to.
const LARGEST_SQUARE: u32 = 4096;

/// For each colour, what each of its 256 values becomes.
type Table = [[f32; 256]; 3];

/// A picture as a vision tower reads it: 3 x height x width, colour planes in the order red, green, blue.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels {
    bytes: Vec<u8>,
    table: Arc<Table>,
    height: u32,
    width: u32,
}

impl Pixels {
    /// The planes one after another, rows from the top, normalised as the recipe says.
    pub fn values(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.bytes.len()];
        self.write(&mut values);
        values
    }

    fn write(&self, values: &mut [f32]) {
        let area = (self.bytes.len() / 3).max(1);
        for ((values, bytes), table) in values.chunks_mut(area).zip(self.bytes.chunks(area)).zip(&*self.table)
        {
            values.iter_mut().zip(bytes).for_each(|(value, byte)| *value = table[usize::from(*byte)]);
        }
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
    table: Arc<Table>,
    upload: Upload,
}

/// What becomes of a colour's bytes, but for rounding: `scale * byte + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shade {
    pub scale: f32,
    pub offset: f32,
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
        Preprocess { recipe, table: Arc::new(table), upload: Upload::default() }
    }

    /// What it makes of the bytes of red, green and blue.
    pub(crate) fn shades(&self) -> [Shade; 3] {
        let factor = self.recipe.rescale.unwrap_or(1.0);
        let (means, stds) = self.recipe.normalize.unwrap_or(([0.0; 3], [1.0; 3]));
        std::array::from_fn(|colour| {
            let (mean, std) = (f64::from(means[colour]), f64::from(stds[colour]));
            Shade { scale: (factor / std) as f32, offset: (-mean / std) as f32 }
        })
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

    /// `batch` as one tensor, (batch, 3, height, width), on `device`: in numbers of type `dtype`, or in U8 the bytes before they
    /// are normalised. `model` is named in the error.
    ///
    /// # Errors
    /// [`Error::Invalid`] for pixels that another model prepared.
    pub(crate) fn tensor(
        &self,
        model: &str,
        batch: &[Pixels],
        device: &Device,
        dtype: DType,
    ) -> Result<Tensor> {
        let (height, width) = self.output().unwrap_or_default();
        if let Some(other) = batch.iter().find(|pixels| pixels.size() != (height, width)) {
            return Err(Error::invalid(
                format!("pixels of size {:?}", other.size()),
                format!("pixels that {model} prepared: {height} x {width}"),
            ));
        }
        let size = 3 * (height * width) as usize;
        let shape = (batch.len(), 3, height as usize, width as usize);
        if dtype == DType::U8 || device.is_cuda() {
            let bytes = self.upload.bytes(shape.into(), device, |bytes| {
                let places = bytes.par_chunks_mut(size.max(1)).zip(batch);
                places.for_each(|(place, pixels)| place.copy_from_slice(&pixels.bytes));
            })?;
            return if dtype == DType::U8 { Ok(bytes) } else { self.normalised(&bytes, dtype) };
        }
        let mut values = vec![0.0; batch.len() * size];
        let places = values.par_chunks_mut(size.max(1));
        places.zip(batch).for_each(|(values, pixels)| pixels.write(values));
        Ok(Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?)
    }

    /// What the table makes of `bytes`, (batch, 3, height, width), but for rounding, on their device.
    fn normalised(&self, bytes: &Tensor, dtype: DType) -> Result<Tensor> {
        let shades = self.shades();
        let planes = |values: [f32; 3]| Tensor::new(&values, bytes.device())?.reshape((1, 3, 1, 1));
        let (scales, offsets) = (shades.map(|shade| shade.scale), shades.map(|shade| shade.offset));
        let values = bytes.to_dtype(DType::F32)?.broadcast_mul(&planes(scales)?)?;
        Ok(values.broadcast_add(&planes(offsets)?)?.to_dtype(dtype)?)
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
        Ok(self.lay(&scaled, &plan))
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
    fn lay(&self, bytes: &[u8], plan: &Plan) -> Pixels {
        let (height, width) = (plan.rows.output, plan.columns.output);
        let mut planes = vec![0; 3 * height * width];
        let kept = plan.columns.axis.kept.len();
        for (colour, plane) in planes.chunks_exact_mut((height * width).max(1)).enumerate() {
            let rows = plane.chunks_exact_mut(width.max(1)).skip(plan.rows.before);
            for (row, source) in rows.zip(bytes.chunks_exact(3 * kept.max(1))) {
                let row = row.iter_mut().skip(plan.columns.before);
                row.zip(source.chunks_exact(3)).for_each(|(to, pixel)| *to = pixel[colour]);
            }
        }
        Pixels { bytes: planes, table: self.table.clone(), height: height as u32, width: width as u32 }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_say_what_the_table_holds() {
        let plain = Recipe { rescale: None, normalize: None, ..some_recipe() };
        let halves = Recipe { rescale: Some(1.0 / 127.5), normalize: None, ..some_recipe() };
        for recipe in [some_recipe(), plain, halves] {
            let preprocess = Preprocess::new(recipe);
            for (table, Shade { scale, offset }) in preprocess.table.iter().zip(preprocess.shades()) {
                for (byte, value) in table.iter().enumerate() {
                    let found = scale * byte as f32 + offset;
                    assert!(
                        (found - value).abs() <= 1e-6 * (1.0 + value.abs()),
                        "{byte}: {found} for {value}"
                    );
                }
            }
        }
    }

    /// A GPU, which is sent bytes, makes of them what comes of the table here.
    #[test]
    fn bytes_are_normalised_to_what_the_table_holds() {
        let crop = Some((3, 5));
        let preprocess = Preprocess::new(Recipe { crop, ..some_recipe() });
        let picture =
            |n: u8| image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([x as u8 * 28, y as u8 * 40, n]));
        let batch: Vec<Pixels> = (0..3).map(|n| preprocess.run(&picture(n * 120)).unwrap()).collect();
        let tensor = |dtype| preprocess.tensor("one", &batch, &Device::Cpu, dtype).unwrap();
        let values = |x: Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let expected = values(tensor(DType::F32));
        let found = values(preprocess.normalised(&tensor(DType::U8), DType::F32).unwrap());
        assert_eq!((found.len(), expected.len()), (3 * 3 * 3 * 5, 3 * 3 * 3 * 5));
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 2e-6), "{found:?} for {expected:?}");
    }

    fn some_recipe() -> Recipe {
        Recipe {
            resize: None,
            crop: None,
            rescale: Some(1.0 / 255.0),
            normalize: Some(([0.48, 0.46, 0.41], [0.27, 0.26, 0.28])),
            square: None,
        }
    }
}
