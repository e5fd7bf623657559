// What is pure in the bench: classes by length, and what is made of the runs.

/** By seconds of audio, from the first that fits. */
export const CLASSES = ['under 3 s', '3–10 s', '10–30 s', '30–60 s', '1–10 min', 'over 10 min'];
const LIMITS_S = [3, 10, 30, 60, 600];
/** How the classes are called on the command line. */
export const CLASS_NAMES = ['under3', '3to10', '10to30', '30to60', '1to10min', 'over10min'];

export function classOf(seconds) {
  const index = LIMITS_S.findIndex((limit) => seconds < limit);
  return CLASSES.at(index);
}

/** At most so many of a class, with speech and without counted apart, spread over the list. */
export function choose(recordings, limit = Number.POSITIVE_INFINITY) {
  const groups = {};
  for (const one of recordings) {
    const key = `${classOf(one.seconds)} ${one.kind === 'speech'}`;
    groups[key] ??= [];
    groups[key].push(one);
  }
  return Object.values(groups).flatMap((group) => {
    const step = Math.max(1, group.length / limit);
    return group.filter((_, index) => Math.floor(index / step) !== Math.floor((index - 1) / step));
  });
}

/** Of an even number of values the mean of the middle two. */
export function median(values) {
  if (values.length === 0) return undefined;
  const sorted = sort(values);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}

/** The smallest value that at least this share of the values does not exceed. */
export function quantile(values, share) {
  if (values.length === 0) return undefined;
  return sort(values)[Math.max(0, Math.ceil(share * values.length) - 1)];
}

function sort(values) {
  return [...values].sort((a, b) => a - b);
}

/** A peer's times of one recording: the median of the rounds. */
export function overRounds(runs) {
  return {
    ms: median(runs.map((run) => run.ms)),
    cpuMs: median(runs.map((run) => run.cpuMs)),
  };
}

/**
 * Over the recordings of speech that both have, one ratio a recording: how much of the other's
 * time, and of its processor time, `ours` takes.
 */
export function ratios(recordings, ours, other) {
  const pairs = recordings
    .filter((one) => one.runs[ours]?.length > 0 && one.runs[other]?.length > 0)
    .map((one) => [overRounds(one.runs[ours]), overRounds(one.runs[other])]);
  const spread = (key) => {
    const all = pairs.map(([mine, theirs]) => mine[key] / theirs[key]);
    return { median: median(all), p95: quantile(all, 0.95) };
  };
  return { recordings: pairs.length, ms: spread('ms'), cpuMs: spread('cpuMs') };
}

/** One peer over some recordings. */
export function spread(recordings, peer) {
  const had = recordings.filter((one) => one.runs[peer]?.length > 0);
  const times = had.map((one) => overRounds(one.runs[peer]));
  const seconds = sum(had.map((one) => one.seconds));
  return {
    recordings: had.length,
    medianMs: median(times.map(({ ms }) => ms)),
    p95Ms: quantile(
      times.map(({ ms }) => ms),
      0.95,
    ),
    cpuSecondsPerSecond:
      had.length === 0 ? undefined : sum(times.map(({ cpuMs }) => cpuMs)) / 1000 / seconds,
  };
}

/** Word errors of several recordings together; of a part of them they would not compare. */
export function wordErrorsOf(recordings, peer) {
  const total = { errors: 0, substitutions: 0, deletions: 0, insertions: 0, words: 0 };
  for (const { wordErrors } of recordings) {
    if (wordErrors?.[peer] === undefined) return undefined;
    for (const key of Object.keys(total)) total[key] += wordErrors[peer][key];
  }
  const percent = total.words === 0 ? undefined : (100 * total.errors) / total.words;
  return { ...total, percent };
}

/** What share of its time a recording spends before Whisper: the median run's. */
export function shareBeforeInference(recordings, peer) {
  const shares = recordings
    .flatMap((one) => one.runs[peer] ?? [])
    .filter((run) => run.timings?.totalMs > 0)
    .map(({ timings }) => (timings.decodeMs + timings.vadMs) / timings.totalMs);
  return { median: median(shares), p95: quantile(shares, 0.95) };
}

/** Characters that a peer wrote where nobody speaks. */
export function falseText(recordings, peer) {
  const all = recordings.filter(({ kind }) => kind !== 'speech');
  const silent = all.filter(({ texts }) => texts[peer] !== undefined);
  return {
    recordings: silent.length,
    of: all.length,
    characters: sum(silent.map((one) => [...one.texts[peer]].length)),
  };
}

/** Each begins a round as often as the others. */
export function rotated(items, by) {
  const from = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(from), ...items.slice(0, from)];
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}
