//! Turns `proto/` into the types and traits of the gRPC API, in Rust alone: no `protoc` is needed.

use std::path::PathBuf;

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
    Ok(())
}
