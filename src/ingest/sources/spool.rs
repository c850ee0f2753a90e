//! A file that lies elsewhere, brought to this machine whole: a temporary file, gone when nobody holds it any more.

use super::{Part, Places};
use crate::error::{Error, Result};
use crate::types::uri::ObjectUri;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;

/// Bytes to a request.
const PIECE: u64 = 8 << 20;

/// The file that an `http(s)` URL or a bucket's URI names.
pub(super) fn bring(place: &str, places: &Places) -> Result<Arc<File>> {
    let io = |e| Error::io(std::env::temp_dir(), e);
    let begin = || tempfile::tempfile().map_err(io);
    let mut file = match place.parse::<ObjectUri>() {
        Ok(object) => {
            let mut file = begin()?;
            let mut write = |bytes: &[u8]| file.write_all(bytes).map_err(io);
            places.buckets.of(&object)?.copy(&object.key, PIECE, &mut write)?;
            file
        }
        Err(_) => places.web.download(place, begin)?,
    };
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    Ok(Arc::new(file))
}

impl Part {
    /// The `long` bytes of the piece, which may be at most `limit`.
    pub(super) fn read(&self, long: u64, limit: u64) -> Result<Vec<u8>> {
        if long > limit {
            return Err(Error::image(format!("too large: {long} bytes, and the limit is {limit}")));
        }
        let mut bytes = vec![0; usize::try_from(long).unwrap_or(usize::MAX)];
        read_at(&self.file, &mut bytes, self.offset)
            .map_err(|e| Error::image(format!("it can't be read from its archive: {e}")))?;
        Ok(bytes)
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => {
                offset += read as u64;
                bytes = bytes.get_mut(read..).unwrap_or_default();
            }
        }
    }
    Ok(())
}
