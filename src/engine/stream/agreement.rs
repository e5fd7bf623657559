//! Which words of a growing utterance stay: those on which two hypotheses in a row agree
//! (LocalAgreement-2 of Macháček et al., "Turning Whisper into Real-Time Transcription System",
//! section 2.1). Pure.

/// The hypotheses of the part of an utterance that has no final text yet.
#[derive(Default)]
pub struct Agreement {
    /// Words that stay, each with what stands before it.
    committed: Vec<String>,
    /// What the last hypothesis had behind them.
    tentative: Vec<String>,
    /// What stands behind them in the last hypothesis that could not be cut.
    uncut: Vec<String>,
}

impl Agreement {
    /// Takes the next hypothesis, of all of the part. Its last words may come to lie behind a cut if
    /// it `may_be_cut`, and then none are committed that earlier hypotheses have not had.
    pub fn hear(&mut self, text: &str, may_be_cut: bool) {
        let words: Vec<&str> = words(text.trim_end()).collect();
        let behind = &words[self.aligned(&words)..];
        let agreed = self
            .tentative
            .iter()
            .zip(behind)
            .take_while(|(before, now)| same(before, now))
            .count();
        if !may_be_cut {
            self.uncut = behind.iter().copied().map(String::from).collect();
        }
        let is_uncut = |(uncut, now): &(&String, &&str)| same(uncut, now);
        let uncut = self.uncut.iter().zip(behind).take_while(is_uncut).count();
        let (agreed, rest) = behind.split_at(agreed.min(uncut));
        self.uncut.drain(..agreed.len());
        self.committed
            .extend(agreed.iter().copied().map(String::from));
        self.tentative = rest.iter().copied().map(String::from).collect();
    }

    /// What stays.
    pub fn committed(&self) -> String {
        self.committed.concat()
    }

    /// What may change, and goes on behind it.
    pub fn tentative(&self) -> String {
        self.tentative.concat()
    }

    /// The part has its text, a string for each segment: where the committed words are others, or
    /// written in another way, they stay as they were told. The part is over.
    pub fn settle(&mut self, texts: &mut Vec<String>) {
        let Self { committed, .. } = std::mem::take(self);
        if !begins_with(&texts.concat(), &committed.concat()) {
            keep(&committed, texts);
        }
    }

    /// How many words of the hypothesis stand for the committed ones.
    fn aligned(&self, words: &[&str]) -> usize {
        let committed = &self.committed;
        let begins =
            words.len() >= committed.len() && committed.iter().zip(words).all(|(a, b)| same(a, b));
        if begins {
            committed.len()
        } else {
            align(committed, words)
        }
    }
}

/// The beginning of `words` that is the fewest changes away from `committed`.
pub fn align(committed: &[String], words: &[&str]) -> usize {
    // A row of the table of edit distances: from the committed words so far to each beginning.
    let mut row: Vec<usize> = (0..=words.len()).collect();
    for (index, word) in committed.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for at in 1..row.len() {
            let changed = diagonal + usize::from(!same(word, words[at - 1]));
            diagonal = row[at];
            row[at] = changed.min(row[at] + 1).min(row[at - 1] + 1);
        }
    }
    let ranked = row.iter().enumerate();
    ranked
        .min_by_key(|(at, distance)| (**distance, at.abs_diff(committed.len())))
        .map_or(0, |(at, _)| at)
}

/// Puts the committed words in the place of those that stand for them in a text, which has a string
/// for each segment.
pub fn keep(committed: &[String], texts: &mut Vec<String>) {
    if committed.is_empty() {
        return;
    }
    // Each word of the text with its segment.
    let owned: Vec<(usize, String)> = texts
        .iter()
        .enumerate()
        .flat_map(|(segment, text)| words(text).map(move |word| (segment, word.to_owned())))
        .collect();
    let plain: Vec<&str> = owned.iter().map(|(_, word)| word.as_str()).collect();
    let replaced = align(committed, &plain);
    texts.resize(texts.len().max(1), String::new());
    texts.iter_mut().for_each(String::clear);
    for (index, word) in committed.iter().enumerate() {
        // In the segment of the word whose place it takes.
        let place = (index * replaced / committed.len()).min(replaced.saturating_sub(1));
        let segment = owned.get(place).map_or(0, |(segment, _)| *segment);
        texts[segment].push_str(word);
    }
    for (segment, word) in &owned[replaced..] {
        texts[*segment].push_str(word);
    }
}

fn begins_with(text: &str, committed: &str) -> bool {
    let rest = text.strip_prefix(committed);
    // Not in the middle of a word.
    rest.is_some_and(|rest| {
        rest.is_empty() || words(text).any(|word| word.as_ptr() == rest.as_ptr())
    })
}

/// The words of a text, each with the white space before it; the characters one by one in writing
/// that has no spaces.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut characters = rest.char_indices();
        let (_, first) = characters
            .by_ref()
            .find(|(_, c)| !c.is_whitespace())
            .or_else(|| {
                // White space alone.
                rest.chars().next().map(|c| (0, c))
            })?;
        let end = characters
            .find(|(_, c)| c.is_whitespace() || is_unspaced(first) || is_unspaced(*c))
            .map_or(rest.len(), |(at, _)| at);
        let (word, behind) = rest.split_at(end);
        rest = behind;
        Some(word)
    })
}

/// Whether it belongs to a writing without spaces between words: Thai, Lao, Burmese, Khmer, kana
/// and Han.
fn is_unspaced(character: char) -> bool {
    matches!(character,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

/// Whether two words are the same but for case and punctuation.
fn same(one: &str, other: &str) -> bool {
    let spoken = |word: &str| -> String {
        let letters = word.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let (one_spoken, other_spoken) = (spoken(one), spoken(other));
    if one_spoken.is_empty() {
        return one.trim() == other.trim();
    }
    one_spoken == other_spoken
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is committed and tentative after each hypothesis.
    fn told(hypotheses: &[&str]) -> Vec<(String, String)> {
        let mut agreement = Agreement::default();
        hypotheses
            .iter()
            .map(|text| {
                agreement.hear(text, false);
                (agreement.committed(), agreement.tentative())
            })
            .collect()
    }

    fn pair(committed: &str, tentative: &str) -> (String, String) {
        (committed.into(), tentative.into())
    }

    #[test]
    fn what_two_hypotheses_agree_on_stays() {
        assert_eq!(
            told(&[
                " And so",
                " And so, my fell",
                " And so my fellow Americans."
            ]),
            [
                pair("", " And so"),
                pair(" And so,", " my fell"),
                pair(" And so, my", " fellow Americans."),
            ]
        );
    }

    #[test]
    fn committed_words_stay_when_later_hypotheses_have_others() {
        assert_eq!(
            told(&[
                " the cat sat",
                " the cat sat down",
                " a cat sat down and",
                " cats sat down and ate"
            ]),
            [
                pair("", " the cat sat"),
                pair(" the cat sat", " down"),
                pair(" the cat sat down", " and"),
                pair(" the cat sat down and", " ate"),
            ]
        );
    }

    #[test]
    fn a_hypothesis_of_nothing_takes_nothing_back() {
        assert_eq!(
            told(&[" one two", " one two three", "", " one two three"])[2..],
            [pair(" one two", ""), pair(" one two", " three")]
        );
    }

    #[test]
    fn words_that_may_be_cut_off_are_not_committed() {
        let mut agreement = Agreement::default();
        agreement.hear(" one two", false);
        for _ in 0..3 {
            agreement.hear(" one two three four", true);
        }
        assert_eq!(agreement.committed(), " one two");
        assert_eq!(agreement.tentative(), " three four");
        // Another word in the place of one that was sure not to be cut off.
        agreement.hear(" one two five", false);
        agreement.hear(" one two three four", true);
        agreement.hear(" one two three four", true);
        assert_eq!(agreement.committed(), " one two");
        agreement.settle(&mut vec![" one two three".into()]);
        agreement.hear(" four", true);
        agreement.hear(" four", true);
        assert_eq!(agreement.committed(), "");
    }

    #[test]
    fn writing_without_spaces_is_committed_character_by_character() {
        assert_eq!(told(&["你好世", "你好世界 OK"])[1], pair("你好世", "界 OK"));
    }

    #[test]
    fn words_are_the_text_cut_up() {
        for text in ["", " ", " a  b\n c ", "你好, world 世", "—", " a—b"] {
            assert_eq!(words(text).collect::<String>(), text);
        }
        assert_eq!(words(" a  b ").collect::<Vec<_>>(), [" a", "  b", " "]);
    }

    fn settled(hypotheses: &[&str], texts: &[&str]) -> Vec<String> {
        let mut agreement = Agreement::default();
        for text in hypotheses {
            agreement.hear(text, false);
        }
        let mut texts: Vec<String> = texts.iter().copied().map(String::from).collect();
        agreement.settle(&mut texts);
        assert_eq!(
            (agreement.committed(), agreement.tentative()),
            Default::default()
        );
        texts
    }

    #[test]
    fn the_final_text_begins_with_what_was_committed() {
        let twice = [" and so my friend", " and so my friend was"];
        assert_eq!(
            settled(&twice, &[" and so my friend was there."]),
            [" and so my friend was there."]
        );
        // Written otherwise.
        assert_eq!(
            settled(&twice, &[" And so,", " my friend was", " there."]),
            [" and so", " my friend was", " there."]
        );
        // Heard otherwise.
        assert_eq!(
            settled(&twice, &[" And so the friend", " were there."]),
            [" and so my friend", " were there."]
        );
        // Not heard at all.
        assert_eq!(settled(&twice, &[]), [" and so my friend"]);
        assert_eq!(settled(&twice, &[""]), [" and so my friend"]);
        assert_eq!(settled(&[], &[" all", " new"]), [" all", " new"]);
        // A word that only begins like it.
        assert_eq!(
            settled(&twice, &[" and so my friendly house"]),
            [" and so my friend house"]
        );
    }

    /// Whatever the hypotheses are: what was committed is how all that comes later begins.
    #[test]
    fn committed_text_only_grows_and_the_final_text_begins_with_it() {
        let mut number = 1_u64;
        let mut random = |below: u64| {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (number >> 33) % below
        };
        for _ in 0..2000 {
            let mut agreement = Agreement::default();
            let mut before = String::new();
            let text = |random: &mut dyn FnMut(u64) -> u64| -> String {
                let count = random(9);
                (0..count)
                    .map(|_| [" a", " b", " B,", " c", "你", " —"][random(6) as usize])
                    .collect()
            };
            for _ in 0..6 {
                agreement.hear(&text(&mut random), random(2) == 0);
                let committed = agreement.committed();
                assert!(committed.starts_with(&before));
                before = committed;
            }
            let mut texts: Vec<String> = (0..random(3)).map(|_| text(&mut random)).collect();
            agreement.settle(&mut texts);
            let whole = texts.concat();
            assert!(
                whole.trim_start().starts_with(before.trim_start()),
                "{before:?} {whole:?}"
            );
        }
    }
}
