//! What the utterances of a stream were, for those that are to go on from them.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::{Live, Stream};

/// The last text of each stream whose utterances are to go on from it.
#[derive(Default)]
pub(in crate::engine) struct Previous(HashMap<u64, (Weak<Stream>, String)>);

impl Previous {
    /// What goes before an utterance, or before a window of any other job.
    pub fn prompt(&self, live: Option<&Live>, initial: Option<&str>) -> Option<String> {
        let known = live.and_then(|live| Some(&self.0.get(&live.stream.flow.key)?.1));
        let inherited = || {
            let options = &live?.stream.options;
            let asked = options.condition_on_previous_text;
            options.resume.as_ref().filter(|_| asked)?.previous.as_ref()
        };
        let Some(text) = known.or_else(inherited) else {
            return initial.map(ToOwned::to_owned);
        };
        Some(match initial {
            Some(initial) => format!("{initial} {text}"),
            None => text.clone(),
        })
    }

    /// An utterance has its text.
    pub fn keep(&mut self, live: &Live, text: &str) {
        if !live.stream.options.condition_on_previous_text || text.trim().is_empty() {
            return;
        }
        self.0.retain(|_, (stream, _)| stream.strong_count() > 0);
        let text = text.trim().to_owned();
        let stream = Arc::downgrade(&live.stream);
        self.0.insert(live.stream.flow.key, (stream, text));
    }
}
