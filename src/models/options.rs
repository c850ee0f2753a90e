//! Where a model runs, in which numbers, and where its files are looked for.

use super::blip::Matching;
use super::hub::HubOptions;
use super::llama::Quantize;
use super::wide;
use crate::{Error, Result};
use candle_core::{DType, Device};
use std::fmt;
use std::str::FromStr;

/// How models are found and run.
///
/// The default takes what the environment says (`HF_HOME`, `HF_TOKEN`, `HF_ENDPOINT`, ...) and leaves device and dtype to
/// the machine.
#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    /// Which device computes.
    pub device: DeviceChoice,
    /// Which further ones take their share of what is embedded; other models are on the first alone.
    pub more_devices: Vec<DeviceChoice>,
    /// In which numbers.
    pub dtype: DTypeChoice,
    /// How a language model's matrices are packed; None leaves them as `dtype`.
    pub quantize: Option<Quantize>,
    /// Never ask the network: what is not in the cache is an error. `HF_HUB_OFFLINE` says the same.
    pub offline: bool,
    /// Ask the hub whether a cached model has changed, instead of taking the cache's word.
    pub refresh: bool,
    /// How a matcher is asked.
    pub matching: Matching,
    /// The hub, its cache and the token.
    pub hub: HubOptions,
}

impl ModelOptions {
    /// Whether the network may be asked.
    pub(crate) fn online(&self) -> bool {
        !self.offline && !self.hub.offline
    }

    /// The device and dtype that these options mean on this machine.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the device asked for is not there, or can't compute in these numbers.
    pub(crate) fn resolve(&self) -> Result<(Device, DType)> {
        let device = self.device.open()?;
        let dtype = match (self.dtype, &device) {
            (DTypeChoice::F32, _) | (DTypeChoice::Auto | DTypeChoice::Int8, Device::Cpu) => DType::F32,
            (DTypeChoice::Int8, _) => {
                return Err(Error::invalid("dtype int8", "it is for CPUs: use f16, or --device cpu with it"));
            }
            (DTypeChoice::F16, _) | (DTypeChoice::Auto, _) => DType::F16,
            (DTypeChoice::BF16, device) if device.supports_bf16() => DType::BF16,
            (DTypeChoice::BF16, _) => {
                return Err(Error::invalid("dtype bf16", "this device can't compute in it: use f32 or f16"));
            }
        };
        Ok((device, dtype))
    }

    /// These options for one device after another.
    pub fn each_device(&self) -> impl Iterator<Item = ModelOptions> + '_ {
        let devices = std::iter::once(self.device).chain(self.more_devices.iter().copied());
        devices.map(|device| ModelOptions { device, more_devices: vec![], ..self.clone() })
    }

    /// Whether encoders compute their products in 8 bits: where that was asked for, and this CPU has the instructions.
    pub(crate) fn int8(&self) -> bool {
        self.dtype == DTypeChoice::Int8 && wide::int8_available()
    }

    /// What to tell a user who asked for something that this machine does another way.
    pub fn instead(&self) -> Option<&'static str> {
        instead(self.dtype, wide::int8_available())
    }
}

fn instead(dtype: DTypeChoice, int8: bool) -> Option<&'static str> {
    (dtype == DTypeChoice::Int8 && !int8).then_some(
        "dtype int8: this CPU has neither AVX2 nor AVX-512 VNNI, so that models compute in f32 instead",
    )
}

/// Which device computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU where this build has CUDA and the machine a GPU, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU with this number.
    Cuda(usize),
}

impl DeviceChoice {
    fn open(self) -> Result<Device> {
        match self {
            DeviceChoice::Cpu => Ok(Device::Cpu),
            DeviceChoice::Auto if candle_core::utils::cuda_is_available() => {
                Ok(Device::new_cuda(0).unwrap_or(Device::Cpu))
            }
            DeviceChoice::Auto => Ok(Device::Cpu),
            DeviceChoice::Cuda(_) if !candle_core::utils::cuda_is_available() => Err(Error::invalid(
                format!("device {self}"),
                "this eyeshot was built without the `cuda` feature; use cpu, or build with --features cuda",
            )),
            DeviceChoice::Cuda(number) => Device::new_cuda(number).map_err(|e| {
                Error::invalid(format!("device {self}"), format!("it can't be opened ({e}); use cpu"))
            }),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" | "gpu" => Ok(DeviceChoice::Cuda(0)),
            other => match other.strip_prefix("cuda:").and_then(|n| n.parse().ok()) {
                Some(number) => Ok(DeviceChoice::Cuda(number)),
                None => Err(Error::invalid(format!("device {text:?}"), "one of auto, cpu, cuda:N")),
            },
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// In which numbers a model computes, whatever its file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DTypeChoice {
    /// f32 on the CPU, f16 on a GPU.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit floats; half the memory, about three decimal digits.
    F16,
    /// 16-bit floats with the range of 32; GPUs only.
    BF16,
    /// Products of transformers that embed, and of those that look at pictures for a matcher, captioner or answerer, in 8-bit
    /// integers, all else in f32; on CPUs with AVX2 or AVX-512 VNNI, others compute in f32. What writes words stays f32, or as
    /// [`ModelOptions::quantize`] packs it.
    ///
    /// Embeddings stay near those of f32 (cosine over 0.999, see `benches/encoder.md`), as those of f16 do: a model has one fingerprint
    /// whatever it computes in, and its vectors of either kind may stand in one collection.
    Int8,
}

impl FromStr for DTypeChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(DTypeChoice::Auto),
            "f32" | "float32" => Ok(DTypeChoice::F32),
            "f16" | "float16" | "half" => Ok(DTypeChoice::F16),
            "bf16" | "bfloat16" => Ok(DTypeChoice::BF16),
            "int8" | "i8" => Ok(DTypeChoice::Int8),
            _ => Err(Error::invalid(format!("dtype {text:?}"), "one of auto, f32, f16, bf16, int8")),
        }
    }
}

impl fmt::Display for DTypeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DTypeChoice::Auto => "auto",
            DTypeChoice::F32 => "f32",
            DTypeChoice::F16 => "f16",
            DTypeChoice::BF16 => "bf16",
            DTypeChoice::Int8 => "int8",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dtypes_are_told_from_their_names() {
        use DTypeChoice::*;
        for dtype in [Auto, F32, F16, BF16, Int8] {
            assert_eq!(dtype.to_string().parse::<DTypeChoice>().unwrap(), dtype);
        }
        let said = "int4".parse::<DTypeChoice>().unwrap_err().to_string();
        assert!(said.contains("int4") && said.contains("auto, f32, f16, bf16, int8"), "{said}");
    }

    #[test]
    fn what_a_cpu_lacks_is_said() {
        assert_eq!(instead(DTypeChoice::Int8, true), None);
        assert_eq!(instead(DTypeChoice::F32, false), None);
        let said = instead(DTypeChoice::Int8, false).unwrap();
        assert!(said.contains("VNNI") && said.contains("f32"), "{said}");
        let options =
            ModelOptions { dtype: DTypeChoice::Int8, device: DeviceChoice::Cpu, ..ModelOptions::default() };
        assert_eq!(options.resolve().unwrap().1, DType::F32);
    }
}
