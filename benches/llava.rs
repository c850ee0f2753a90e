//! Answering with a full-size LLaVA: one round, printed as JSON, for `benches/llava.py` to set beside transformers.
//!
//!     llava DIR TOKENS PACKING      DIR is a checkpoint with a picture.png; PACKING is none, q4k or q8_0

#![allow(missing_docs)]

use cpu_time::ProcessTime;
use eyeshot::models::{Decoding, DeviceChoice, Llava, ModelFiles, ModelOptions, Prompt};
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

/// As `llava.py` asks.
const QUESTION: &str = "What is left of the cat?";

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [dir, tokens, packing] = args.as_slice() else {
        println!("usage: llava DIR TOKENS PACKING; see benches/llava.md");
        return Ok(());
    };
    let (dir, tokens) = (PathBuf::from(dir), tokens.parse::<usize>()?);
    let quantize = if packing == "none" { None } else { Some(packing.parse()?) };
    let options = ModelOptions { device: DeviceChoice::Cpu, quantize, ..ModelOptions::default() };
    let began = Instant::now();
    let llava = Llava::load(&ModelFiles::from_dir("bench", &dir)?, &options)?;
    let load = began.elapsed().as_secs_f64();
    let view = llava.prepare(&image::open(dir.join("picture.png"))?.to_rgb8(), false)?;

    let (began, cpu) = (Instant::now(), ProcessTime::now());
    let seen = llava.look(&[view])?;
    let look = began.elapsed().as_secs_f64();
    let images: Vec<_> = seen.iter().collect();
    // As long as asked: random weights may end an answer anywhere.
    let how = Decoding { max_new_tokens: tokens, min_new_tokens: tokens, ..Decoding::default() };
    let mut session =
        llava.start(&Prompt { question: QUESTION, images: &images, ..Prompt::default() }, &how)?;
    session.next()?;
    let (first, first_cpu) = (began.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
    while session.next()?.is_some() {}
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
    let rate = (tokens - 1) as f64 / (wall - first);
    let row = serde_json::json!({
        "load": load, "look": look, "first": first, "first_cpu": first_cpu, "cpu": cpu, "tokens_per_s": rate,
        "cpu_per_token": (cpu - first_cpu) / (tokens - 1) as f64, "ids": session.written(),
    });
    println!("{row}");
    Ok(())
}
