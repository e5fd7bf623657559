/** Word error rate: edits to turn what was heard into what was said, per word said. */

import { digits } from './numbers';

export interface WordErrors {
  errors: number;
  substitutions: number;
  deletions: number;
  insertions: number;
  words: number;
}

export interface Pair {
  said: string;
  heard: string;
  /** Default: English. */
  language?: string | null;
}

/**
 * Lower case, no punctuation, spelling variants of the references unified; in English numbers are
 * digits, and contractions and titles are written out.
 */
export function normalize(text: string, language: string | null = 'en'): string[] {
  const lower = text.toLowerCase().normalize('NFC').replace(/[’‘]/g, "'");
  const english = language === 'en';
  const words = (english ? writtenOut(lower) : lower)
    .replace(/[^\p{L}\p{N}' ]+/gu, ' ')
    .replace(/\bthere under\b/g, 'thereunder')
    .replace(/\beveryone\b/g, 'every one')
    .replace(/\bcounseled\b/g, 'counselled')
    .split(/\s+/)
    .filter((word) => word !== '');
  return english ? digits(words) : words;
}

/** What can be read in one way only: 's and 'd stay, as they may be several words. */
function writtenOut(text: string): string {
  return text
    .replace(/(?<=\d),(?=\d{3}\b)/g, '')
    .replace(/(?<=\d)\.(?=\d)/g, ' point ')
    .replace(/\$(\d+)/g, '$1 dollars')
    .replace(/(?<=\d) ?%/g, ' percent')
    .replace(/\bper cent\b/g, 'percent')
    .replace(/\bmr\b/g, 'mister')
    .replace(/\bmrs\b/g, 'missus')
    .replace(/\bdr\b/g, 'doctor')
    .replace(/\bwon't\b/g, 'will not')
    .replace(/\b(?:can't|cannot)\b/g, 'can not')
    .replace(/\blet's\b/g, 'let us')
    .replace(/n't\b/g, ' not')
    .replace(/'re\b/g, ' are')
    .replace(/'ll\b/g, ' will')
    .replace(/'ve\b/g, ' have')
    .replace(/\bi'm\b/g, 'i am');
}

export function wordErrors(said: string, heard: string, language?: string | null): WordErrors {
  const reference = normalize(said, language);
  const hypothesis = normalize(heard, language);
  // One row of the Levenshtein matrix: the way from the reference so far to each prefix.
  let row: Way[] = [{ errors: 0, substitutions: 0, deletions: 0, insertions: 0 }];
  for (const _ of hypothesis) row.push(step(row.at(-1) as Way, 'insertions'));
  for (const word of reference) {
    const next = [step(row[0] as Way, 'deletions')];
    for (const [column, other] of hypothesis.entries()) {
      const along = row[column] as Way;
      const above = row[column + 1] as Way;
      const before = next[column] as Way;
      // Ways cost memory: only the one that is taken is made.
      if (word === other) next.push(along);
      else if (along.errors <= Math.min(above.errors, before.errors)) {
        next.push(step(along, 'substitutions'));
      } else if (above.errors <= before.errors) next.push(step(above, 'deletions'));
      else next.push(step(before, 'insertions'));
    }
    row = next;
  }
  return { ...(row.at(-1) as Way), words: reference.length };
}

type Way = Omit<WordErrors, 'words'>;

function step(way: Way, kind: 'substitutions' | 'deletions' | 'insertions'): Way {
  return { ...way, errors: way.errors + 1, [kind]: way[kind] + 1 };
}

/** Over several recordings, weighted by their words, in percent. */
export function wordErrorRate(pairs: Iterable<Pair>): number {
  let errors = 0;
  let words = 0;
  for (const { said, heard, language } of pairs) {
    const counted = wordErrors(said, heard, language);
    errors += counted.errors;
    words += counted.words;
  }
  return (100 * errors) / words;
}
