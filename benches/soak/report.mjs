// What the soak prints.

import { cpus } from 'node:os';

const STRETCHES = { fewest: 4, most: 12 };

/** All that was measured, as plain data. */
export function summarize({ setting, tally, load, memory, delay, tookMs }) {
  const { abortToSettled: aborts } = tally;
  const { rss, js, grows, verdict } = memory.judge();
  const lost = tally.pending;
  return {
    setting,
    minutes: tookMs / 60_000,
    started: tally.started,
    settled: tally.settled,
    outcomes: Object.fromEntries([...tally.outcomes].sort(([, a], [, b]) => b - a)),
    lost: lost.length,
    wrong: tally.faultCount,
    details: [...tally.faults, ...lost.map((thing) => `${thing}:\n    has not settled`)],
    audioHours: tally.audioMs / 3_600_000,
    transcribers: { opened: tally.opened, closed: tally.closed, collected: tally.collected },
    abortToSettledMs: {
      count: aborts.count,
      p50: aborts.percentile(50) / 1000,
      p99: aborts.percentile(99) / 1000,
      max: aborts.count > 0 ? aborts.max / 1000 : 0,
    },
    loopDelayMs: { ...delay.summary, records: delay.records },
    longestCallMs: tally.longestCallMs,
    longestCollectMs: load.longestCollectMs,
    memory: {
      beforeMb: memory.beforeMb,
      afterMb: memory.afterMb,
      peakMb: memory.peakMb,
      mbPerHour: rss,
      jsMbPerHour: js,
      verdict,
      grows,
      overTime: memory.overTime(stretches(tookMs / 60_000)),
    },
    failed: lost.length > 0 || tally.faultCount > 0 || grows,
  };
}

/** Of a minute or more. */
function stretches(minutes) {
  return Math.max(STRETCHES.fewest, Math.min(STRETCHES.most, Math.floor(minutes)));
}

export function render(summary) {
  const { setting, outcomes, transcribers, abortToSettledMs, loopDelayMs, memory } = summary;
  const { transcript = 0, ...failures } = outcomes;
  const calls = Object.values(outcomes).reduce((total, count) => total + count, 0);
  const admitted = calls - (outcomes.ERR_QUEUE_FULL ?? 0);
  const perMinute = (count) => (count / summary.minutes).toFixed();
  const rows = [
    ['settled of started', `${summary.settled} of ${summary.started}`],
    ['lost, wrong', `${summary.lost}, ${summary.wrong}`],
    ['transcripts, each as it is alone', `${transcript}`],
    ['failures, each as it is alone or provoked', counts(failures)],
    ['calls a minute, refused ones left out', `${perMinute(calls)}, ${perMinute(admitted)}`],
    ['audio transcribed', `${summary.audioHours.toFixed(2)} h`],
    [
      'transcribers opened, closed, collected',
      `${transcribers.opened}, ${transcribers.closed}, ${transcribers.collected}`,
    ],
    [
      'from abort to settled, p50, p99, max',
      `${milliseconds(abortToSettledMs)} (${abortToSettledMs.count})`,
    ],
    ['event-loop delay, p50, p99, max', `${milliseconds(loopDelayMs)}${latest(loopDelayMs)}`],
    [
      "longest call, longest garbage collection of the soak's own",
      `${ms(summary.longestCallMs)}, ${ms(summary.longestCollectMs)}`,
    ],
    [
      'resident memory before any is open, at its peak, and when all are closed',
      [memory.beforeMb, memory.peakMb, memory.afterMb].map((mb) => `${mb.toFixed()} MB`).join(', '),
    ],
    ['slope of resident memory, 95 %', `${slope(memory.mbPerHour)} ${memory.verdict}`],
    ["slope of JavaScript's share", slope(memory.jsMbPerHour)],
  ];
  const lines = [
    `${machine()}; ${setting.model}, ${summary.minutes.toFixed(1)} minutes, ${setting.cases} cases, seed ${setting.seed}`,
    '',
    ...table(['', ''], rows),
    '',
    'Resident memory with one transcriber open, medians:',
    '',
    ...table(
      ['minutes', ...memory.overTime.map(({ from, to }) => `${minutes(from)}–${minutes(to)}`)],
      [['MB', ...memory.overTime.map(({ rssMb }) => rssMb?.toFixed() ?? '–')]],
    ),
  ];
  if (summary.details.length > 0) lines.push('', ...summary.details);
  return lines.join('\n');
}

function table(head, rows) {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
}

function machine() {
  return `${cpus()[0].model.trim()}, ${cpus().length} cores, Node ${process.versions.node}`;
}

export function counts(failures) {
  return Object.entries(failures)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ');
}

function ms(value) {
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

function milliseconds({ p50, p99, max }) {
  return [p50, p99, max].map(ms).join(', ');
}

/** The longest delay; while what was opened and closed. */
function latest({ records }) {
  const longest = records.at(-1);
  return longest ? ` (at ${minutes(longest.minutes)} min, while: ${longest.doing})` : '';
}

function minutes(value) {
  return Number(value.toFixed(1));
}

function slope(found) {
  if (found === undefined) return '';
  const [middle, low, high] = [found.slope, found.low, found.high].map((one) => one.toFixed(1));
  return `${middle} MB/h [${low}, ${high}]`;
}
