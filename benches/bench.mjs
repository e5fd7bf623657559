// opuscribe beside others: whisper.cpp, faster-whisper, pywhispercpp and other Node addons, of
// which `npm run bench:setup` brings those that are to be had. Same weights, same recordings, same
// threads, in turns. docs/benchmarks.md says how to read it.
//
//     npm run bench                                  the committed recordings, tiny.en
//     npm run bench -- --model tiny.en --model base --speech FOLDER --json results.json
//     npm run bench -- --peers 'opuscribe,faster-whisper' --class 3to10 --limit 5 --rounds 1
//     npm run bench -- --from results.json --write   the tables again, into docs/
//
//     --model NAME      tiny.en or base; may be given twice
//     --speech FOLDER   recordings of any format with a manifest.json: [{ file, kind ('speech' or
//                       not), language, transcript, seconds }]
//     --peers A,B       only these; also those that are not run unless they are named
//     --class NAME      under3, 3to10, 10to30, 30to60, 1to10min or over10min; may be repeated
//     --limit N         at most so many recordings of a class, and so many without speech
//     --rounds N        runs of each recording by each peer, default 3
//     --threads N       default: the physical cores, at most 8
//     --no-throughput   leaves out the runs with several jobs in flight
//     --json FILE       everything, every text included; - for stdout
//     --write           the tables into docs/benchmarks.md, the chart into docs/benchmarks.svg

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fail, root } from '../scripts/tools.mjs';
import { writeBetween } from './markers.mjs';
import { chart } from './peers/chart.mjs';
import { ct2Folder, PEERS } from './peers/list.mjs';
import { describeMachine, physicalCores, warnOfLoad } from './peers/machine.mjs';
import { closePeers, measure, openPeers, throughput } from './peers/measure.mjs';
import { recordings } from './peers/recordings.mjs';
import { CLASS_NAMES, CLASSES } from './peers/statistics.mjs';
import { countWordErrors, summarize } from './peers/summary.mjs';
import { render } from './peers/tables.mjs';

const MODELS = ['tiny.en', 'base'];
let told = performance.now();
const options = readOptions();
const results = options.from === undefined ? await bench() : JSON.parse(readFileSync(options.from));
for (const one of results.models) one.summary = summarize(one);
save(results);
if (options.json === '-') console.log(JSON.stringify(results, null, 1));
else console.log(render(results));
if (options.write) {
  const image = '![Time and processor time by peer](benchmarks.svg)';
  writeBetween('peers', `\n${image}\n\n${render(results)}\n`);
  writeFileSync(join(root, 'docs', 'benchmarks.svg'), chart(panels()));
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', multiple: true, default: ['tiny.en'] },
      speech: { type: 'string' },
      peers: { type: 'string' },
      class: { type: 'string', multiple: true },
      limit: { type: 'string' },
      rounds: { type: 'string', default: '3' },
      threads: { type: 'string', default: String(Math.min(physicalCores(), 8)) },
      json: { type: 'string' },
      from: { type: 'string' },
      write: { type: 'boolean', default: false },
      throughput: { type: 'boolean', default: true },
    },
    allowNegative: true,
  });
  for (const name of ['limit', 'rounds', 'threads']) values[name] = count(name, values[name]);
  for (const model of values.model) oneOf('model', model, MODELS);
  for (const name of values.class ?? []) oneOf('class', name, CLASS_NAMES);
  const classes = values.class?.map((name) => CLASSES[CLASS_NAMES.indexOf(name)]);
  const ids = PEERS.map(({ id }) => id);
  const named = values.peers?.split(',').map((id) => oneOf('peers', id.trim(), ids));
  const peers = PEERS.filter(({ id, onRequest }) => named?.includes(id) ?? !onRequest);
  return { ...values, classes, peers };
}

function count(name, value) {
  if (value === undefined) return undefined;
  if (!/^[1-9]\d*$/.test(value)) fail(`--${name} is ${value}; expected a whole number from 1`);
  return Number(value);
}

function oneOf(name, value, known) {
  if (!known.includes(value)) fail(`--${name}: no ${value}; there are ${known.join(', ')}`);
  return value;
}

async function bench() {
  warnOfLoad();
  const { rounds, threads, speech } = options;
  const results = { machine: describeMachine(threads), rounds, threads, speech, models: [] };
  for (const model of options.model) {
    results.models.push(await benchModel(model, recordings({ ...options, model }), results));
  }
  return results;
}

async function benchModel(model, found, results) {
  const skipped = [];
  const report = ({ id }, reason) => {
    skipped.push({ id, reason });
    console.error(`\n${model}, ${id} left out: ${reason}`);
  };
  const ggml = createRequire(import.meta.url)('../dist/models.js').resolveModel(model);
  const ct2 = ct2Folder(model);
  const wanted = options.peers.filter((peer) => {
    if (!peer.needsCt2 || existsSync(ct2)) return true;
    report(peer, 'its weights are not there: npm run bench:setup');
    return false;
  });
  const { threads, rounds } = options;
  const opened = await openPeers(wanted, { model, ggml, ct2, threads }, report);
  const result = { model, skipped, recordings: found, throughput: {} };
  const describePeers = () => {
    result.peers = opened.map(({ child, launch, only, opened, ...peer }) => ({
      ...peer,
      ...opened,
    }));
  };
  const alive = await measure(opened, found, rounds, {
    report,
    progress: (what) => progress(`${model}: ${what}`),
    afterRound() {
      // An hour's work is not lost with the process.
      countWordErrors(found);
      describePeers();
      save({ ...results, models: [...results.models, result] });
    },
  });
  const short = found.filter((one) => one.kind === 'speech' && one.class === '3–10 s');
  if (options.throughput && short.length > 0) {
    result.throughput = await throughput(alive, short, {
      report,
      progress: (what) => progress(`${model}: ${what}`),
    });
  }
  describePeers();
  await closePeers(opened);
  progress('');
  return result;
}

/** One line that changes; where there is no terminal, one line a minute. */
function progress(text) {
  if (process.stderr.isTTY) return process.stderr.write(`\r\x1b[2K${text}`);
  if (performance.now() - told < 60_000) return;
  told = performance.now();
  console.error(text);
}

function save(what) {
  if (options.json === undefined || options.json === '-') return;
  writeFileSync(options.json, `${JSON.stringify(what, null, 1)}\n`);
}

/** The class that callers wait for; where there is none of it, the first that there is. */
function panels() {
  return results.models.map(({ model, summary }) => {
    const name = '3–10 s' in summary.classes ? '3–10 s' : Object.keys(summary.classes)[0];
    const rows = summary.peers
      .filter((peer) => peer.byClass[name]?.recordings > 0)
      .map((peer) => ({
        label: peer.id,
        ours: peer.ours,
        slow: peer.slow,
        ms: peer.byClass[name].medianMs,
        cpu: peer.byClass[name].cpuSecondsPerSecond,
      }));
    return { title: `${model}, ${summary.classes[name]} recordings of ${name}`, rows };
  });
}
