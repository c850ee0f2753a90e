//! A `.gguf` file of llama.cpp: the language model's weights, packed.

use crate::models::files::{Blob, ModelFiles};
use crate::models::plain;
use crate::{Error, Result};
use candle_core::Device;
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::Content;
use std::fs::File;
use std::io::BufReader;
use std::sync::Mutex;

/// An opened file.
pub struct Gguf {
    model: String,
    file: String,
    content: Content,
    reader: Mutex<BufReader<File>>,
}

impl Gguf {
    /// Opens the language model among the `.gguf` files of `files`; None when there is none. A file of another architecture,
    /// such as a projector that llama.cpp keeps apart, is left alone.
    ///
    /// # Errors
    /// [`Error::Model`] when a file can't be read, or two hold a language model.
    pub fn find(files: &ModelFiles) -> Result<Option<Self>> {
        let mut found: Option<Gguf> = None;
        for file in files.names().filter(|file| file.ends_with(".gguf")) {
            let gguf = Gguf::open(files, file)?;
            if gguf.architecture() != Some("llama") {
                continue;
            }
            if let Some(other) = &found {
                return Err(files.error(format!(
                    "both {} and {file} hold a language model; keep one of them",
                    other.file
                )));
            }
            found = Some(gguf);
        }
        Ok(found)
    }

    fn open(files: &ModelFiles, file: &str) -> Result<Self> {
        let Blob::Path(path) = files.blob(file)? else {
            return Err(files.error(format!("{file} must be a file on disk")));
        };
        let mut reader = BufReader::new(File::open(path).map_err(|e| Error::io(path, e))?);
        let content = Content::read(&mut reader)
            .map_err(|e| files.error(format!("{file} can't be read as GGUF: {}", plain(&e))))?;
        Ok(Gguf { model: files.name.clone(), file: file.to_owned(), content, reader: Mutex::new(reader) })
    }

    /// The file's name.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Whether there is a tensor `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    /// The shape of the tensor `name`.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.content.tensor_infos.get(name).map(|info| info.shape.dims())
    }

    /// The tensor `name`, which must have `shape`.
    pub(super) fn get(&self, name: &str, shape: &[usize], device: &Device) -> Result<QTensor> {
        let error = |reason: String| Error::model(&self.model, format!("{}: {reason}", self.file));
        match self.shape(name) {
            None => return Err(error(format!("it has no tensor {name}"))),
            Some(found) if found != shape => {
                return Err(error(format!("{name} has shape {found:?}, expected {shape:?}")));
            }
            Some(_) => {}
        }
        let mut reader = self.reader.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.content
            .tensor(&mut *reader, name, device)
            .map_err(|e| error(format!("{name} can't be read: {}", plain(&e))))
    }

    fn architecture(&self) -> Option<&str> {
        self.content.metadata.get("general.architecture")?.to_string().ok().map(String::as_str)
    }
}
