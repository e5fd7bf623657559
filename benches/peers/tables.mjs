// The numbers of a bench as Markdown.

import { IN_FLIGHT } from './measure.mjs';

const NONE = '–';
const SLOW = '\\* Slower than real time: two recordings of each class under 30 s, once.';

export function render({ machine, rounds, models }) {
  const parts = models.map(({ model, summary, skipped }) =>
    [
      `### ${model}`,
      counted(summary),
      main(summary),
      ...(summary.peers.some((peer) => peer.slow) ? [SLOW] : []),
      'Time and processor time of opuscribe (from packets) divided by the peer’s: the median of one ratio a recording, in brackets the 95th percentile of the time’s.',
      compared(summary),
      before(summary),
      ...skipped.map(({ id, reason }) => `Left out: ${id}, ${reason}.`),
    ].join('\n\n'),
  );
  const of = rounds === 1 ? 'one round' : `medians of ${rounds} rounds`;
  return [`${machine}; ${of}`, ...parts].join('\n\n');
}

function counted({ classes, peers }) {
  const lengths = Object.entries(classes).map(([name, count]) => `${count} of ${name}`);
  const silent = peers[0]?.falseText.of ?? 0;
  const words = peers[0]?.wordErrors?.words ?? 0;
  return `Recordings of speech: ${lengths.join(', ') || 'none'} (${words} words); without speech: ${silent}.`;
}

function main({ classes, peers }) {
  const head = [
    'peer',
    'WER',
    ...Object.keys(classes).map((name) => `${name}: p50, p95`),
    'CPU s per s',
    ...IN_FLIGHT.map((count) => `RTF, ${count} in flight`),
    'peak memory',
    'false characters',
  ];
  return table(
    head,
    peers.map((peer) => [
      peer.slow ? `${peer.id} *` : peer.id,
      number(peer.wordErrors?.percent, 2, ' %'),
      ...Object.keys(classes).map((name) => latency(peer.byClass[name])),
      number(peer.all.cpuSecondsPerSecond, 3),
      ...IN_FLIGHT.map((count) => number(peer.realTimeFactor?.[count]?.realTimeFactor, 3)),
      number(peer.peakMb, 0, ' MB'),
      falseCharacters(peer.falseText),
    ]),
  );
}

function compared({ classes, peers }) {
  const names = Object.keys(classes);
  const head = ['against', ...names.flatMap((name) => [`${name}: time`, 'CPU'])];
  return table(
    head,
    peers
      .filter((peer) => peer.ratio !== undefined)
      .map((peer) => [
        peer.id,
        ...names.flatMap((name) => {
          const { ms, cpuMs } = peer.ratio[name];
          const time =
            ms.median === undefined ? NONE : `${number(ms.median, 2)} (${number(ms.p95, 2)})`;
          return [time, number(cpuMs.median, 2)];
        }),
      ]),
  );
}

function before({ classes, peers }) {
  const mine = peers.find((peer) => peer.beforeInference !== undefined);
  if (mine === undefined) return '';
  const shares = Object.keys(classes).map((name) => {
    const { median } = mine.beforeInference[name];
    return `${median === undefined ? NONE : number(100 * median, 1, ' %')} (${name})`;
  });
  return `Decoding and VAD, of opuscribe’s time from packets, in the median: ${shares.join(', ')}.`;
}

function falseCharacters({ recordings, of, characters }) {
  if (recordings === 0) return NONE;
  return recordings === of ? String(characters) : `${characters} (in ${recordings} of ${of})`;
}

function latency({ medianMs, p95Ms }) {
  return medianMs === undefined ? NONE : `${time(medianMs)}, ${time(p95Ms)}`;
}

function time(ms) {
  return ms < 10_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function number(value, decimals, unit = '') {
  return value === undefined || value === null ? NONE : `${value.toFixed(decimals)}${unit}`;
}

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
