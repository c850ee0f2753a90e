//! What several tests share: the program, a folder of its own for each test, and pictures made on the spot.
#![allow(dead_code, reason = "each test file uses some of it")]

use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A tiny CLIP with random weights: quick, and it tells pictures apart.
pub fn tiny_clip() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clip/gelu")
}

/// The program, with its data in `home` and no setting of the machine's.
pub fn eyeshot(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eyeshot"));
    for (name, _) in std::env::vars_os() {
        if ["EYESHOT_", "HF_", "OTEL_"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
            command.env_remove(name);
        }
    }
    command.current_dir(home).env("HF_HOME", home.join("hf")).env("EYESHOT_OFFLINE", "true");
    command
}

/// What a run printed and how it ended.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Standard output's JSON lines.
    pub fn json(&self) -> Vec<Value> {
        self.out.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
    }

    /// Asserts the exit code.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }
}

/// Runs the program to its end.
pub fn run<S: AsRef<OsStr>>(home: &Path, args: impl IntoIterator<Item = S>) -> Ran {
    let Output { status, stdout, stderr } = eyeshot(home).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

/// Writes a picture whose content depends on `seed` alone; the format is told by the name.
pub fn picture(path: &Path, seed: u32) {
    let shade = |x: u32, y: u32| {
        let n = (x / 8 + 5 * (y / 8)).wrapping_mul(seed.wrapping_mul(2_654_435_761) | 1).wrapping_add(seed);
        image::Rgb([(n >> 3) as u8, (n >> 11) as u8, (n >> 19) as u8])
    };
    image::RgbImage::from_fn(48, 40, shade).save(path).unwrap();
}

/// A small generator of pseudo-random numbers (SplitMix64), so that a printed seed repeats a run.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }
}

/// The checksum of a PNG's chunk.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// A tar of such files.
pub fn tar(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}
