//! An utterance on the GPU thread while it is being spoken: its interim text.

use std::ops::Range;

use super::agreement::Agreement;
use super::inherited::Inherited;
use super::{Live, StreamEvent};
use crate::audio::SAMPLE_RATE_HZ;
use crate::cancel::Cancel;
use crate::engine::text::append;
use crate::whisper::{Recognition, WindowSegment};

/// New audio from which another interim is worth its time.
const INTERIM_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 2;
/// Nor sooner than after so many times what the last one took: one stream does not take the device
/// from the others, nor from its own final text.
const REST: f64 = 3.0;
/// Less is not heard well enough to begin with.
const FIRST_INTERIM_SAMPLES: usize = SAMPLE_RATE_HZ as usize;

/// What an utterance has grown by.
pub(in crate::engine) struct Growth {
    /// Where the part begins that has no final text.
    pub part: usize,
    /// Behind what came before of the same part.
    pub audio: Vec<f32>,
    /// Probabilities of speech, one for each 32 ms of the part.
    pub speech: Vec<f32>,
    /// The pause has begun with which the utterance may end: then it ends here.
    pub settled: bool,
    /// The part may yet be cut before its end.
    pub may_be_cut: bool,
    /// Gives up the interim that it leads to.
    pub cancel: Cancel,
}

/// The part of an utterance that has no final text yet, and what was told of it.
pub(in crate::engine) struct Growing {
    live: Live,
    part: usize,
    audio: Vec<f32>,
    speech: Vec<f32>,
    settled: bool,
    may_be_cut: bool,
    cancel: Cancel,
    /// Samples of the part when its last interim began.
    tried: usize,
    /// New audio from which the next is worth its time.
    next: usize,
    rehearsal: Option<Rehearsal>,
    agreement: Agreement,
    inherited: Option<Inherited>,
    told: (String, String),
    /// Mean log probability and probability of no speech of the last interim with a text.
    believed: (f32, f32),
}

/// The text of the part as its final text will be made, before it is known to be over.
struct Rehearsal {
    range: Range<usize>,
    prompt: Option<String>,
    recognition: Recognition,
}

/// An interim to be made.
pub(in crate::engine) struct Interim {
    pub audio: Vec<f32>,
    pub speech: Vec<f32>,
    pub cancel: Cancel,
    /// With all that a final text is made with.
    pub rehearses: bool,
}

impl Growing {
    pub fn new(live: Live, cancel: &Cancel) -> Self {
        let resume = live.stream.options.resume.as_ref();
        let inherited = resume.and_then(|resume| {
            let index = live.utterance.checked_sub(resume.utterance)?;
            Inherited::new(resume.committed.get(index as usize)?)
        });
        Self {
            live,
            inherited,
            part: 0,
            audio: Vec::new(),
            speech: Vec::new(),
            settled: false,
            may_be_cut: false,
            cancel: cancel.part(),
            tried: 0,
            next: INTERIM_SAMPLES,
            rehearsal: None,
            agreement: Agreement::default(),
            told: Default::default(),
            believed: (0.0, 0.0),
        }
    }

    pub fn take(&mut self, growth: Growth) {
        if growth.part != self.part {
            self.part = growth.part;
            self.audio.clear();
            self.speech.clear();
            (self.tried, self.rehearsal) = (0, None);
        }
        self.audio.extend(growth.audio);
        self.speech.extend(growth.speech);
        (self.settled, self.may_be_cut) = (growth.settled, growth.may_be_cut);
        self.cancel = growth.cancel;
    }

    /// Whether another interim would tell something new.
    pub fn wants_interim(&self) -> bool {
        let grown = self.audio.len() - self.tried;
        let rehearsed = self.rehearsal.as_ref().map(|one| one.range.clone());
        let enough = self.audio.len() >= FIRST_INTERIM_SAMPLES && grown >= self.next;
        if self.settled {
            rehearsed != Some(self.range())
        } else {
            enough
        }
    }

    fn range(&self) -> Range<usize> {
        self.part..self.part + self.audio.len()
    }

    /// The next interim, of all that there is now.
    pub fn interim(&mut self) -> Interim {
        self.tried = self.audio.len();
        Interim {
            audio: self.audio.clone(),
            speech: self.speech.clone(),
            cancel: self.cancel.clone(),
            rehearses: self.settled,
        }
    }

    /// The interim has come to this text. `before` is that of the parts before this one.
    pub fn hear(&mut self, before: &str, text: &str) {
        if !text.is_empty() {
            self.agreement.hear(text, self.may_be_cut);
            self.tell(before);
        }
    }

    /// The interim was given up for what is more urgent.
    pub fn try_again(&mut self) {
        self.tried = 0;
    }

    /// The interim took so long.
    pub fn took(&mut self, ms: f64) {
        let rest = (REST * ms * f64::from(SAMPLE_RATE_HZ) / 1000.0) as usize;
        self.next = rest.max(INTERIM_SAMPLES);
    }

    /// Keeps of the interim what a final text may need.
    pub fn keep(&mut self, recognition: Recognition, interim: &Interim, prompt: Option<String>) {
        if let Some(first) = recognition.segments.first() {
            self.believed = (first.avg_log_prob, first.no_speech_probability);
        }
        if interim.rehearses {
            self.rehearsal = Some(Rehearsal {
                range: self.part..self.part + interim.audio.len(),
                prompt,
                recognition,
            });
        }
    }

    fn tell(&mut self, before: &str) {
        let (committed, tentative) = (self.agreement.committed(), self.agreement.tentative());
        let mut text = before.to_owned();
        append(&mut text, &committed, true);
        let stays = text.len();
        append(&mut text, &tentative, committed.is_empty());
        let (committed, tentative) = text.split_at(stays);
        // A final text begins without a space.
        let committed = committed.trim_start();
        let tentative = if committed.is_empty() {
            tentative.trim_start()
        } else {
            tentative
        };
        let now = match &self.inherited {
            Some(inherited) => inherited.tell(&text),
            None => (committed.to_owned(), tentative.to_owned()),
        };
        if now == self.told {
            return;
        }
        self.told = now.clone();
        self.live.stream.tell(StreamEvent::Interim {
            utterance: self.live.utterance,
            committed: now.0,
            tentative: now.1,
        });
    }

    /// The text of this very window, if it was made before the window was known.
    pub fn rehearsed(
        &mut self,
        spans: &[Range<usize>],
        prompt: Option<&str>,
    ) -> Option<Recognition> {
        let rehearsal = self.rehearsal.take()?;
        let same = spans == [rehearsal.range] && rehearsal.prompt.as_deref() == prompt;
        same.then_some(rehearsal.recognition)
    }

    /// The part has its final text, in which what was committed of it stays.
    pub fn settle(&mut self, segments: &mut Vec<WindowSegment>, window_ms: i64) {
        let mut texts: Vec<String> = segments.iter().map(|s| s.text.clone()).collect();
        match &mut self.inherited {
            Some(inherited) => inherited.settle(&mut texts),
            None => self.agreement.settle(&mut texts),
        }
        if segments.is_empty() && !texts.is_empty() {
            segments.push(WindowSegment {
                start_ms: 0,
                end_ms: window_ms,
                text: String::new(),
                avg_log_prob: self.believed.0,
                no_speech_probability: self.believed.1,
                words: None,
            });
        }
        segments.truncate(texts.len().max(1));
        for (segment, text) in segments.iter_mut().zip(texts) {
            if segment.text != text {
                rewrite(segment, text);
            }
        }
    }

    /// What was committed of the utterance and no part of it has taken up.
    pub fn finish(&mut self) -> Option<String> {
        let left = self.inherited.take().map(Inherited::finish);
        left.filter(|left| !left.is_empty())
    }
}

/// Gives a segment another text. Its words take it over, one for one; where there are more or fewer,
/// nobody knows when each was said, and none are better than those of a text that was not told.
fn rewrite(segment: &mut WindowSegment, text: String) {
    let told: Vec<&str> = text.split_whitespace().collect();
    match &mut segment.words {
        Some(words) if words.len() == told.len() => {
            for (word, told) in words.iter_mut().zip(told) {
                told.clone_into(&mut word.text);
            }
        }
        words => *words = None,
    }
    segment.text = text;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::flow::Flow;
    use crate::engine::handle::tests::shared;
    use crate::engine::stream::Stream;
    use crate::options::{Priority, StreamOptions, VadOptions};
    use crate::whisper::WindowWord;

    fn segment(words: &[&str]) -> WindowSegment {
        let word = |(at, text): (i64, &&str)| WindowWord {
            start_ms: at * 100,
            end_ms: at * 100 + 100,
            text: (*text).to_owned(),
            probability: 0.9,
        };
        WindowSegment {
            start_ms: 0,
            end_ms: 1000,
            text: format!(" {}", words.join(" ")),
            avg_log_prob: -0.1,
            no_speech_probability: 0.0,
            words: Some((0..).zip(words).map(word).collect()),
        }
    }

    /// The segments of a part of which two interims had this text.
    fn settled(interim: &str, mut segments: Vec<WindowSegment>) -> Vec<WindowSegment> {
        let cancel = Cancel::never();
        let flow = Flow::new("id".into(), Priority::Interactive, cancel.clone(), None);
        let vad = StreamOptions::vad_defaults(VadOptions::default());
        let options = StreamOptions::default();
        let stream = Stream::new(flow, options, vad, shared().info, Arc::new(drop));
        let live = Live {
            stream,
            utterance: 0,
        };
        let mut growing = Growing::new(live, &cancel);
        for _ in 0..2 {
            growing.hear("", interim);
        }
        growing.settle(&mut segments, 1000);
        segments
    }

    #[test]
    fn the_words_of_a_segment_spell_its_text_or_there_are_none() {
        for (interim, heard, told) in [
            (" one two", &["one", "two"], Some("one two")),
            (" One, two", &["one", "two"], Some("One, two")),
            (" won two", &["one", "two"], Some("won two")),
            (" some one two", &["one", "two"], None),
            (" one", &["one", "two"], Some("one two")),
        ] {
            let segments = settled(interim, vec![segment(heard)]);
            let words = segments[0].words.as_ref();
            let spelt = words.map(|words| {
                let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
                texts.join(" ")
            });
            assert_eq!(spelt.as_deref(), told, "{interim}");
            assert!(told.is_none_or(|told| segments[0].text.trim() == told));
        }
    }

    #[test]
    fn a_segment_whose_text_stays_keeps_its_words() {
        let said = vec![segment(&["one", "two"]), segment(&["three"])];
        assert_eq!(settled(" one", said.clone()), said);
        let changed = settled(" a one two", said.clone());
        assert_eq!((&changed[0].words, &changed[1]), (&None, &said[1]));
    }
}
