//! From a picture to what the language model sees of it: embeddings as if they were words.
//!
//! 1. A picture is prepared: one square, and for LLaVA 1.6 its tiles.
//! 2. The vision tower looks at each square; states before its last layers are taken, without the class token.
//! 3. The projector turns them into the language model's embeddings.
//! 4. Tiles are put together again, without the border, and each row of patches ends with `image_newline`.

use super::config::LlavaConfig;
use super::grid::{self, Size};
use super::names;
use crate::models::act::Activation;
use crate::models::clip::VisionTower;
use crate::models::files::ModelFiles;
use crate::models::preprocess::{Pixels, Preprocess, Recipe, ground};
use crate::models::weights::Weights;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::{Linear, Module};

/// How many squares go through the tower at once.
const BATCH: usize = 8;

/// A picture that is ready to be looked at.
#[derive(Clone, Debug)]
pub struct View {
    /// The whole picture in one square, then its tiles, row by row.
    squares: Vec<Pixels>,
    /// The picture's own size.
    size: Size,
}

impl View {
    /// The squares that the vision tower looks at.
    pub fn squares(&self) -> &[Pixels] {
        &self.squares
    }
}

/// What a model has seen of a picture: its embeddings. Clones share them.
#[derive(Clone, Debug)]
pub struct Seen {
    /// (tokens, width).
    pub(super) states: Tensor,
}

impl Seen {
    /// How many tokens it takes in a prompt.
    pub fn tokens(&self) -> usize {
        self.states.dims().first().copied().unwrap_or(0)
    }

    /// What it takes in memory.
    pub fn bytes(&self) -> usize {
        self.states.elem_count() * self.states.dtype().size_in_bytes()
    }

    /// The embeddings: (tokens, width of the language model).
    pub fn states(&self) -> &Tensor {
        &self.states
    }
}

/// Vision tower and projector.
pub(super) struct Eyes {
    preprocess: Preprocess,
    tower: VisionTower,
    projector: Vec<Linear>,
    activation: Activation,
    newline: Option<Tensor>,
    depths: Vec<usize>,
    keep_class: bool,
    grids: Vec<Size>,
    side: u32,
    patches: usize,
    name: String,
    device: Device,
    dtype: DType,
}

impl Eyes {
    /// Reads the pictures' recipe from `files`, or from where its tower is borrowed.
    pub fn preprocess(files: &ModelFiles, config: &LlavaConfig) -> Result<Preprocess> {
        let source = match files.tower() {
            Some(tower) if files.preprocessor().is_err() => tower,
            _ => files,
        };
        let mut recipe = Recipe::read(source)?;
        if config.pad {
            recipe.square = recipe.normalize.map(|(mean, _)| ground(mean)).or(Some([0; 3]));
        }
        let preprocess = Preprocess::new(recipe);
        preprocess.must_make(source, config.vision.image_size)?;
        Ok(preprocess)
    }

    /// Reads vision tower and projector.
    pub fn load(
        own: &Weights,
        tower: Option<&Weights>,
        config: &LlavaConfig,
        preprocess: Preprocess,
        name: &str,
    ) -> Result<Self> {
        let width = config.text.hidden_size;
        let (scope, layers) = names::projector(own, config);
        let mut projector = Vec::with_capacity(layers.len());
        for (at, layer) in layers.iter().enumerate() {
            let from = if at == 0 { config.seen_width() } else { width };
            projector.push(match config.projector_bias {
                true => scope.linear(layer, from, width)?,
                false => scope.linear_no_bias(layer, from, width)?,
            });
        }
        let vision = names::vision(own, tower);
        let newline = match config.grids {
            Some(_) => Some(names::newline(own).get("image_newline", width)?),
            None => None,
        };
        Ok(Eyes {
            tower: VisionTower::load(&vision, &config.vision, Some(&preprocess))?,
            preprocess,
            projector,
            activation: config.projector_act,
            newline,
            depths: config.depths.clone(),
            keep_class: config.keep_class,
            grids: config.grids.clone().unwrap_or_default(),
            side: config.vision.image_size as u32,
            patches: config.vision.grid(),
            name: name.to_owned(),
            device: vision.device().clone(),
            dtype: vision.dtype(),
        })
    }

    /// `image` ready to be looked at; with `tiles`, closely, where the model can.
    pub fn prepare(&self, image: &image::RgbImage, tiles: bool) -> Result<View> {
        let size = (image.height(), image.width());
        if size.0 == 0 || size.1 == 0 {
            return Err(Error::image("the image has no pixels"));
        }
        let Some(grid) = grid::best(size, &self.grids) else {
            return Ok(View { squares: vec![self.preprocess.run(image)?], size });
        };
        let whole = self.preprocess.scale(image, (self.side, self.side));
        let mut squares = vec![self.preprocess.run(&whole)?];
        if tiles {
            let (height, width) = grid::within(size, grid);
            let scaled = self.preprocess.scale(image, (height, width));
            let mut canvas = image::RgbImage::new(grid.1, grid.0);
            let (left, top) = ((grid.1 - width) / 2, (grid.0 - height) / 2);
            image::imageops::replace(&mut canvas, &scaled, i64::from(left), i64::from(top));
            for top in (0..grid.0).step_by(self.side as usize) {
                for left in (0..grid.1).step_by(self.side as usize) {
                    let tile = image::imageops::crop_imm(&canvas, left, top, self.side, self.side);
                    squares.push(self.preprocess.run(&tile.to_image())?);
                }
            }
        }
        Ok(View { squares, size })
    }

    /// How many tokens a picture of `size` takes.
    pub fn tokens(&self, size: Size, tiles: bool) -> usize {
        let whole = self.patches * self.patches + usize::from(self.keep_class);
        match grid::best(size, &self.grids) {
            None => whole,
            Some(_) if !tiles => whole + 1,
            Some(grid) => {
                let (rows, columns) = self.over(grid);
                let (above, beside) = grid::border(size, (rows, columns));
                whole + (rows - 2 * above) * (columns - 2 * beside + 1)
            }
        }
    }

    /// What there is to see in `views`, in order.
    pub fn look(&self, views: &[View]) -> Result<Vec<Seen>> {
        let squares: Vec<Pixels> = views.iter().flat_map(|view| view.squares.iter().cloned()).collect();
        let mut states = Vec::with_capacity(squares.len());
        for batch in squares.chunks(BATCH) {
            let projected = self.project(&self.states(&self.pixels(batch)?)?)?;
            for at in 0..batch.len() {
                states.push(projected.get(at)?);
            }
        }
        let mut states = states.into_iter();
        views
            .iter()
            .map(|view| {
                let squares: Vec<_> = states.by_ref().take(view.squares.len()).collect();
                Ok(Seen { states: self.join(&squares, view.size)? })
            })
            .collect()
    }

    /// `squares` as one tensor: (squares, 3, side, side).
    pub fn pixels(&self, squares: &[Pixels]) -> Result<Tensor> {
        let dtype = self.tower.reads().unwrap_or(self.dtype);
        self.preprocess.tensor(&self.name, squares, &self.device, dtype)
    }

    /// What the projector gets of `pixels`, (squares, 3, side, side): (squares, patches, width).
    pub fn states(&self, pixels: &Tensor) -> Result<Tensor> {
        let states = self
            .depths
            .iter()
            .map(|depth| {
                let states = self.tower.hidden_states(pixels, *depth)?;
                match self.keep_class {
                    true => Ok(states),
                    false => Ok(states.narrow(1, 1, states.dim(1)? - 1)?),
                }
            })
            .collect::<Result<Vec<_>>>()?;
        match states.as_slice() {
            [one] => Ok(one.contiguous()?),
            many => Ok(Tensor::cat(many, 2)?),
        }
    }

    fn project(&self, states: &Tensor) -> Result<Tensor> {
        let mut states = states.clone();
        for (at, layer) in self.projector.iter().enumerate() {
            if at > 0 {
                states = self.activation.forward(states)?;
            }
            states = layer.forward(&states)?;
        }
        Ok(states)
    }

    /// One picture's squares, each (patches, width), as one sequence.
    fn join(&self, squares: &[Tensor], size: Size) -> Result<Tensor> {
        let (Some((whole, tiles)), grid) = (squares.split_first(), grid::best(size, &self.grids)) else {
            return Err(Error::Compute { reason: "a picture without squares".to_owned() });
        };
        let (Some(newline), Some(grid)) = (&self.newline, grid) else { return Ok(whole.clone()) };
        let (width, side) = (newline.elem_count(), self.patches);
        if tiles.is_empty() {
            return Ok(Tensor::cat(&[whole, &newline.reshape((1, width))?], 0)?);
        }
        let (rows, columns) = self.over(grid);
        let patches = Tensor::stack(tiles, 0)?
            .reshape((rows / side, columns / side, side, side, width))?
            .permute((0, 2, 1, 3, 4))?
            .reshape((rows, columns, width))?;
        let (above, beside) = grid::border(size, (rows, columns));
        let (rows, columns) = (rows - 2 * above, columns - 2 * beside);
        if rows == 0 {
            return Ok(whole.clone());
        }
        let ends = newline.broadcast_as((rows, 1, width))?.contiguous()?;
        // A picture so long that no patch is wholly within it leaves the ends of rows alone, as in the reference.
        let lines = match columns {
            0 => ends,
            _ => Tensor::cat(&[&patches.narrow(0, above, rows)?.narrow(1, beside, columns)?, &ends], 1)?,
        };
        Ok(Tensor::cat(&[whole, &lines.reshape((rows * (columns + 1), width))?], 0)?)
    }

    /// How many rows and columns of patches lie over `grid`.
    fn over(&self, grid: Size) -> (usize, usize) {
        let patches = |edge: u32| (edge / self.side) as usize * self.patches;
        (patches(grid.0), patches(grid.1))
    }
}
