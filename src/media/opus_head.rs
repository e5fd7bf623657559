//! The identification header of an Opus stream (RFC 7845, section 5.1), the same in Ogg and WebM.

/// What a decoder must know before the first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpusHead {
    pub(super) channels: u8,
    /// Samples at 48 kHz that the decoder makes before the audio begins.
    pub(super) pre_skip_48k: u16,
    /// Gain to apply, in dB as Q7.8.
    pub(super) output_gain_q8: i16,
}

pub(super) const MAGIC: &[u8] = b"OpusHead";

impl OpusHead {
    /// Reads a header, or says in words why it is not one that can be decoded.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (magic, fields) = bytes.split_at_checked(MAGIC.len()).unwrap_or_default();
        let [
            version,
            channels,
            skip_low,
            skip_high,
            _,
            _,
            _,
            _,
            gain_low,
            gain_high,
            family,
            mapping @ ..,
        ] = fields
        else {
            return Err(format!("its Opus header has only {} bytes", bytes.len()));
        };
        if magic != MAGIC {
            return Err("its Opus header does not begin with OpusHead".into());
        }
        // The upper half of the version is what breaks compatibility.
        if version & 0xf0 != 0 {
            return Err(format!(
                "its Opus header is of the unknown version {version}"
            ));
        }
        let coded_apart = match (family, mapping.first()) {
            (0, _) => *channels > 2,
            (1, Some(streams)) => *streams != 1 || *channels > 2,
            _ => true,
        };
        if *channels == 0 {
            return Err("its Opus header says 0 channels".into());
        }
        if coded_apart {
            return Err(format!(
                "its Opus audio has {channels} channels in several streams (mapping family \
                 {family}); only mono and stereo are supported: mix it down first"
            ));
        }
        Ok(Self {
            channels: *channels,
            pre_skip_48k: u16::from_le_bytes([*skip_low, *skip_high]),
            output_gain_q8: i16::from_le_bytes([*gain_low, *gain_high]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: u8, channels: u8, family: u8, mapping: &[u8]) -> Vec<u8> {
        let mut bytes = b"OpusHead".to_vec();
        bytes.extend([
            version, channels, 0x38, 0x01, 0x80, 0xbb, 0, 0, 0x00, 0xff, family,
        ]);
        bytes.extend(mapping);
        bytes
    }

    #[test]
    fn a_header_gives_its_numbers() {
        let parsed = OpusHead::parse(&head(1, 2, 0, &[])).unwrap();
        assert_eq!((parsed.channels, parsed.pre_skip_48k), (2, 312));
        assert_eq!(parsed.output_gain_q8, -256);
    }

    #[test]
    fn one_stream_in_the_surround_family_is_plain_stereo() {
        assert!(OpusHead::parse(&head(1, 2, 1, &[1, 1, 0, 1])).is_ok());
    }

    #[test]
    fn several_streams_are_refused_with_their_number() {
        let surround = OpusHead::parse(&head(1, 6, 1, &[4, 2, 0, 4, 1, 2, 3, 5]));
        assert!(surround.unwrap_err().contains("6 channels"));
        for (channels, family, mapping) in [(1, 255, &[1, 0, 0][..]), (2, 1, &[2, 0, 0, 1])] {
            assert!(OpusHead::parse(&head(1, channels, family, mapping)).is_err());
        }
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_refused() {
        let whole = head(1, 1, 0, &[]);
        for length in 0..whole.len() {
            assert!(OpusHead::parse(&whole[..length]).is_err());
        }
        assert!(OpusHead::parse(&head(0x10, 1, 0, &[])).is_err());
        assert!(OpusHead::parse(&head(1, 0, 0, &[])).is_err());
    }
}
