//! LLaVA 1.6 looks at a picture twice: scaled to one square, and at a size of several squares, cut into tiles. Where the tiles
//! lie, and which of their patches show the picture and not the border: transformers' arithmetic.

/// A picture's size, (height, width).
pub(super) type Size = (u32, u32);

/// Of `grids`, the one that shows most of a picture of `size`, and of those the one with the least border.
pub(super) fn best(size: Size, grids: &[Size]) -> Option<Size> {
    let (rows, columns) = (f64::from(size.0), f64::from(size.1));
    let mut best: Option<(u64, u64, Size)> = None;
    for (height, width) in grids {
        let scale = (f64::from(*width) / columns).min(f64::from(*height) / rows);
        let shown = (columns * scale) as u64 * (rows * scale) as u64;
        let shown = shown.min(u64::from(size.0) * u64::from(size.1));
        let wasted = (u64::from(*height) * u64::from(*width)).saturating_sub(shown);
        if best.is_none_or(|(most, least, _)| shown > most || (shown == most && wasted < least)) {
            best = Some((shown, wasted, (*height, *width)));
        }
    }
    best.map(|(.., grid)| grid)
}

/// The size that a picture of `size` is scaled to, to lie within `grid`.
pub(super) fn within(size: Size, grid: Size) -> Size {
    let scale = |to: u32, from: u32| f64::from(to) / f64::from(from);
    let (down, across) = (scale(grid.0, size.0), scale(grid.1, size.1));
    match across < down {
        true => (((f64::from(size.0) * across).ceil() as u32).min(grid.0), grid.1),
        false => (grid.0, ((f64::from(size.1) * down).ceil() as u32).min(grid.1)),
    }
}

/// How many rows of patches at the top and the bottom, and columns at the left and the right, show nothing of a picture of
/// `size` when `patches` lie over its grid.
pub(super) fn border(size: Size, patches: (usize, usize)) -> (usize, usize) {
    let (rows, columns) = (f64::from(size.0), f64::from(size.1));
    let (high, wide) = (patches.0 as f64, patches.1 as f64);
    // Rounded at seven digits first, so that 11.9999999 is 12.
    let whole = |value: f64| ((value * 1e7).round() / 1e7) as usize;
    match columns / rows > wide / high {
        true => (patches.0.saturating_sub(whole(rows * (wide / columns))) / 2, 0),
        false => (0, patches.1.saturating_sub(whole(columns * (high / rows))) / 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRIDS: [Size; 5] = [(336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008)];

    #[test]
    fn sizes_are_the_references() {
        // What transformers' select_best_resolution, get_patch_output_size and unpad_image come to.
        for (size, grid, scaled, edge) in [
            ((480, 640), (672, 672), (504, 672), (6, 0)),
            ((640, 480), (672, 672), (672, 504), (0, 6)),
            ((336, 336), (336, 672), (336, 336), (0, 12)),
            ((100, 400), (336, 672), (168, 672), (6, 0)),
            ((1000, 100), (1008, 336), (1008, 101), (0, 8)),
        ] {
            assert_eq!(best(size, &GRIDS), Some(grid), "{size:?}");
            assert_eq!(within(size, grid), scaled, "{size:?}");
            let patches = ((grid.0 / 14) as usize, (grid.1 / 14) as usize);
            assert_eq!(border(size, patches), edge, "{size:?}");
        }
        assert_eq!(best((5, 5), &[]), None);
    }
}
