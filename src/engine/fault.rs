//! Faults on purpose, so that tests of the built addon can see what a fault does. In no build but
//! one with the feature `faults`.

/// Where a fault can be.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "faults"), allow(dead_code))]
pub(crate) enum Place {
    Decode,
    Vad,
    Gpu,
}

/// Panics if the job's id asks for it: `fault:decode`, `fault:vad` or `fault:gpu`.
#[cfg(feature = "faults")]
pub(crate) fn inject(place: Place, id: &str) {
    let asked = match place {
        Place::Decode => "fault:decode",
        Place::Vad => "fault:vad",
        Place::Gpu => "fault:gpu",
    };
    assert!(!id.starts_with(asked), "a fault on purpose in {place:?}");
}

#[cfg(not(feature = "faults"))]
pub(crate) fn inject(_: Place, _: &str) {}
