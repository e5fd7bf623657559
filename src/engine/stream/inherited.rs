//! What was committed of an utterance in the stream that this one goes on from: it stays. Pure.

use super::agreement::{align, keep, words};

/// The committed text, as far as no part of the utterance has taken it up.
pub struct Inherited {
    committed: String,
    rest: Vec<String>,
}

impl Inherited {
    pub fn new(committed: &str) -> Option<Self> {
        let rest: Vec<String> = words(committed).map(String::from).collect();
        (!rest.is_empty()).then(|| Self {
            committed: committed.to_owned(),
            rest,
        })
    }

    /// What to tell when the whole utterance is heard as `text`. No more is committed before its
    /// end: the hypotheses that this was agreed on by are gone.
    pub fn tell(&self, text: &str) -> (String, String) {
        let committed: Vec<String> = words(&self.committed).map(String::from).collect();
        let heard: Vec<&str> = words(text.trim_end()).collect();
        let behind = heard[align(&committed, &heard)..].concat();
        (self.committed.clone(), behind)
    }

    /// A part of the utterance has its text: it begins with what of the committed words is its own.
    pub fn settle(&mut self, texts: &mut Vec<String>) {
        let whole = texts.concat();
        let heard: Vec<String> = words(&whole).map(String::from).collect();
        let rest: Vec<&str> = self.rest.iter().map(String::as_str).collect();
        let own = align(&heard, &rest);
        if own == self.rest.len() {
            keep(&self.rest, texts);
        } else if own > 0 {
            // The others follow in the next part, and nothing comes between them.
            texts.truncate(1);
            texts[0] = self.rest[..own].concat();
        }
        self.rest.drain(..own);
    }

    /// What no part has taken up, for the end of the text.
    pub fn finish(self) -> String {
        self.rest.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The final text of an utterance of such parts.
    fn settled(committed: &str, parts: &[&[&str]]) -> String {
        let mut inherited = Inherited::new(committed).unwrap();
        let mut text = String::new();
        for part in parts {
            let mut texts: Vec<String> = part.iter().map(|text| (*text).to_owned()).collect();
            inherited.settle(&mut texts);
            text.push_str(&texts.concat());
        }
        text + &inherited.finish()
    }

    #[test]
    fn interim_text_begins_with_what_was_committed_and_goes_on_behind_it() {
        let inherited = Inherited::new("And so, my fellow").unwrap();
        let told = |text| inherited.tell(text);
        let committed = "And so, my fellow".to_owned();
        assert_eq!(told(" And so"), (committed.clone(), String::new()));
        assert_eq!(
            told(" and so my fellow Americans"),
            (committed.clone(), " Americans".into())
        );
        assert_eq!(
            told(" And so the fellow Americans"),
            (committed, " Americans".into())
        );
        assert!(Inherited::new("").is_none());
    }

    #[test]
    fn the_final_text_begins_with_what_was_committed_however_it_is_divided() {
        let committed = "And so, my fellow Americans";
        for parts in [
            &[&[" and so my fellow Americans", " ask not"] as &[&str]] as &[&[&str]],
            &[&[" And so, my fellow"], &[" Americans, ask not"]],
            &[&[" And so"], &[" my friend"], &[" Americans, ask not"]],
            &[&[" Andes", " so many fellow"], &[" American, ask not"]],
        ] {
            assert_eq!(
                settled(committed, parts),
                "And so, my fellow Americans ask not",
                "{parts:?}"
            );
        }
    }

    #[test]
    fn what_is_not_heard_again_stays_all_the_same() {
        let committed = "And so, my fellow";
        assert_eq!(settled(committed, &[]), committed);
        assert_eq!(settled(committed, &[&[]]), committed);
        assert_eq!(settled(committed, &[&[""]]), committed);
        assert_eq!(settled(committed, &[&[" And so"], &[]]), committed);
    }
}
