// opuscribe on a GPU, beside the CPU, whisper.cpp and faster-whisper on the same GPU in the same
// session: right, quick, and busy? docs/benchmarks.md says how to read it.
//
//     npm run bench:gpu -- cuda                      builds what is needed, and prints the tables
//     npm run bench:gpu -- cuda --model base --speech FOLDER --json gpu.json --write
//
//     --model NAME      tiny.en or base, or the path of a ggml file; may be repeated
//     --speech FOLDER   as of `npm run bench`; default: the committed recordings
//     --limit N         at most so many recordings of a class
//     --rounds N        runs of each recording by each peer, default 3
//     --lanes A,B       windows at once that are tried, default 1,2,4,8,16,32
//     --in-flight A,B   jobs at once that are tried, default 1,2,4,8,16,32,64
//     --peers A;B       only these: 'opuscribe, CPU', opuscribe, whisper.cpp, faster-whisper,
//                       faster-whisper batched
//     --jobs N          jobs in all at each of these, at least; default 24
//     --seconds N       how long an interactive caller is watched under full load, default 20
//     --json FILE       everything, every text included
//     --write           the tables into docs/benchmarks.md

import { existsSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { BACKENDS, provide } from '../../scripts/toolkits/backends.mjs';
import { fail, platform, root, run } from '../../scripts/tools.mjs';
import { writeBetween } from '../markers.mjs';
import { buildWhisperCppFor, ct2Folder, PEERS } from '../peers/list.mjs';
import { describeMachine, physicalCores, warnOfLoad } from '../peers/machine.mjs';
import { closePeers, measure, openPeers } from '../peers/measure.mjs';
import { recordings } from '../peers/recordings.mjs';
import { countWordErrors } from '../peers/summary.mjs';
import { crowd, underLoad } from './crowd.mjs';
import { render } from './tables.mjs';

const options = readOptions();
const { backend } = options;
const { env, libraries, missing } = provide(backend);
if (missing) {
  console.log(`skipped: nothing for ${backend} can be built: ${missing}`);
  process.exit(0);
}
if (!existsSync(join(root, `opuscribe.${platform()}.${backend}.node`))) {
  run(process.execPath, [join(root, 'scripts', 'gpu.mjs'), backend]);
}
// Where the addon's libraries are, if they are not the system's.
if (libraries) {
  const paths = [process.env.LD_LIBRARY_PATH, libraries].filter(Boolean);
  process.env.LD_LIBRARY_PATH = paths.join(':');
}
const { listDevices } = createRequire(import.meta.url)(root);
const [device] = (await listDevices()).filter((found) => found.backend === backend);
if (device === undefined) {
  console.log(`skipped: ${backend} finds no GPU on this machine`);
  process.exit(0);
}
warnOfLoad();
const results = {
  machine: `${describeMachine(options.threads)}; ${device.name}, ${device.driver}, ${gigabytes(device.totalBytes)} GB`,
  device,
  rounds: options.rounds,
  seconds: options.seconds,
  models: [],
};
for (const model of options.model) {
  results.models.push(await benchModel(model));
  if (options.json) writeFileSync(options.json, `${JSON.stringify(results, null, 1)}\n`);
}
console.log(render(results));
if (options.write) writeBetween('gpu', `\n${render(results)}\n`);

function readOptions() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      model: { type: 'string', multiple: true, default: ['tiny.en', 'base'] },
      speech: { type: 'string' },
      limit: { type: 'string' },
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '20' },
      peers: { type: 'string' },
      jobs: { type: 'string', default: '24' },
      lanes: { type: 'string', default: '1,2,4,8,16,32' },
      'in-flight': { type: 'string', default: '1,2,4,8,16,32,64' },
      threads: { type: 'string', default: String(Math.min(physicalCores(), 8)) },
      json: { type: 'string' },
      write: { type: 'boolean', default: false },
    },
  });
  const [backend] = positionals;
  if (!BACKENDS.includes(backend)) fail(`backend is ${backend}; expected ${BACKENDS.join(', ')}`);
  for (const name of ['limit', 'rounds', 'seconds', 'threads', 'jobs']) {
    values[name] = values[name] && count(name, values[name]);
  }
  for (const name of ['lanes', 'in-flight']) {
    values[name] = values[name].split(',').map((one) => count(name, one));
  }
  return { ...values, backend };
}

function count(name, value) {
  if (!/^[1-9]\d*$/.test(value)) fail(`--${name} is ${value}; expected a whole number from 1`);
  return Number(value);
}

async function benchModel(model) {
  const { resolveModel } = createRequire(import.meta.url)('../../dist/models.js');
  const ggml = resolveModel(model);
  const name = basename(model);
  const found = recordings({ ...options, model: name.includes('.en') ? 'tiny.en' : 'base' });
  const result = { model: name, skipped: [], recordings: found };
  const report = ({ id }, reason) => {
    result.skipped.push({ id, reason });
    console.error(`${name}, ${id} left out: ${reason}`);
  };
  const progress = (what) => console.error(`${name}: ${what}`);
  const open = { model: name, ggml, ct2: ct2Folder(name), threads: options.threads };
  const opened = [];
  for (const peer of peers()) {
    if (peer.needsCt2 && !existsSync(ct2Folder(name))) {
      report(peer, 'its weights are not there: npm run bench:setup');
      continue;
    }
    opened.push(...(await openPeers([peer], { ...open, ...peer.open }, report)));
  }
  const quiet = () => {};
  const alive = await measure(opened, found, options.rounds, {
    report,
    progress: quiet,
    afterRound: (round) => progress(`round ${round} of ${options.rounds}`),
  });
  countWordErrors(found);
  result.peers = alive.map(({ id, opened }) => ({ id, system: opened.system }));
  const short = found.filter((one) => one.kind === 'speech' && one.seconds < 30);
  await closePeers(opened);
  result.crowd = await crowd(peers(), short, { ...options, open, report, progress });
  result.load = await underLoad(peers(), short, result.crowd, { ...options, open, progress });
  return result;
}

/** On this GPU, and ours on the CPU too: what is right is what it says. */
function peers() {
  const named = options.peers?.split(';').map((id) => id.trim());
  const all = everybody();
  const unknown = named?.find((id) => !all.some((peer) => peer.id === id));
  if (unknown) fail(`--peers: no ${unknown}; there are ${all.map(({ id }) => id).join('; ')}`);
  return all.filter(({ id }) => named?.includes(id) ?? true);
}

function everybody() {
  const ours = PEERS.find(({ id }) => id === 'opuscribe');
  const gpu = { backend, index: 0 };
  const python = PEERS.find(({ id }) => id === 'faster-whisper');
  const fasterWhisper = (id, variant) => ({ ...python, id, variant, open: { device: 'cuda' } });
  return [
    { ...ours, id: 'opuscribe, CPU', open: {} },
    { ...ours, id: 'opuscribe', open: { device: gpu, lanes: 1 }, crowds: true },
    {
      id: 'whisper.cpp',
      variant: 'greedy',
      launch: () => buildWhisperCppFor(backend, env),
      open: { gpu: true },
      crowds: true,
    },
    ...(backend === 'cuda'
      ? [
          { ...fasterWhisper('faster-whisper', 'beam1'), crowds: true },
          { ...fasterWhisper('faster-whisper batched', 'batched-32'), crowds: true },
        ]
      : []),
  ];
}

function gigabytes(bytes) {
  return (bytes / 1e9).toFixed(0);
}
