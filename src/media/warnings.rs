//! What was found missing or damaged, each kind once, however often it occurs.

/// Kinds of damage, and what was said of the first of each.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    said: Vec<Said>,
}

#[derive(Debug)]
struct Said {
    kind: &'static str,
    text: String,
    more: u64,
}

impl Warnings {
    /// Notes damage. The text is made only for the first of its kind, so that millions of damaged
    /// places cost a counter; kinds are literals of the code, which bounds their number.
    pub(super) fn note(&mut self, kind: &'static str, text: impl FnOnce() -> String) {
        match self.said.iter_mut().find(|said| said.kind == kind) {
            Some(said) => said.more += 1,
            None => self.said.push(Said {
                kind,
                text: text(),
                more: 0,
            }),
        }
    }

    /// What was said first, if anything.
    pub(super) fn first(&self) -> Option<&str> {
        self.said.first().map(|said| said.text.as_str())
    }

    /// Hands out everything noted so far.
    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
            .into_iter()
            .map(|Said { text, more, .. }| match more {
                0 => text,
                1 => format!("{text} (and once more later)"),
                _ => format!("{text} (and {more} times more later)"),
            })
            .collect()
    }
}

/// A place in the audio, as people read it.
pub(super) fn at_time(samples_48k: u64) -> String {
    format!("{:.2} s", samples_48k as f64 / 48_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_said_once_and_counted() {
        let mut warnings = Warnings::default();
        for place in 0..1_000 {
            warnings.note("gap", || format!("a gap at {place}"));
        }
        warnings.note("end", || "cut off".into());
        assert_eq!(
            warnings.take(),
            ["a gap at 0 (and 999 times more later)", "cut off"]
        );
        assert!(warnings.take().is_empty());
    }
}
