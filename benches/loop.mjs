// What the event loop feels of 64 jobs of 60 s each: its delay while they are submitted, all in one
// turn, and run; how long a single call holds it, and what a look at the counters costs.
//
//     node benches/loop.mjs
//     node benches/loop.mjs --jobs 16 --seconds 10 --rounds 1 --threads 1
//
// Each measurement has a process of its own, and they take turns. Two controls last as long: a loop
// that idles beside an open transcriber, and one beside as many threads that compute as a
// transcriber has; what that one feels is the system's scheduling. Expects what setup brings.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { output, root } from '../scripts/tools.mjs';

const { splitPackets, Transcriber } = createRequire(import.meta.url)(root);
const RECORDING = 'libri_moses';
const PACKETS_PER_SECOND = 50;
const RESOLUTION_MS = 1;
const STATS_CALLS = 10_000;
const NS_PER_MS = 1e6;

const { values } = parseArgs({
  options: {
    jobs: { type: 'string', default: '64' },
    seconds: { type: 'string', default: '60' },
    rounds: { type: 'string', default: '3' },
    model: { type: 'string', default: 'tiny.en' },
    threads: { type: 'string' },
    measure: { type: 'string' },
  },
});

if (values.measure) console.log(JSON.stringify(await measure(JSON.parse(values.measure))));
else compare();

function compare() {
  const [jobs, seconds] = [Number(values.jobs), Number(values.seconds)];
  const setting = { jobs, seconds, model: values.model };
  if (values.threads) setting.threads = Number(values.threads);
  const rows = [];
  for (let round = 1; round <= Number(values.rounds); round += 1) {
    const busy = inProcess({ ...setting, kind: 'jobs' });
    rows.push([`${jobs} jobs of ${seconds} s`, round, busy]);
    for (const [kind, label] of [
      ['idle', 'idle'],
      ['compute', 'threads that compute, no job'],
    ]) {
      rows.push([label, round, inProcess({ ...setting, kind, tookMs: busy.tookMs })]);
    }
  }
  console.log(render(rows));
}

function inProcess(setting) {
  const argv = [import.meta.filename, '--measure', JSON.stringify(setting)];
  return JSON.parse(output(process.execPath, argv));
}

async function measure({ kind, jobs, seconds, tookMs, model, threads }) {
  const transcriber = await Transcriber.open({
    model,
    maxQueue: jobs,
    ...(threads && { threads }),
  });
  const file = join(root, '__test__', 'fixtures', `${RECORDING}.packets`);
  const packets = splitPackets(readFileSync(file)).slice(0, seconds * PACKETS_PER_SECOND);
  // The first call of anything compiles it.
  await transcriber.transcribe(packets.slice(0, PACKETS_PER_SECOND));
  const loop = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  const calls = [];
  const workers = [];
  loop.enable();
  const started = performance.now();
  // The first delay is that since the one before.
  await sleep(20);
  if (kind === 'jobs') {
    const promises = Array.from({ length: jobs }, () => {
      const called = performance.now();
      const promise = transcriber.transcribe(packets);
      calls.push(performance.now() - called);
      return promise;
    });
    for (const { text } of await Promise.all(promises)) {
      if (text === '') throw new Error('a job has no text');
    }
  } else {
    const count = kind === 'compute' ? transcriber.info.threads : 0;
    const compute = 'for (;;) Math.random();';
    for (let made = 0; made < count; made += 1) workers.push(new Worker(compute, { eval: true }));
    await sleep(tookMs);
  }
  loop.disable();
  const took = performance.now() - started;
  const stats = statsTimes(transcriber);
  await Promise.all([transcriber.close(), ...workers.map((worker) => worker.terminate())]);
  return {
    tookMs: took,
    delayMs: [50, 99, 99.9, 100].map((share) =>
      Math.max(0, loop.percentile(share) / NS_PER_MS - RESOLUTION_MS),
    ),
    longestCallMs: calls.length > 0 ? Math.max(...calls) : undefined,
    allCallsMs: calls.reduce((total, call) => total + call, 0),
    statsUs: stats,
    threads: transcriber.info.threads,
  };
}

/** The median, in microseconds. */
function statsTimes(transcriber) {
  const times = [];
  for (let call = 0; call < STATS_CALLS; call += 1) {
    const called = process.hrtime.bigint();
    transcriber.stats();
    times.push(Number(process.hrtime.bigint() - called) / 1000);
  }
  return times.sort((a, b) => a - b)[STATS_CALLS / 2];
}

function render(rows) {
  const head =
    '| in the process | round | time | delay p50 | p99 | p99.9 | max | longest call | all calls | `stats()` |';
  const line = '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |';
  const ms = (value) => `${value.toFixed(value < 10 ? 2 : 1)} ms`;
  const body = rows.map(([label, round, one]) => {
    const calls =
      one.longestCallMs === undefined ? [] : [one.longestCallMs, one.allCallsMs].map(ms);
    const cells = [
      label,
      round,
      `${(one.tookMs / 1000).toFixed()} s`,
      ...one.delayMs.map(ms),
      ...(calls.length > 0 ? calls : ['', '']),
      `${one.statsUs.toFixed(2)} µs`,
    ];
    return `| ${cells.join(' | ')} |`;
  });
  const machine = `${cpus()[0].model.trim()}, ${cpus().length} cores, Node ${process.versions.node}, ${values.model}, ${rows[0][2].threads} threads`;
  return [machine, '', head, line, ...body].join('\n');
}
