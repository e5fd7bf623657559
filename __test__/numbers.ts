/**
 * English number words as digits, so that "twenty-five", "25" and, for a year, "nineteen sixty
 * one" and "1961" are the same words whichever of them a model writes.
 */

const UNITS = words('one two three four five six seven eight nine', 1);
const TEENS = words(
  'ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen',
  10,
);
const TENS = words('twenty thirty forty fifty sixty seventy eighty ninety', 20, 10);
const SCALES = new Map([
  ['thousand', 1e3],
  ['million', 1e6],
  ['billion', 1e9],
]);
const ORDINALS = new Map(
  Object.entries({
    first: 'one',
    second: 'two',
    third: 'three',
    fifth: 'five',
    eighth: 'eight',
    ninth: 'nine',
    twelfth: 'twelve',
  }),
);

interface Read {
  value: number;
  ordinal: boolean;
  /** The index after the last word that was read. */
  end: number;
}

/** Replaces each longest run of words that is one number. */
export function digits(words: string[]): string[] {
  const result: string[] = [];
  for (let at = 0; at < words.length; ) {
    const read = readNumber(words, at);
    if (read === undefined) {
      result.push(words[at] as string);
      at += 1;
      continue;
    }
    let { value, end, ordinal } = read;
    const next = readNumber(words, end);
    // Years are said in two halves.
    if (isTwoDigits(read, at) && next !== undefined && isTwoDigits(next, end)) {
      value = value * 100 + next.value;
      end = next.end;
      ordinal = next.ordinal;
    }
    result.push(ordinal ? `${value}${suffix(value)}` : `${value}`);
    at = end;
  }
  return result;
}

function readNumber(words: string[], start: number): Read | undefined {
  let total = 0;
  let group: number | undefined;
  let scale = Number.POSITIVE_INFINITY;
  let ordinal = false;
  let at = start;
  for (; at < words.length && !ordinal; at += 1) {
    const word = words[at] as string;
    const follower = words[at + 1] ?? '';
    const base = cardinal(word);
    const small = UNITS.get(base) ?? TEENS.get(base) ?? TENS.get(base);
    if (small !== undefined) {
      const fits =
        group === undefined ||
        (group > 0 && group % 100 === 0) ||
        (small < 10 && TENS_VALUES.has(group % 100));
      if (!fits) break;
      group = (group ?? 0) + small;
    } else if (word === 'a' && group === undefined && at === start && isScale(follower)) {
      group = 1;
    } else if (base === 'hundred' && group !== undefined && group < 100) {
      group *= 100;
    } else if (SCALES.has(base) && group !== undefined && (SCALES.get(base) as number) < scale) {
      scale = SCALES.get(base) as number;
      total += group * scale;
      group = undefined;
    } else if (/^\d{1,3}$/.test(word) && group === undefined && SCALES.has(follower)) {
      group = Number(word);
    } else if (word === 'and' && isScale(words[at - 1] ?? '') && at > start && isSmall(follower)) {
      continue;
    } else {
      break;
    }
    ordinal = base !== word;
  }
  if (at === start) return undefined;
  return { value: total + (group ?? 0), ordinal, end: at };
}

/** "sixtieth" to "sixty"; any other word to itself. */
function cardinal(word: string): string {
  const irregular = ORDINALS.get(word);
  if (irregular !== undefined) return irregular;
  if (!word.endsWith('th')) return word;
  const stem = word.slice(0, -2).replace(/ie$/, 'y');
  return isSmall(stem) || isScale(stem) ? stem : word;
}

function isSmall(word: string): boolean {
  return UNITS.has(word) || TEENS.has(word) || TENS.has(word);
}

function isScale(word: string): boolean {
  return word === 'hundred' || SCALES.has(word);
}

/** One of two words at most: 19, or 61. */
function isTwoDigits({ value, end }: Read, start: number): boolean {
  return value > 9 && value < 100 && end - start <= 2;
}

function suffix(value: number): string {
  if (value % 100 > 10 && value % 100 < 14) return 'th';
  return ['th', 'st', 'nd', 'rd'][value % 10] ?? 'th';
}

function words(list: string, from: number, step = 1): Map<string, number> {
  return new Map(list.split(' ').map((word, index) => [word, from + index * step]));
}

const TENS_VALUES = new Set(TENS.values());
