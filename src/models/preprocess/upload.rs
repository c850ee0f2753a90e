//! Bytes on their way to a device. A GPU's copy engine reads them from page-locked memory by itself, while the processor goes on (CUDA C++
//! Programming Guide, "Page-Locked Host Memory"); from any other memory the driver would copy them there first, and wait.

use crate::error::Result;
use candle_core::{Device, Shape, Tensor};

/// A way to devices, and what it keeps for the next time.
#[derive(Clone, Debug, Default)]
pub(super) struct Upload {
    #[cfg(feature = "cuda")]
    pages: std::sync::Arc<locked::Pages>,
}

impl Upload {
    /// What `fill` writes, in U8, of `shape`, on `device`.
    pub fn bytes(&self, shape: Shape, device: &Device, fill: impl FnOnce(&mut [u8])) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(device) = device {
            return Ok(self.pages.upload(shape, device, fill)?);
        }
        let mut bytes = vec![0; shape.elem_count()];
        fill(&mut bytes);
        Ok(Tensor::from_vec(bytes, shape, device)?)
    }
}

#[cfg(feature = "cuda")]
mod locked {
    use candle_core::cuda_backend::cudarc::driver::{CudaContext, CudaEvent, PinnedHostSlice, sys};
    use candle_core::cuda_backend::{CudaDevice, CudaStorage, WrapErr};
    use candle_core::op::BackpropOp;
    use candle_core::{Result, Shape, Storage, Tensor};
    use std::collections::VecDeque;
    use std::fmt;
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

    /// Buffers that are kept: one that the device may still be reading, and one to fill meanwhile.
    const KEPT: usize = 2;

    /// Page-locked buffers, the one that was filled longest ago first.
    #[derive(Default)]
    pub struct Pages(Mutex<VecDeque<Buffer>>);

    /// A page-locked buffer, and when the device has read what was last in it. The library marks that itself only where a process has
    /// several streams.
    struct Buffer {
        bytes: PinnedHostSlice<u8>,
        read: Option<CudaEvent>,
    }

    impl Buffer {
        fn new(len: usize, context: &Arc<CudaContext>) -> Result<Self> {
            // SAFETY: bytes may hold anything, and all of them are written before the device reads them. Nothing here reads them, for
            // which memory that gathers writes would be slow.
            let bytes = unsafe { context.alloc_pinned_with_flags(len, sys::CU_MEMHOSTALLOC_WRITECOMBINED) };
            Ok(Buffer { bytes: bytes.w()?, read: None })
        }

        fn fits(&self, len: usize, context: &Arc<CudaContext>) -> bool {
            self.bytes.len() == len && Arc::ptr_eq(self.bytes.context(), context)
        }

        /// Waits until the device has read it.
        fn wait(&mut self) -> Result<()> {
            self.read.take().map_or(Ok(()), |read| read.synchronize()).w()
        }
    }

    impl Drop for Buffer {
        fn drop(&mut self) {
            // A device that fails says so to whoever asks it for something next.
            _ = self.wait();
        }
    }

    impl Pages {
        /// What `fill` writes, in U8, of `shape`, on `device`; it may still be on its way, but is there for all that this thread has the
        /// device do later.
        pub fn upload(
            &self,
            shape: Shape,
            device: &CudaDevice,
            fill: impl FnOnce(&mut [u8]),
        ) -> Result<Tensor> {
            let stream = device.cuda_stream();
            let mut buffer = self.take(shape.elem_count(), stream.context())?;
            buffer.wait()?;
            fill(buffer.bytes.as_mut_slice().w()?);
            let there = device.clone_htod(&buffer.bytes)?;
            buffer.read = Some(stream.record_event(None).w()?);
            self.put(buffer);
            let there = Storage::Cuda(CudaStorage::wrap_cuda_slice(there, device.clone()));
            Ok(Tensor::from_storage(there, shape, BackpropOp::none(), false))
        }

        /// The buffer that was filled longest ago, where there are enough and it fits; else a new one.
        fn take(&self, len: usize, context: &Arc<CudaContext>) -> Result<Buffer> {
            let oldest = {
                let mut kept = self.lock();
                if kept.len() < KEPT { None } else { kept.pop_front() }
            };
            oldest.filter(|buffer| buffer.fits(len, context)).map_or_else(|| Buffer::new(len, context), Ok)
        }

        fn put(&self, buffer: Buffer) {
            let mut kept = self.lock();
            kept.push_back(buffer);
            // Of threads that upload at the same time.
            let over = kept.len().saturating_sub(KEPT);
            kept.drain(..over);
        }

        fn lock(&self) -> MutexGuard<'_, VecDeque<Buffer>> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl fmt::Debug for Pages {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Pages").finish_non_exhaustive()
        }
    }
}
