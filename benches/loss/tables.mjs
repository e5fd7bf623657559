// Word errors by utterance, their paired differences, and the tables of run.mjs.

const RESAMPLES = 2000;

/**
 * Errors of each utterance of one recording: where several were joined, the alignment of the whole
 * text tells whose error it is. `inserted` counts the words that nobody said.
 */
export function errorsByUtterance(utterances, heard) {
  const said = utterances.flat();
  const owner = utterances.flatMap((words, index) => words.map(() => index));
  const counts = utterances.map((words) => ({ words: words.length, errors: 0, inserted: 0 }));
  const costs = costTable(said, heard);
  for (let line = said.length, column = heard.length; line > 0 || column > 0; ) {
    const cost = costs[line][column];
    const differs = said[line - 1] === heard[column - 1] ? 0 : 1;
    const count = counts[owner[Math.max(0, line - 1)]];
    if (line > 0 && column > 0 && cost === costs[line - 1][column - 1] + differs) {
      count.errors += differs;
      line -= 1;
      column -= 1;
    } else if (line > 0 && cost === costs[line - 1][column] + 1) {
      count.errors += 1;
      line -= 1;
    } else {
      count.errors += 1;
      count.inserted += 1;
      column -= 1;
    }
  }
  return counts;
}

/** Levenshtein's matrix: edits from the first `line` words said to the first `column` heard. */
function costTable(said, heard) {
  const costs = [Array.from({ length: heard.length + 1 }, (_, column) => column)];
  for (const word of said) {
    const above = costs.at(-1);
    const row = [above[0] + 1];
    for (const [column, other] of heard.entries()) {
      const kept = above[column] + (word === other ? 0 : 1);
      row.push(Math.min(kept, above[column + 1] + 1, row[column] + 1));
    }
    costs.push(row);
  }
  return costs;
}

export function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** In percent; `cells` are lists of counts by utterance. */
export function wordErrorRate(cells) {
  const counts = cells.flat();
  return (100 * sum(counts.map(({ errors }) => errors))) / sum(counts.map(({ words }) => words));
}

/**
 * What the second way changes, in points, with its 95 % interval. Pairs share stream, losses and
 * utterance. The bootstrap draws whole utterances, with all their conditions and seeds: those are
 * not independent.
 */
export function pairedDifference(pairs) {
  const byUtterance = pairs[0][0].map((_, index) => ({
    words: sum(pairs.map(([before]) => before[index].words)),
    change: sum(pairs.map(([before, after]) => after[index].errors - before[index].errors)),
  }));
  const points = (drawn) =>
    (100 * sum(drawn.map(({ change }) => change))) / sum(drawn.map(({ words }) => words));
  const random = generator(1);
  const resampled = Array.from({ length: RESAMPLES }, () =>
    points(byUtterance.map(() => byUtterance[Math.floor(random() * byUtterance.length)])),
  ).sort((a, b) => a - b);
  return {
    points: points(byUtterance),
    low: resampled[Math.floor(0.025 * RESAMPLES)],
    high: resampled[Math.floor(0.975 * RESAMPLES)],
    words: sum(byUtterance.map(({ words }) => words)),
  };
}

export function describe({ points, low, high, words }) {
  return [`${signed(points)} [${signed(low)}, ${signed(high)}]`, String(words)];
}

function signed(value) {
  return `${value < 0 ? '' : '+'}${value.toFixed(1)}`;
}

/** The linear congruential generator of Numerical Recipes: the same intervals each time. */
function generator(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

export function markdown(head, rows) {
  const lines = [head, head.map(() => '---'), ...rows];
  return `${lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`;
}
