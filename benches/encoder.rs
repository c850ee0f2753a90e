//! The picture tower alone: one pass over pictures that are decoded and scaled, printed as JSON, for `benches/encoder/compare.py` to set
//! beside ONNX Runtime.
//!
//!     encoder MODEL DTYPE FOLDER COUNT      MODEL is a directory; COUNT pictures of FOLDER, over and over if need be, go through in one batch

#![allow(missing_docs)]

use cpu_time::ProcessTime;
use eyeshot::models::{Clip, DeviceChoice, ModelFiles, ModelOptions};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [model, dtype, folder, count] = args.as_slice() else {
        println!("usage: encoder MODEL DTYPE FOLDER COUNT; see benches/encoder.md");
        return Ok(());
    };
    let options =
        ModelOptions { device: DeviceChoice::Cpu, dtype: dtype.parse()?, ..ModelOptions::default() };
    if let Some(instead) = options.instead() {
        eprintln!("{instead}");
    }
    let clip = Clip::load(&ModelFiles::from_dir("bench", Path::new(model))?, &options)?;
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    let count: usize = count.parse()?;
    let mut pixels = Vec::new();
    for path in paths.iter().take(count) {
        pixels.push(clip.prepare(&image::open(path)?.to_rgb8())?);
    }
    let batch: Vec<_> = pixels.iter().cycle().take(count).cloned().collect();
    // Once to wake everything up.
    clip.embed_pixels(&batch[..batch.len().min(2)])?;
    let (began, cpu) = (Instant::now(), ProcessTime::now());
    let embeddings = clip.embed_pixels(&batch)?;
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
    println!("{}", serde_json::json!({ "wall": wall, "cpu": cpu, "embeddings": embeddings }));
    Ok(())
}
