//! A checkpoint in a folder of its own, to be changed or broken.

use candle_core::{Device, Tensor};
use eyeshot::models::ModelFiles;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

pub struct Copy(tempfile::TempDir);

impl Copy {
    /// Of a folder below `tests/fixtures`.
    pub fn of(folder: &str) -> Self {
        let copy = tempfile::tempdir().unwrap();
        copy_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder), copy.path());
        Copy(copy)
    }

    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    pub fn files(&self) -> ModelFiles {
        ModelFiles::from_dir("mine", self.dir()).unwrap()
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.dir().join(file)
    }

    pub fn remove(&self, file: &str) {
        fs::remove_file(self.path(file)).unwrap();
    }

    pub fn edit(&self, file: &str, edit: impl FnOnce(&mut serde_json::Value)) {
        let mut json = serde_json::from_slice(&fs::read(self.path(file)).unwrap()).unwrap();
        edit(&mut json);
        fs::write(self.path(file), serde_json::to_vec(&json).unwrap()).unwrap();
    }

    /// All weights, of however many files.
    pub fn weights(&self) -> HashMap<String, Tensor> {
        let files = fs::read_dir(self.dir()).unwrap().map(|entry| entry.unwrap().path());
        let weights = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("model"));
        let weights = weights.filter(|path| path.extension().unwrap() == "safetensors");
        weights.flat_map(|path| candle_core::safetensors::load(path, &Device::Cpu).unwrap()).collect()
    }

    /// All weights in one file, after `edit`.
    pub fn edit_weights(&self, edit: impl FnOnce(&mut HashMap<String, Tensor>)) {
        let mut tensors = self.weights();
        edit(&mut tensors);
        candle_core::safetensors::save(&tensors, self.path("model.safetensors")).unwrap();
    }

    pub fn without(&self, tensor: &str) {
        self.edit_weights(|tensors| drop(tensors.remove(tensor).unwrap()));
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&target).unwrap();
            copy_all(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
