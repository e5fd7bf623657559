//! A better text than the greedy one, where that is improbable: limited discrepancy search (Harvey and
//! Ginsberg, 1995). Where the decoder hesitated between two words it goes the other way, once a text,
//! and the more probable text stays. Beams try the same for every word of every text, with several
//! decoders side by side. Pure, but for the network.

use std::collections::HashSet;

use super::greedy::{self, Decoded, End, Limits, Network};
use super::guard::MIN_AVG_LOG_PROB_SIZED;
use super::rules::{Token, Vocabulary};
use super::timestamps;
use crate::error::Result;

/// A text with less than this mean log probability is looked at again. Here and below: natural
/// logarithms, chosen on 207 recordings (docs/benchmarks.md).
const UNSURE: f32 = -0.4;
/// One of this many tokens or more only where it is heard in the full window otherwise: each way costs the
/// rest of the text, and one word hardly changes a long mean. Looks at all of them took three tenths of the
/// time of a hard speaker's recording of 101 s, and of 16,473 words two more were right, net.
const LONG: usize = 40;
/// Other ways that are tried for a window, at most.
const MAX_FORKS: usize = 8;
/// Further behind than this the other word was no choice.
const MAX_GAP: f32 = 1.0;
/// Another way that falls behind by this is given up.
const MAX_LAG: f32 = 1.0;
/// The mean rises by this much at least, or the text stays: less is chance.
const MIN_GAIN: f32 = 0.03;
/// It ends at most this much earlier, and has four fifths of the tokens, or something was left out.
const MAX_LOST_MS: i64 = 500;

/// Decodes until the text ends, as [`greedy::decode`] does, and looks for a more probable text if that
/// one is unsure.
pub fn decode(
    network: &mut impl Network,
    vocabulary: &Vocabulary,
    limits: Limits,
) -> Result<Decoded> {
    let mut best = greedy::decode(network, vocabulary, limits)?;
    let mut tried = HashSet::new();
    while best.end == End::Complete && is_unsure(&best.tokens, vocabulary) {
        match better(network, vocabulary, limits, &best, &mut tried)? {
            Some(better) => best = better,
            None => break,
        }
    }
    Ok(best)
}

fn is_unsure(text: &[Token], vocabulary: &Vocabulary) -> bool {
    let least = if text.len() < LONG {
        UNSURE
    } else {
        MIN_AVG_LOG_PROB_SIZED
    };
    mean_log_prob(text, vocabulary) < least
}

/// The first text that is more probable than `best`, which the network holds.
fn better(
    network: &mut impl Network,
    vocabulary: &Vocabulary,
    limits: Limits,
    best: &Decoded,
    tried: &mut HashSet<Vec<i32>>,
) -> Result<Option<Decoded>> {
    let sums: Vec<f32> = running_sums(&best.tokens).collect();
    let is_wanted = |tokens: &[Token]| {
        let before = sums.get(tokens.len() - 1).or(sums.last());
        before.is_none_or(|before| running_sums(tokens).last() >= Some(before - MAX_LAG))
    };
    for (position, other) in forks(best, tried) {
        tried.insert(ids(&best.tokens[..position], other));
        network.rewind(position);
        let before = (
            best.tokens[..position].to_vec(),
            best.runners_up[..position].to_vec(),
        );
        let next = (other, None);
        let text = greedy::follow(network, vocabulary, limits, before, next, is_wanted)?;
        if text.end == End::Complete && is_better(&text.tokens, &best.tokens, vocabulary) {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// Whether `text` is more probable than `other`, and tells as much. A mean alone prefers texts with more
/// easy tokens, a sum alone those with fewer tokens, and both one that stops before a difficult end.
fn is_better(text: &[Token], other: &[Token], vocabulary: &Vocabulary) -> bool {
    let reach = |tokens| timestamps::heard_ms(tokens, vocabulary, i64::MAX);
    let words = |tokens: &[Token]| tokens.iter().filter(|t| vocabulary.is_text(t.id)).count();
    mean_log_prob(text, vocabulary) > mean_log_prob(other, vocabulary) + MIN_GAIN
        && running_sums(text).last() > running_sums(other).last()
        && reach(text).saturating_add(MAX_LOST_MS) >= reach(other)
        && words(text) + words(text) / 4 >= words(other)
}

/// Where the decoder hesitated most, and with what, as often as it may still be tried; the latest
/// first, for the network holds what comes before.
fn forks(text: &Decoded, tried: &HashSet<Vec<i32>>) -> Vec<(usize, Token)> {
    let pairs = text.tokens.iter().zip(&text.runners_up).enumerate();
    let mut forks: Vec<(f32, usize, Token)> = pairs
        .filter_map(|(position, (token, other))| {
            let other = (*other)?;
            let gap = token.log_prob - other.log_prob;
            let is_new = !tried.contains(&ids(&text.tokens[..position], other));
            (gap < MAX_GAP && is_new).then_some((gap, position, other))
        })
        .collect();
    forks.sort_by(|one, another| one.0.total_cmp(&another.0));
    forks.truncate(MAX_FORKS.saturating_sub(tried.len()));
    forks.sort_by_key(|&(_, position, _)| std::cmp::Reverse(position));
    let fork = |(_, position, other)| (position, other);
    forks.into_iter().map(fork).collect()
}

fn ids(before: &[Token], other: Token) -> Vec<i32> {
    let tokens = before.iter().chain([&other]);
    tokens.map(|token| token.id).collect()
}

fn running_sums(tokens: &[Token]) -> impl Iterator<Item = f32> {
    tokens.iter().scan(0.0, |sum, token| {
        *sum += token.log_prob;
        Some(*sum)
    })
}

fn mean_log_prob(tokens: &[Token], vocabulary: &Vocabulary) -> f32 {
    let texts = tokens.iter().filter(|token| vocabulary.is_text(token.id));
    let (count, sum) = texts.fold((0, 0.0), |(count, sum), token| {
        (count + 1, sum + token.log_prob)
    });
    sum / count.max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const END_OF_TEXT: i32 = 100;
    const FIRST_TIME: i32 = 110;
    const UNNAMED: std::ops::Range<usize> = 20..100;
    const LIMITS: Limits = Limits {
        audio_ms: 5000,
        tokens: 50,
    };

    /// What may follow which tokens, and how probably.
    type Branch<'tree> = (&'tree [i32], &'tree [(i32, f32)]);

    /// Knows how probable each text is.
    struct Tree<'tree> {
        branches: &'tree [Branch<'tree>],
        fed: Vec<i32>,
        feeds: usize,
        logits: Vec<f32>,
    }

    impl<'tree> Tree<'tree> {
        fn new(branches: &'tree [Branch<'tree>]) -> Self {
            Self {
                branches,
                fed: Vec::new(),
                feeds: 0,
                logits: Vec::new(),
            }
        }

        /// What is not named shares the rest; where nothing is named the text ends.
        fn want(&mut self) -> &mut [f32] {
            let known = self.branches.iter().find(|(before, _)| *before == self.fed);
            let next = known.map_or([(END_OF_TEXT, 1.0)].as_slice(), |(_, next)| next);
            let rest = 1.0 - next.iter().map(|(_, share)| share).sum::<f32>();
            self.logits = vec![f32::NEG_INFINITY; FIRST_TIME as usize + 1501];
            self.logits[UNNAMED].fill((rest / UNNAMED.len() as f32).ln());
            for (id, share) in next {
                self.logits[*id as usize] = share.ln();
            }
            &mut self.logits
        }
    }

    impl Network for Tree<'_> {
        fn first(&mut self) -> Result<&mut [f32]> {
            Ok(self.want())
        }

        fn feed(&mut self, token: i32) -> Result<&mut [f32]> {
            self.fed.push(token);
            self.feeds += 1;
            Ok(self.want())
        }

        fn rewind(&mut self, kept: usize) {
            assert!(kept <= self.fed.len(), "it was never fed that much");
            self.fed.truncate(kept);
        }
    }

    fn look(branches: &[Branch<'_>]) -> (Vec<i32>, usize) {
        let vocabulary = Vocabulary::new(END_OF_TEXT, FIRST_TIME, 105, true, |_| b" w");
        let mut network = Tree::new(branches);
        let decoded = decode(&mut network, &vocabulary, LIMITS).unwrap();
        assert_eq!(decoded.tokens.len(), decoded.runners_up.len());
        let ids = decoded.tokens.iter().map(|token| token.id).collect();
        (ids, network.feeds)
    }

    #[test]
    fn the_other_word_is_taken_where_it_leads_to_the_more_probable_text() {
        let (ids, _) = look(&[
            (&[], &[(1, 0.5), (2, 0.4)]),
            (&[1], &[(3, 0.3), (4, 0.2)]),
            (&[2], &[(5, 1.0)]),
        ]);
        assert_eq!(ids, [2, 5]);
    }

    #[test]
    fn two_words_may_be_wrong() {
        let (ids, _) = look(&[
            (&[], &[(1, 0.5), (2, 0.4)]),
            (&[1], &[(3, 0.2), (4, 0.1)]),
            (&[2], &[(5, 0.5), (6, 0.45)]),
            (&[2, 5], &[(7, 0.8)]),
            (&[2, 6], &[(7, 1.0)]),
        ]);
        assert_eq!(ids, [2, 6, 7]);
    }

    #[test]
    fn a_text_that_leaves_out_a_difficult_end_is_not_better() {
        let branches: &[Branch<'_>] = &[
            (&[], &[(1, 0.9)]),
            (&[1], &[(2, 0.5), (3, 0.4)]),
            (&[1, 2], &[(4, 0.4)]),
            (&[1, 2, 4], &[(5, 0.4)]),
        ];
        assert_eq!(look(branches).0, [1, 2, 4, 5]);
        let early = FIRST_TIME + 100;
        let late = FIRST_TIME + 200;
        let timed: &[Branch<'_>] = &[
            (&[], &[(1, 0.5), (2, 0.4)]),
            (&[1], &[(3, 0.3)]),
            (&[1, 3], &[(late, 1.0)]),
            (&[2], &[(4, 0.9)]),
            (&[2, 4], &[(early, 1.0)]),
        ];
        assert_eq!(look(timed).0, [1, 3, late]);
    }

    #[test]
    fn neither_more_easy_words_nor_a_chance_of_a_difference_is_a_better_text() {
        let longer: &[Branch<'_>] = &[
            (&[], &[(1, 0.5), (2, 0.4)]),
            (&[2], &[(5, 0.95)]),
            (&[2, 5], &[(6, 0.95)]),
        ];
        assert_eq!(look(longer).0, [1]);
        let close: &[Branch<'_>] = &[
            (&[], &[(1, 0.5), (2, 0.49)]),
            (&[1], &[(3, 0.4)]),
            (&[2], &[(5, 0.41)]),
        ];
        assert_eq!(look(close).0, [1, 3]);
    }

    #[test]
    fn a_text_that_is_sure_is_not_looked_at_again() {
        let sure: &[Branch<'_>] = &[
            (&[], &[(1, 0.7), (2, 0.3)]),
            (&[1], &[(3, 0.8), (4, 0.2)]),
            (&[2], &[(5, 1.0)]),
        ];
        assert_eq!(look(sure), (vec![1, 3], 2));
    }

    #[test]
    fn a_long_text_is_looked_at_again_only_where_it_is_the_more_unsure() {
        let words: Vec<i32> = (0..LONG as i32).collect();
        let others: Vec<i32> = words.iter().map(|word| word + 50).collect();
        for (length, share, taken, all_feeds) in [
            (LONG - 1, 0.6, &others, 2 * (LONG - 1)),
            (LONG, 0.6, &words, LONG),
            (LONG, 0.5, &others, 2 * LONG),
        ] {
            let fork = [(words[0], share), (others[0], 0.35)];
            let next = |text: &[i32], share| text.iter().map(|&id| [(id, share)]).collect();
            let (unsure, sure): (Vec<_>, Vec<_>) = (next(&words, share), next(&others, 0.9));
            let mut branches: Vec<Branch<'_>> = vec![(&[], &fork)];
            for fed in 1..length {
                branches.push((&words[..fed], &unsure[fed]));
                branches.push((&others[..fed], &sure[fed]));
            }
            let (ids, feeds) = look(&branches);
            assert_eq!((ids.as_slice(), feeds), (&taken[..length], all_feeds));
        }
    }

    #[test]
    fn a_way_that_falls_behind_is_given_up() {
        let (ids, feeds) = look(&[
            (&[], &[(1, 0.5), (2, 0.4)]),
            (&[1], &[(3, 0.5)]),
            (&[1, 3], &[(4, 0.5)]),
            (&[2], &[(5, 0.1)]),
            (&[2, 5], &[(6, 1.0)]),
            (&[2, 5, 6], &[(7, 1.0)]),
        ]);
        assert_eq!((ids, feeds), (vec![1, 3, 4], 3 + 1));
    }

    #[test]
    fn no_word_is_exchanged_for_the_end_of_the_text_or_a_time() {
        for other in [END_OF_TEXT, FIRST_TIME] {
            let (ids, feeds) = look(&[
                (&[], &[(1, 0.6)]),
                (&[1], &[(2, 0.5), (other, 0.4)]),
                (&[1, 2], &[(3, 0.5)]),
            ]);
            assert_eq!((ids, feeds), (vec![1, 2, 3], 3), "{other}");
        }
    }

    #[test]
    fn the_ways_that_are_tried_are_few_and_the_least_bad_and_the_latest_first() {
        let token = |id: i32, log_prob: f32| Token { id, log_prob };
        let text = Decoded {
            tokens: (0..30).map(|id| token(id, -0.5)).collect(),
            runners_up: (0..30)
                .map(|id| (id != 7).then(|| token(id + 40, -0.6 - 0.01 * id as f32)))
                .collect(),
            end: End::Complete,
        };
        let positions = |tried: &HashSet<Vec<i32>>| -> Vec<usize> {
            let forks = forks(&text, tried).into_iter();
            forks.map(|(position, _)| position).collect()
        };
        let mut tried = HashSet::new();
        assert_eq!(positions(&tried), [8, 6, 5, 4, 3, 2, 1, 0]);
        tried.insert(ids(&[], token(40, 0.0)));
        assert_eq!(positions(&tried), [8, 6, 5, 4, 3, 2, 1]);
        tried.extend((0..MAX_FORKS as i32).map(|id| vec![id]));
        assert!(positions(&tried).is_empty());
    }
}
