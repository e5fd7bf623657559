// The numbers of the GPU bench as Markdown.

import { CLASSES, spread, wordErrorsOf } from '../peers/statistics.mjs';

const NONE = '–';

export function render({ machine, rounds, models, seconds }) {
  const parts = models.map(({ model, recordings, peers, crowd, load, skipped }) =>
    [
      `### ${model} on a GPU`,
      alone(recordings, peers),
      'Many at once: seconds of audio a second, by jobs in flight; in brackets how busy the GPU was and the most of its memory, where the driver tells.',
      together(crowd),
      `One caller after the other for ${seconds} s, alone and while batch jobs are in flight all the time.`,
      waiting(load),
      ...skipped.map(({ id, reason }) => `Left out: ${id}, ${reason}.`),
    ].join('\n\n'),
  );
  return [`${machine}; medians of ${rounds} rounds`, ...parts].join('\n\n');
}

/** One after the other: right, and how quick. */
function alone(recordings, peers) {
  const speech = recordings.filter(({ kind }) => kind === 'speech');
  const classes = CLASSES.filter((name) => speech.some((one) => one.class === name));
  const header = ['', 'wrong words', ...classes.map((name) => `${name}: p50 / p95 / real time`)];
  const rows = peers.map(({ id }) => {
    const errors = wordErrorsOf(speech, id);
    const times = classes.map((name) => {
      const members = speech.filter((one) => one.class === name);
      const { medianMs, p95Ms } = spread(members, id);
      if (medianMs === undefined) return NONE;
      const had = members.filter((one) => one.runs[id]?.length > 0);
      const audio = had.reduce((sum, one) => sum + one.seconds, 0);
      const took = had.reduce((sum, one) => sum + Math.min(...one.runs[id].map(({ ms }) => ms)), 0);
      return `${ms(medianMs)} / ${ms(p95Ms)} / ${(took / 1000 / audio).toFixed(4)}`;
    });
    return [id, errors ? `${errors.percent.toFixed(2)} %` : NONE, ...times];
  });
  return table(header, rows);
}

function together(rows) {
  const inFlight = [...new Set(rows.flatMap(({ perSecond }) => Object.keys(perSecond)))]
    .map(Number)
    .toSorted((a, b) => a - b);
  const header = ['', 'lanes', 'memory', ...inFlight.map(String)];
  const body = rows.map(({ id, lanes, gpu, perSecond }) => [
    id,
    lanes ?? NONE,
    gpu ? `${mb(gpu.usedBytes)} (expected ${mb(gpu.estimatedBytes)})` : NONE,
    ...inFlight.map((count) => {
      const found = perSecond[count];
      if (found === undefined) return NONE;
      const { audio, busy, megabytes } = found;
      const told = busy === undefined ? '' : ` (${busy.toFixed(0)} %, ${megabytes} MB)`;
      return `${audio.toFixed(audio < 10 ? 2 : 0)}${told}`;
    }),
  ]);
  return table(header, body);
}

function waiting(rows) {
  const header = ['lanes', 'batch jobs', 'audio', 'calls', 'p50', 'p95'];
  const body = rows.map(({ lanes, inFlight, audioSeconds, calls, p50, p95 }) => [
    lanes,
    inFlight,
    `${audioSeconds.toFixed(1)} s`,
    calls,
    ms(p50),
    ms(p95),
  ]);
  return table(header, body);
}

function table(header, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}

function ms(value) {
  if (value === undefined) return NONE;
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

function mb(bytes) {
  return bytes > 0 ? `${(bytes / 1e6).toFixed(0)} MB` : NONE;
}
