//! The instruction set that whisper.cpp was compiled for, and what this processor has.

use crate::error::{Error, ErrorKind, Result};

/// Instruction set levels, named as the x86-64 psABI names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CpuLevel {
    /// Whatever the target's own baseline is.
    Baseline,
    /// AVX2, FMA, F16C, BMI2: Intel Haswell (2013), AMD Excavator (2015) and later.
    X86V3,
    /// AVX-512 F, BW, CD, DQ, VL.
    X86V4,
}

impl CpuLevel {
    /// What whisper.cpp in this build needs; set by the build through CMake's own variables.
    pub const BUILT_FOR: Self = match (option_env!("GGML_AVX512"), cfg!(target_arch = "x86_64")) {
        (_, false) => Self::Baseline,
        (Some(_), true) => Self::X86V4,
        (None, true) => Self::X86V3,
    };

    /// The name used in file names and in `info`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::X86V3 => "x86-64-v3",
            Self::X86V4 => "x86-64-v4",
        }
    }

    /// The highest level that this processor and operating system support.
    #[must_use]
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let v3 = has!("avx2") && has!("fma") && has!("f16c") && has!("bmi2");
            let v4 = has!("avx512f")
                && has!("avx512bw")
                && has!("avx512cd")
                && has!("avx512dq")
                && has!("avx512vl");
            match (v3, v4) {
                (true, true) => return Self::X86V4,
                (true, false) => return Self::X86V3,
                _ => {}
            }
        }
        Self::Baseline
    }

    /// Fails where whisper.cpp would die of an illegal instruction.
    pub fn check() -> Result<()> {
        let found = Self::detect();
        if found >= Self::BUILT_FOR {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::DeviceUnavailable,
            format!(
                "this build needs a processor of level {}, and this one has {}; build from source \
                 for it",
                Self::BUILT_FOR.as_str(),
                found.as_str()
            ),
        ))
    }
}
