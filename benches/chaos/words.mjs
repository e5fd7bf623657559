// How far one text is from another. Pure.

function words(text) {
  return text.toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? [];
}

/** Edits that make one of the other, in percent of its words; any edit of no words is all of them. */
export function wordErrorRate(said, heard) {
  const reference = words(said);
  const hypothesis = words(heard);
  // One row of the Levenshtein matrix after the other.
  let row = Array.from({ length: hypothesis.length + 1 }, (_, column) => column);
  for (const [line, word] of reference.entries()) {
    const next = [line + 1];
    for (const [column, other] of hypothesis.entries()) {
      const instead = row[column] + (word === other ? 0 : 1);
      next.push(Math.min(instead, row[column + 1] + 1, next[column] + 1));
    }
    row = next;
  }
  return (100 * row.at(-1)) / Math.max(1, reference.length);
}
