// What is printed in the end.

import { cpus } from 'node:os';
import { FAULTS } from './ledger.mjs';

/** All that was measured, as plain data. */
export function summarize(run) {
  const { setting, ledger, hosts, hurter, closing, orphans, streams, folder } = run;
  const { lost } = ledger;
  const times = (kind) => quantiles(hosts.flatMap(({ recoveries }) => recoveries[kind]));
  return {
    setting,
    machine: `${cpus()[0].model.trim()}, ${cpus().length} cores, Node ${process.versions.node}`,
    platform: process.platform,
    kills: Object.fromEntries([...hurter.counts, ...closing.counts, ...orphans.counts]),
    survivedShortages: hurter.survivedShortages,
    skipped: [...hurter.skipped, ...orphans.skipped],
    crashes: hosts.reduce((sum, host) => sum + host.crashCount, closing.crashes),
    recycles: hosts.reduce((sum, host) => sum + host.recycles, 0),
    started: ledger.started,
    settled: ledger.settled,
    outcomes: Object.fromEntries([...ledger.outcomes].sort(([, a], [, b]) => b - a)),
    parents: Object.fromEntries(orphans.outcomes),
    audioHours: ledger.audioMs / 3_600_000,
    lost: lost.length,
    faults: ledger.counts,
    details: [...ledger.faults, ...lost.map((thing) => `lost: ${thing}`)],
    streams: {
      interruptions: streams.interruptions,
      interrupted: share(streams.points.interrupted),
      undisturbed: share(streams.points.undisturbed),
    },
    recoveryMs: { killed: times('killed'), stopped: times('stopped') },
    reports: { told: folder.looked, printed: folder.printed, left: run.reportsLeft },
    memory: { before: run.before, peakMb: run.peakMb, after: run.after },
    failed: ledger.failed,
  };
}

function quantiles(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: sorted.at(-1) };
}

/** Of streams: how many, and how many points more of their words are wrong. */
function share(points) {
  const mean = points.reduce((sum, one) => sum + one, 0) / Math.max(1, points.length);
  return { count: points.length, mean, max: Math.max(...points) };
}

export function render(summary) {
  const { setting, kills, outcomes, streams, recoveryMs, memory, reports } = summary;
  const count = (name) => outcomes[name] ?? 0;
  const poison = count('ERR_WORKER_CRASHED, taken for poison');
  const answered = poison + count('transcript');
  const rows = [
    ...Object.entries(kills).map(([kind, times]) => [`done: ${kind}`, times]),
    ['short of memory, and lived on', summary.survivedShortages],
    ['crashes told', summary.crashes],
    ['processes replaced on purpose', summary.recycles],
    ['settled of started', `${summary.settled} of ${summary.started}`],
    ...Object.entries(outcomes).map(([name, times]) => [`ended: ${name}`, times]),
    ['audio transcribed', `${summary.audioHours.toFixed(2)} h`],
    [
      'jobs rejected that were running at two crashes, of those that ran to an end',
      `${((100 * poison) / Math.max(1, answered)).toFixed(2)} %`,
    ],
    ['times that a stream had to go on in another process, or may have', streams.interruptions],
    [
      'word errors of interrupted streams, beyond those of undisturbed ones',
      points(streams.interrupted),
    ],
    ['word errors of streams that were not interrupted', points(streams.undisturbed)],
    [
      'from a kill to the next worker that is ready, p50, p99, max',
      milliseconds(recoveryMs.killed),
    ],
    ['the same, stopped: the heartbeat included', milliseconds(recoveryMs.stopped)],
    [
      'crash reports told, with something printed, left',
      `${reports.told}, ${reports.printed}, ${reports.left}`,
    ],
    ...Object.entries(summary.parents).map(([name, times]) => [
      `parent of little memory: ${cell(name)}`,
      times,
    ]),
    [
      'resident memory before, peak, after',
      mb(memory.before.rssMb, memory.peakMb, memory.after.rssMb),
    ],
    ["JavaScript's share before, after", mb(memory.before.jsMb, memory.after.jsMb)],
    ['open files before, after', `${memory.before.files ?? '–'}, ${memory.after.files ?? '–'}`],
    ['promises lost', summary.lost],
    ...Object.entries(FAULTS).map(([kind, name]) => [name, summary.faults[kind]]),
  ];
  const lines = [
    `${summary.machine}, ${summary.platform}; ${setting.model}, ${setting.minutes.toFixed(1)} minutes, workers 1 and ${setting.workers}, seed ${setting.seed}`,
    '',
    ...[['', ''], ['---', '---'], ...rows].map((cells) => `| ${cells.join(' | ')} |`),
  ];
  for (const why of summary.skipped) lines.push('', `skipped: ${why}`);
  if (summary.details.length > 0) lines.push('', ...summary.details);
  return lines.join('\n');
}

function cell(text) {
  return text.replaceAll('|', '/');
}

function points({ count, mean, max }) {
  return count === 0
    ? '–'
    : `${signed(mean)} points in the mean, ${signed(max)} at most (${count})`;
}

function signed(value) {
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(1)}`;
}

function milliseconds({ count, p50, p99, max }) {
  if (count === 0) return '–';
  return `${[p50, p99, max].map((value) => value.toFixed()).join(', ')} ms (${count})`;
}

function mb(...values) {
  return values.map((value) => `${value.toFixed()} MB`).join(', ');
}
