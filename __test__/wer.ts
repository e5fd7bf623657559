/** Word error rate: edits to turn what was heard into what was said, per word said. */

/** Lower case, no punctuation, spelling variants of the references unified. */
export function normalize(text: string): string[] {
  return text
    .toLowerCase()
    .normalize('NFC')
    .replace(/[’‘]/g, "'")
    .replace(/[^\p{L}\p{N}' ]+/gu, ' ')
    .replace(/\bthere under\b/g, 'thereunder')
    .replace(/\beveryone\b/g, 'every one')
    .replace(/\bcounseled\b/g, 'counselled')
    .split(/\s+/)
    .filter((word) => word !== '');
}

export function wordErrors(said: string, heard: string): { errors: number; words: number } {
  const reference = normalize(said);
  const hypothesis = normalize(heard);
  // One row of the Levenshtein matrix: edits from the reference so far to each prefix.
  let row = hypothesis.map((_, index) => index + 1);
  row.unshift(0);
  for (const [line, word] of reference.entries()) {
    const next = [line + 1];
    for (const [column, other] of hypothesis.entries()) {
      const substituted = (row[column] as number) + (word === other ? 0 : 1);
      const deleted = (row[column + 1] as number) + 1;
      const inserted = (next[column] as number) + 1;
      next.push(Math.min(substituted, deleted, inserted));
    }
    row = next;
  }
  return { errors: row.at(-1) as number, words: reference.length };
}

/** Over several recordings, weighted by their words, in percent. */
export function wordErrorRate(pairs: Iterable<{ said: string; heard: string }>): number {
  let errors = 0;
  let words = 0;
  for (const { said, heard } of pairs) {
    const counted = wordErrors(said, heard);
    errors += counted.errors;
    words += counted.words;
  }
  return (100 * errors) / words;
}
