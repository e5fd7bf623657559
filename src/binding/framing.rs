//! Length-prefixed bytes to packets, for `splitPackets`.

use napi::bindgen_prelude::{Either, Float64Array, Uint8Array};
use napi_derive::napi;

use super::error::Failure;
use super::options::integer;
use crate::error::{Error, Result};
use crate::opus::framing::{self, ByteOrder, Framing, LengthWidth, SequencePlace};

/// How the bytes are framed: `[length][sequence?][packet][sequence?]`. The length counts the packet
/// alone. Nothing is guessed.
#[napi(object, object_to_js = false)]
pub struct SplitOptions {
    /// Bytes of each length, 2 or 4. Default 2.
    #[napi(ts_type = "2 | 4")]
    pub length_bytes: Option<f64>,
    /// Byte order of the length and of the sequence number. Default `little`.
    #[napi(ts_type = "'little' | 'big'")]
    pub endian: Option<String>,
    /// Where each packet's 32-bit sequence number is: `before` or `after` the packet, behind the
    /// length in both cases. Default: there is none.
    #[napi(ts_type = "'before' | 'after'")]
    pub sequence: Option<String>,
    /// How many packets behind the newest one a late packet may come and still take its place, 0 to
    /// 30000. Default 64. Later ones are an error.
    pub reorder_window: Option<f64>,
    /// Leave out a packet inside which the bytes end, instead of failing. Default false.
    pub allow_partial: Option<bool>,
}

/// Where the packets are: start and end of each, end to end, -1 and -1 for a missing one.
#[napi]
pub fn split_packets(bytes: Uint8Array, options: SplitOptions) -> Either<Float64Array, Failure> {
    match split(&bytes, options) {
        Ok(bounds) => Either::A(bounds.into()),
        Err(error) => Either::B(error.into()),
    }
}

fn split(bytes: &[u8], options: SplitOptions) -> Result<Vec<f64>> {
    let framing = Framing::try_from(options)?;
    let bounds = framing::split(bytes, &framing)?
        .into_iter()
        .flat_map(|packet| {
            packet.map_or([-1.0, -1.0], |packet| {
                [packet.start as f64, packet.end as f64]
            })
        });
    Ok(bounds.collect())
}

impl TryFrom<SplitOptions> for Framing {
    type Error = Error;

    fn try_from(from: SplitOptions) -> Result<Self> {
        let defaults = Self::default();
        Ok(Self {
            length: match from.length_bytes {
                None => defaults.length,
                Some(2.0) => LengthWidth::Two,
                Some(4.0) => LengthWidth::Four,
                Some(other) => return Err(refused("lengthBytes", &other.to_string(), "2 or 4")),
            },
            order: match from.endian.as_deref() {
                None => defaults.order,
                Some("little") => ByteOrder::Little,
                Some("big") => ByteOrder::Big,
                Some(other) => return Err(refused("endian", other, "'little' or 'big'")),
            },
            sequence: match from.sequence.as_deref() {
                None => defaults.sequence,
                Some("before") => Some(SequencePlace::Before),
                Some("after") => Some(SequencePlace::After),
                Some(other) => return Err(refused("sequence", other, "'before' or 'after'")),
            },
            reorder_window: match from.reorder_window {
                None => defaults.reorder_window,
                Some(window) => match integer("reorderWindow", window)? {
                    window @ 0..=30_000 => window as u32,
                    other => {
                        return Err(refused("reorderWindow", &other.to_string(), "0 to 30000"));
                    }
                },
            },
            allow_partial: from.allow_partial.unwrap_or(defaults.allow_partial),
        })
    }
}

fn refused(name: &str, value: &str, expected: &str) -> Error {
    Error::invalid_argument(format!("{name} is {value}; expected {expected}"))
}
