//! A limit by the clock: a reader that gives no more bytes once a picture's time is over.
//!
//! Decoders cannot be stopped from outside, but all pull their bytes as they go, and a pull that fails ends them. How long one
//! goes on between two pulls is bounded by what few bytes can say.

use crate::error::{Error, Result};
use std::cell::Cell;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::rc::Rc;
use std::time::{Duration, Instant};
use zune_jpeg::zune_core::bytestream::{ZByteIoError, ZByteReaderTrait, ZSeekFrom};

/// After how much reading the clock is looked at: bytes, where a call counts as so many at least.
const LOOK: u32 = 16 << 10;
const CALL: u32 = 256;

/// The time that one picture may take.
pub(super) struct Clock {
    most: Duration,
    end: Cell<Option<Instant>>,
    over: Cell<bool>,
}

impl Clock {
    /// Starts at once.
    pub fn start(most: Duration) -> Rc<Self> {
        let clock = Clock { most, end: Cell::new(None), over: Cell::new(false) };
        clock.restart();
        Rc::new(clock)
    }

    /// Begins again: waiting for memory is nobody's fault.
    pub fn restart(&self) {
        self.end.set(Instant::now().checked_add(self.most));
    }

    fn is_over(&self) -> bool {
        if !self.over.get() {
            self.over.set(self.end.get().is_some_and(|end| Instant::now() >= end));
        }
        self.over.get()
    }

    /// What `made` is, unless a reader was refused its bytes: what a decoder makes of that is not the picture.
    pub fn judge<T>(&self, name: &str, made: Result<T>) -> Result<T> {
        match self.over.get() {
            false => made,
            true => {
                let most = self.most.as_secs_f64();
                Err(Error::image(format!("too slow to decode: this {name} takes more than {most} s")))
            }
        }
    }
}

/// A file's bytes for as long as there is time.
pub(super) struct Timed<'a> {
    bytes: &'a [u8],
    at: usize,
    clock: Rc<Clock>,
    /// What may be read before the clock is looked at again.
    credit: u32,
}

impl<'a> Timed<'a> {
    pub fn new(bytes: &'a [u8], clock: &Rc<Clock>) -> Self {
        Timed { bytes, at: 0, clock: clock.clone(), credit: 0 }
    }

    /// Whether a read of so many bytes may go on.
    #[inline(always)]
    fn ticks(&mut self, bytes: usize) -> bool {
        let cost = CALL.max(bytes.min(LOOK as usize) as u32);
        match self.credit.checked_sub(cost) {
            Some(left) => {
                self.credit = left;
                true
            }
            None => self.looks(),
        }
    }

    #[cold]
    fn looks(&mut self) -> bool {
        self.credit = LOOK;
        !self.clock.is_over()
    }

    #[inline(always)]
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the time is over")
}

/// For the decoders of `image`: at most [`LOOK`] bytes at once, so that they come back for more.
pub(super) struct Stream<'a>(pub Timed<'a>);

impl Read for Stream<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(LOOK as usize);
        if !self.0.ticks(most) {
            return Err(late());
        }
        let read = self.0.rest().read(&mut into[..most])?;
        self.0.at += read;
        Ok(read)
    }
}

impl BufRead for Stream<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if !self.0.ticks(0) {
            return Err(late());
        }
        let rest = self.0.rest();
        Ok(&rest[..rest.len().min(LOOK as usize)])
    }

    fn consume(&mut self, amount: usize) {
        // Paid for here, since filling tells nothing of how much is taken.
        self.0.credit = self.0.credit.saturating_sub(amount.min(LOOK as usize) as u32);
        self.0.at = self.0.at.saturating_add(amount);
    }
}

impl Seek for Stream<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let mut cursor = io::Cursor::new(self.0.bytes);
        cursor.set_position(self.0.at as u64);
        let at = cursor.seek(to)?;
        self.0.at = usize::try_from(at).unwrap_or(usize::MAX);
        Ok(at)
    }
}

/// For the JPEG decoder, which reads a few bytes at a time.
impl ZByteReaderTrait for Timed<'_> {
    #[inline(always)]
    fn read_byte_no_error(&mut self) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at = self.at.saturating_add(1);
        byte
    }

    #[inline(always)]
    fn read_exact_bytes(&mut self, into: &mut [u8]) -> Result<(), ZByteIoError> {
        self.peek_exact_bytes(into)?;
        self.at += into.len();
        Ok(())
    }

    fn read_bytes(&mut self, into: &mut [u8]) -> Result<usize, ZByteIoError> {
        let read = self.peek_bytes(into)?;
        self.at += read;
        Ok(read)
    }

    fn peek_bytes(&mut self, into: &mut [u8]) -> Result<usize, ZByteIoError> {
        if !self.ticks(into.len()) {
            return Err(late().into());
        }
        Ok(self.rest().read(into)?)
    }

    #[inline(always)]
    fn peek_exact_bytes(&mut self, into: &mut [u8]) -> Result<(), ZByteIoError> {
        if !self.ticks(into.len()) {
            return Err(late().into());
        }
        match self.rest().get(..into.len()) {
            Some(bytes) => into.copy_from_slice(bytes),
            None => return Err(ZByteIoError::NotEnoughBytes(self.rest().len(), into.len())),
        }
        Ok(())
    }

    fn z_seek(&mut self, from: ZSeekFrom) -> Result<u64, ZByteIoError> {
        let (base, by) = match from {
            ZSeekFrom::Start(at) => (at, 0),
            ZSeekFrom::End(by) => (self.bytes.len() as u64, by),
            ZSeekFrom::Current(by) => (self.at as u64, by),
        };
        let at = base.checked_add_signed(by).ok_or(ZByteIoError::SeekError("before the beginning"))?;
        self.at = usize::try_from(at).unwrap_or(usize::MAX);
        Ok(at)
    }

    #[inline(always)]
    fn is_eof(&mut self) -> Result<bool, ZByteIoError> {
        // Asked before each byte where the file's end is near or a marker may come: the one way to stop a decoder there.
        if !self.ticks(0) {
            return Err(late().into());
        }
        Ok(self.at >= self.bytes.len())
    }

    fn z_position(&mut self) -> Result<u64, ZByteIoError> {
        Ok(self.at as u64)
    }

    fn read_remaining(&mut self, sink: &mut Vec<u8>) -> Result<usize, ZByteIoError> {
        let rest = self.rest();
        sink.extend_from_slice(rest);
        self.at = self.bytes.len();
        Ok(rest.len())
    }
}
