// What a decoder should do with lost packets: word error rates by loss and by way of bridging it,
// what the ways cost, and how far to conceal a long gap. docs/benchmarks.md has the results.
//
//     node benches/loss/run.mjs                   24 kbit/s, one seed: a few minutes
//     node benches/loss/run.mjs --full            6, 12 and 24 kbit/s, three seeds
//     node benches/loss/run.mjs --speech FOLDER   the original recordings; see originals.py
//
// Expects what setup brings. Without --speech it has the recordings that are committed as PCM: 72
// words, which show that it works, and too few to tell the ways apart.

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, cpus } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { tsImport } from 'tsx/esm/api';
import { cargo, output, python, root, run } from '../../scripts/tools.mjs';
import * as tables from './tables.mjs';

const { Transcriber } = createRequire(import.meta.url)('../..');
const { normalize } = await tsImport('../../__test__/wer.ts', import.meta.url);
const { values: options } = parseArgs({
  options: { full: { type: 'boolean', default: false }, speech: { type: 'string' } },
});

const MODEL = 'tiny.en';
const RATES = options.full ? [6, 12, 24] : [24];
const SEEDS = options.full ? [1, 2, 3] : [1];
const GAP_SEEDS = options.full ? [1, 2, 3, 4, 5] : [1];
const LOSSES = ['random', 'burst'].flatMap((kind) => [5, 10, 20].map((loss) => ({ kind, loss })));
const NO_LOSS = { kind: 'random', loss: 0 };
/** What the addon conceals at most, as MAX_CONCEALMENT_MS in src/opus/stream.rs. */
const LIMIT_MS = 1000;
const GAP = { kind: 'gap', loss: 1000 };
const GAP_LIMITS_MS = [0, 200, 1000];

/** libopus picks the neural ways by complexity; see src/codec.rs. `sent` is a stream with FEC. */
const WAYS = [
  { label: 'silence', limit: 0 },
  { label: 'PLC' },
  { label: 'deep PLC', complexity: 5 },
  { label: 'LACE', complexity: 6 },
  { label: 'NoLACE', complexity: 7 },
  { label: 'PLC, FEC sent but ignored', sent: true },
  { label: 'PLC + FEC', sent: true, fec: true },
  { label: 'deep PLC + FEC', sent: true, fec: true, complexity: 5 },
];
const COMPARISONS = [
  ['silence', 'PLC'],
  ['PLC, FEC sent but ignored', 'PLC + FEC'],
  ['PLC', 'deep PLC'],
  ['PLC', 'LACE'],
  ['PLC', 'NoLACE'],
  ['PLC + FEC', 'deep PLC + FEC'],
];
/**
 * The longest whole part of each committed recording, and the words of its utterances; the
 * transcript of the manifest goes on after them.
 */
const COMMITTED = [
  { name: 'jfk', seconds: 11, words: [22] },
  { name: 'libri_moses', seconds: 28, words: [11, 9, 24, 6] },
];
const WAV_HEADER_BYTES = 44;
const BYTES_PER_SECOND = 32_000;

const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
const work = join(resolve(target), 'loss', 'work');
const builds = { plain: build('plain', []), neural: build('neural', ['--features', 'neural']) };
mkdirSync(work, { recursive: true });
const recordings = (options.speech === undefined ? committed() : originals()).map(
  ({ name, utterances }) => ({ name, utterances: utterances.map((text) => normalize(text)) }),
);
const streams = new Map();
const texts = new Map();
const cells = new Map();

// With more threads, which wait for one another, another busy process costs ten times the time.
const transcriber = await Transcriber.open({ model: MODEL, threads: 1 });
await printErrorRates();
await printGaps();
await transcriber.close();
printCost();

function build(name, features) {
  const folder = join(resolve(target), 'loss', name);
  const manifest = join(root, 'benches', 'loss', 'Cargo.toml');
  const where = ['--manifest-path', manifest, '--target-dir', folder];
  cargo(['build', '--quiet', '--locked', '--release', ...where, ...features]);
  return join(folder, 'release', process.platform === 'win32' ? 'loss.exe' : 'loss');
}

function committed() {
  const fixtures = join(root, '__test__', 'fixtures');
  const manifest = JSON.parse(readFileSync(join(fixtures, 'manifest.json'), 'utf8'));
  return COMMITTED.map(({ name, seconds, words }) => {
    const wav = readFileSync(join(fixtures, `${name}.wav`));
    const end = WAV_HEADER_BYTES + seconds * BYTES_PER_SECOND;
    writeFileSync(join(work, `${name}.s16`), wav.subarray(WAV_HEADER_BYTES, end));
    const said = manifest.find((entry) => entry.name === name).transcript.split(' ');
    return { name, utterances: words.map((count) => said.splice(0, count).join(' ')) };
  });
}

function originals() {
  run(python(), [join(root, 'benches', 'loss', 'originals.py'), resolve(options.speech), work]);
  return JSON.parse(readFileSync(join(work, 'recordings.json'), 'utf8'));
}

/** Encodes a recording once; one build encodes for both. */
function stream(name, kbits, fecPercent) {
  const path = join(work, `${name}-${kbits}-${fecPercent}.packets`);
  if (!streams.has(path)) {
    const samples = join(work, `${name}.s16`);
    const count = output(builds.plain, ['encode', kbits, fecPercent, samples, path].map(String));
    const [withFec, packets] = count.split(' ').map(Number);
    streams.set(path, { kbits, fecPercent, withFec, packets });
  }
  return path;
}

/** The arguments from PATTERN to LIMIT_MS. The seed is another one for each recording. */
function bridging({ kind, loss }, seed, index, way) {
  const { complexity = 0, fec = false, limit = LIMIT_MS } = way;
  return [`${kind}:${loss}`, 1000 * seed + index, complexity, fec ? 1 : 0, limit].map(String);
}

function program({ complexity = 0, neural = complexity > 0 }) {
  return neural ? builds.neural : builds.plain;
}

/** Errors by utterance, over all recordings. */
async function cell(kbits, pattern, seed, way) {
  const key = JSON.stringify([kbits, pattern, seed, way]);
  if (!cells.has(key)) {
    const counts = [];
    for (const [index, { name, utterances }] of recordings.entries()) {
      const packets = stream(name, kbits, way.sent ? pattern.loss : 0);
      const samples = join(work, 'decoded.s16');
      const how = bridging(pattern, seed, index, way);
      output(program(way), ['decode', packets, ...how, samples]);
      const text = await heard(readFileSync(samples));
      counts.push(...tables.errorsByUtterance(utterances, normalize(text)));
    }
    cells.set(key, counts);
  }
  return cells.get(key);
}

/** Where nothing was lost, and elsewhere too, ways often give the very same samples. */
async function heard(bytes) {
  const hash = createHash('sha256').update(bytes).digest('hex');
  if (!texts.has(hash)) {
    const pcm = new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
    texts.set(hash, (await transcriber.transcribePcm(pcm)).text);
  }
  return texts.get(hash);
}

async function cellsOf(kbits, patterns, seeds, way) {
  const list = [];
  for (const pattern of patterns) {
    for (const seed of seeds) list.push(await cell(kbits, pattern, seed, way));
  }
  return list;
}

async function printErrorRates() {
  const [rates, differences] = [[], []];
  for (const kbits of RATES) {
    for (const way of WAYS) {
      console.error(`${kbits} kbit/s, ${way.label}`);
      const row = [way.sent ? '' : await rate(kbits, [NO_LOSS], way)];
      for (const pattern of LOSSES) row.push(await rate(kbits, [pattern], way));
      rates.push([String(kbits), way.label, ...row]);
    }
    for (const labels of COMPARISONS) {
      const [before, after] = labels.map((label) => WAYS.find((way) => way.label === label));
      const pairs = (await cellsOf(kbits, LOSSES, SEEDS, before)).map((cell) => [cell]);
      for (const [index, cell] of (await cellsOf(kbits, LOSSES, SEEDS, after)).entries()) {
        pairs[index].push(cell);
      }
      const difference = tables.describe(tables.pairedDifference(pairs));
      differences.push([String(kbits), `${before.label} → ${after.label}`, ...difference]);
    }
  }
  const utterances = recordings.flatMap((recording) => recording.utterances);
  console.log(
    `${MODEL}; ${utterances.length} utterances, ${utterances.flat().length} words, seeds ${SEEDS}\n`,
  );
  const losses = LOSSES.map(({ kind, loss }) => `${kind} ${loss} %`);
  console.log(tables.markdown(['kbit/s', 'way', 'no loss', ...losses], rates));
  console.log(tables.markdown(['kbit/s', 'change', 'points, 95 %', 'words'], differences));
  for (const kbits of RATES) {
    const sent = [...streams.values()].filter((one) => one.kbits === kbits && one.fecPercent > 0);
    const [withFec, packets] = ['withFec', 'packets'].map((key) =>
      tables.sum(sent.map((one) => one[key])),
    );
    const share = withFec / packets;
    console.log(`${kbits} kbit/s: ${(100 * share).toFixed(0)} % of the packets carry FEC`);
  }
}

async function rate(kbits, patterns, way) {
  // Without loss every seed is the same.
  const seeds = patterns[0] === NO_LOSS ? [1] : SEEDS;
  return tables.wordErrorRate(await cellsOf(kbits, patterns, seeds, way)).toFixed(1);
}

/** One gap in each 5 s. */
async function printGaps() {
  const rows = [];
  let shorter;
  for (const limit of GAP_LIMITS_MS) {
    console.error(`gaps of ${GAP.loss} ms, ${limit} ms concealed`);
    const list = await cellsOf(24, [GAP], GAP_SEEDS, { limit });
    const inserted = tables.sum(list.flat().map((count) => count.inserted));
    const pairs = shorter?.map((cell, index) => [cell, list[index]]);
    const change = pairs ? tables.describe(tables.pairedDifference(pairs)) : ['', ''];
    rows.push([`${limit} ms`, tables.wordErrorRate(list).toFixed(1), inserted, ...change]);
    shorter = list;
  }
  const head = ['concealed of 1 s', 'word error rate', 'inserted words', 'points, 95 %', 'words'];
  console.log(`\n${tables.markdown(head, rows)}`);
}

function printCost() {
  const length = ({ utterances }) => utterances.flat().length;
  const { name } = [...recordings].sort((a, b) => length(b) - length(a))[0];
  const ways = [...WAYS, { label: 'PLC, in the neural build', neural: true }];
  const rows = ways.map((way) => {
    const ms = [0, 20].map((loss) => {
      const packets = stream(name, 24, way.sent ? 20 : 0);
      const how = bridging({ kind: 'random', loss }, 1, 0, way);
      return Number(output(program(way), ['cost', packets, ...how])).toFixed(2);
    });
    return [way.label, ...ms];
  });
  console.log(tables.markdown(['way', 'ms per s, no loss', 'random 20 %'], rows));
  const sizes = Object.entries(builds).map(
    ([kind, path]) => `${kind} ${(statSync(path).size / 1e6).toFixed(2)} MB`,
  );
  console.log(`${cpus()[0].model.trim()}, ${availableParallelism()} cores`);
  console.log(`This bench's own program, stripped: ${sizes.join(', ')}`);
}
