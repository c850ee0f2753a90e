//! Turns `proto/` into the types and traits of the gRPC API, in Rust alone: no `protoc` is needed. And puts the files of the web page
//! into the program.

use std::path::{Path, PathBuf};

const FILES: [&str; 5] = ["common", "collections", "images", "search", "answer"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = FILES.map(|name| root.join(format!("eyeshot/v1/{name}.proto")));
    let descriptors = protox::compile(files, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("eyeshot.descriptors");
    std::fs::write(&out, prost::Message::encode_to_vec(&descriptors))?;
    // Clients get no transport of their own: who uses one brings the channel.
    tonic_prost_build::configure().build_transport(false).compile_fds(descriptors)?;
    page(&PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("src/serve/http/page"))
}

/// Puts the files of the web page into the program: a table of names and bytes.
fn page(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut files = std::fs::read_dir(folder)?.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    let row = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        format!("    ({name:?}, include_bytes!({:?})),\n", path.display().to_string())
    };
    let rows: String = files.iter().map(row).collect();
    let table = format!("const FILES: &[(&str, &[u8])] = &[\n{rows}];\n");
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("page.rs"), table)?;
    Ok(())
}
