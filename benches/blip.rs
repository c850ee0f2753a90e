//! Reranking with a full-size BLIP: one round, printed as JSON, for `benches/blip.py` to set beside transformers.
//!
//!     blip DIR HITS TEXT      DIR is a checkpoint with pictures hit-00.png, hit-01.png, ...

#![allow(missing_docs)]

use cpu_time::ProcessTime;
use eyeshot::models::{Blip, DeviceChoice, Features, ModelFiles, ModelOptions};
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [dir, hits, text] = args.as_slice() else {
        println!("usage: blip DIR HITS TEXT; see benches/blip.md");
        return Ok(());
    };
    let (dir, hits) = (PathBuf::from(dir), hits.parse::<usize>()?);
    let options = ModelOptions { device: DeviceChoice::Cpu, ..ModelOptions::default() };
    let blip = Blip::load(&ModelFiles::from_dir("bench", &dir)?, &options)?;
    let mut pixels = Vec::new();
    for hit in 0..hits {
        pixels.push(blip.prepare(&image::open(dir.join(format!("hit-{hit:02}.png")))?.to_rgb8())?);
    }
    blip.look(&pixels[..1])?;
    let (wall, cpu) = (Instant::now(), ProcessTime::now());
    let features = blip.look(&pixels)?;
    let look = wall.elapsed().as_secs_f64();
    let pairs: Vec<(&Features, &str)> = features.iter().map(|f| (f, text.as_str())).collect();
    let matches = blip.matches(&pairs)?;
    let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
    let row =
        serde_json::json!({"look": look, "match": wall - look, "wall": wall, "cpu": cpu, "matches": matches});
    println!("{row}");
    Ok(())
}
