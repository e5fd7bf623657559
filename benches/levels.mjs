// Time by stage, real-time factor and peak memory for a 3 s, an 11 s and a 60 s recording, with
// the addon of each instruction set level that this processor has, in turn.
//
//     npm run bench:levels                 prints the table
//     npm run bench:levels -- --write      also writes it into docs/benchmarks.md
//
// Each measurement runs in a process of its own: its peak memory is the whole process's.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../scripts/tools.mjs';
import { writeBetween } from './markers.mjs';

const require = createRequire(import.meta.url);
const PACKETS_PER_SECOND = 50;
const ROUNDS = 7;
const MODEL = 'tiny.en';

/** Cut out of the committed recordings: 24 kbit/s, 20 ms packets. */
const RECORDINGS = [
  { label: '3 s', name: 'libri_waiting', seconds: 3 },
  { label: '11 s', name: 'jfk', seconds: 11 },
  { label: '60 s', name: 'libri_moses', seconds: 60 },
];

if (process.argv[2] === '--measure') {
  await measure(JSON.parse(process.argv[3]));
} else {
  const table = render(compare());
  console.log(table);
  if (process.argv.includes('--write')) writeBetween('levels', table);
}

/** One process: opens, warms up with one job, and times the others. */
async function measure({ name, seconds }) {
  const { splitPackets, Transcriber } = require(root);
  const bytes = readFileSync(join(root, '__test__', 'fixtures', `${name}.packets`));
  const packets = splitPackets(bytes).slice(0, seconds * PACKETS_PER_SECOND);
  const opened = performance.now();
  const transcriber = await Transcriber.open({ model: MODEL });
  const openMs = performance.now() - opened;
  const cpuBefore = process.cpuUsage();
  const runs = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    runs.push((await transcriber.transcribe(packets)).timings);
  }
  const cpu = process.cpuUsage(cpuBefore);
  await transcriber.close();
  const stage = (key) => median(runs.slice(1).map((timings) => timings[key]));
  console.log(
    JSON.stringify({
      openMs,
      decodeMs: stage('decodeMs'),
      vadMs: stage('vadMs'),
      inferenceMs: stage('inferenceMs'),
      totalMs: stage('totalMs'),
      realTimeFactor: stage('realTimeFactor'),
      cpuSecondsPerSecond: (cpu.user + cpu.system) / 1e6 / (ROUNDS * seconds),
      peakMb: process.resourceUsage().maxRSS / 1024,
    }),
  );
}

/** Levels take turns within each round, so that a machine whose speed drifts is fair to both. */
function compare() {
  const { cpuLevel } = require(join(root, 'index.js'));
  const best = cpuLevel();
  const levels = best === 'x86-64-v4' ? ['x86-64-v3', best] : [best];
  return RECORDINGS.flatMap((recording) => {
    const results = levels.map(() => []);
    for (let round = 0; round < 3; round += 1) {
      for (const [index, level] of levels.entries()) {
        const argv = [fileURLToPath(import.meta.url), '--measure', JSON.stringify(recording)];
        const env = { ...process.env, OPUSCRIBE_CPU_LEVEL: level };
        results[index].push(
          JSON.parse(execFileSync(process.execPath, argv, { env, encoding: 'utf8' })),
        );
      }
    }
    return levels.map((level, index) => ({
      recording: recording.label,
      level,
      ...medians(results[index]),
      // Pair by pair against the first level.
      ratio: median(results[index].map((run, at) => run.totalMs / results[0][at].totalMs)),
    }));
  });
}

function render(rows) {
  const head =
    '| recording | addon | open | decode | VAD | inference | total | real-time factor | CPU s per s | peak memory | time against the first |';
  const line = '|---|---|---|---|---|---|---|---|---|---|---|';
  const ms = (value) => `${value.toFixed(value < 10 ? 1 : 0)} ms`;
  const body = rows.map(
    (row) =>
      `| ${row.recording} | ${row.level} | ${ms(row.openMs)} | ${ms(row.decodeMs)} | ${ms(row.vadMs)} | ` +
      `${ms(row.inferenceMs)} | ${ms(row.totalMs)} | ${row.realTimeFactor.toFixed(3)} | ` +
      `${row.cpuSecondsPerSecond.toFixed(3)} | ${row.peakMb.toFixed(0)} MB | ${row.ratio.toFixed(2)} |`,
  );
  const machine = `${cpus()[0].model.trim()}, ${cpus().length} cores, Node ${process.versions.node}, ${MODEL}; medians of 3 processes of ${ROUNDS - 1} runs each after one to warm up`;
  return [machine, '', head, line, ...body].join('\n');
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function medians(runs) {
  return Object.fromEntries(
    Object.keys(runs[0]).map((key) => [key, median(runs.map((run) => run[key]))]),
  );
}
