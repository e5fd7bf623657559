//! Maps time in a window, where silence has been cut out, to time in the input. Pure.

use std::ops::Range;

/// The stretches of the input that a window is made of, in samples, ordered and disjoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    spans: Vec<Range<usize>>,
}

impl Timeline {
    /// A window made of these stretches, laid end to end.
    #[must_use]
    pub fn new(spans: Vec<Range<usize>>) -> Self {
        debug_assert!(spans.iter().all(|span| span.start <= span.end));
        debug_assert!(spans.is_sorted_by(|a, b| a.end <= b.start));
        Self { spans }
    }

    /// The stretches of the input.
    #[must_use]
    pub fn spans(&self) -> &[Range<usize>] {
        &self.spans
    }

    /// Length of the window.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.iter().map(ExactSizeIterator::len).sum()
    }

    /// Whether the window holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where in the input the audio at `sample` of the window begins. At a cut this is the far
    /// side: something that starts there starts after the removed silence.
    #[must_use]
    pub fn start(&self, sample: usize) -> usize {
        self.map(sample, |offset, len| offset < len)
    }

    /// Where in the input the audio up to `sample` of the window ends. At a cut this is the near
    /// side: something that ends there ends before the removed silence.
    #[must_use]
    pub fn end(&self, sample: usize) -> usize {
        self.map(sample, |offset, len| offset <= len)
    }

    /// Times past the window, which Whisper does give, end with the window.
    fn map(&self, sample: usize, inside: impl Fn(usize, usize) -> bool) -> usize {
        let mut offset = sample;
        for span in &self.spans {
            if inside(offset, span.len()) {
                return span.start + offset;
            }
            offset -= span.len().min(offset);
        }
        self.spans.last().map_or(0, |span| span.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_map_to_the_input_on_both_sides_of_a_cut() {
        let timeline = Timeline::new(vec![100..200, 500..550]);
        assert_eq!(timeline.len(), 150);
        assert_eq!((timeline.start(0), timeline.end(0)), (100, 100));
        assert_eq!((timeline.start(99), timeline.end(99)), (199, 199));
        assert_eq!((timeline.start(100), timeline.end(100)), (500, 200));
        assert_eq!((timeline.start(120), timeline.end(120)), (520, 520));
        assert_eq!((timeline.start(150), timeline.end(150)), (550, 550));
    }

    #[test]
    fn times_past_the_window_end_with_it() {
        let timeline = Timeline::new(vec![10..20]);
        assert_eq!((timeline.start(999), timeline.end(999)), (20, 20));
        assert_eq!(Timeline::new(vec![]).start(5), 0);
    }
}
