// What the soak transcribes: cases made of the committed recordings, each by a recipe that the seed
// repeats.

import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { root } from '../../scripts/tools.mjs';
import { damageFile, PACKET_DAMAGE } from './damage.mjs';

const { splitPackets } = createRequire(import.meta.url)(root);
const FIXTURES = join(root, '__test__', 'fixtures');
const WAV_HEADER_BYTES = 44;
const RATE_HZ = 16_000;

/** Most are short, so that many run in a minute; one of `LONG_EVERY` is up to two minutes long. */
const LENGTHS_S = { short: [0.05, 8], middle: [8, 30], long: [30, 120] };
const LENGTH_WEIGHTS = { short: 6, middle: 1 };
const LONG_EVERY = 30;

/** Dealt in turn, so that a small pool has every kind too. */
const KINDS = [
  ...[clean, lose, pcm, flip, wholeFile, truncate, clean, fileBytes, replace, odd],
  ...[clean, mix, pcm, damagedFile, clean, lose, fileBytes],
];

/**
 * Of each case: `label` says how it was made, `method` names the transcriber's method, which takes
 * `input` and `options`.
 */
export function makeCases(random, count) {
  const shelf = readFixtures();
  return Array.from({ length: count }, (_, index) => {
    const long = index % LONG_EVERY === LONG_EVERY - 1;
    const made = (long ? clean : KINDS[index % KINDS.length])(shelf, random, long, index);
    const { label, options } = vary(made, random);
    return { ...made, options, label: `case ${index}: ${label}` };
  });
}

function readFixtures() {
  const json = (name) => JSON.parse(readFileSync(join(FIXTURES, name), 'utf8'));
  const manifest = json('manifest.json');
  const chromium = json('chromium.json').recordings;
  const recordings = [
    ...manifest.map(({ name, durationMs }) => [name, durationMs]),
    ...chromium
      .filter(({ file }) => file.endsWith('.packets'))
      .map(({ file, durationMs }) => [basename(file, '.packets'), durationMs]),
  ].map(([name, durationMs]) => {
    const packets = splitPackets(readFileSync(join(FIXTURES, `${name}.packets`)));
    return { name, packets, packetS: durationMs / 1000 / packets.length };
  });
  const wavs = readdirSync(FIXTURES)
    .filter((name) => name.endsWith('.wav'))
    .map((name) => {
      const bytes = new Uint8Array(readFileSync(join(FIXTURES, name)));
      return { name, samples: new Int16Array(bytes.slice(WAV_HEADER_BYTES).buffer) };
    });
  const files = [
    ...chromium.map(({ file }) => file).filter((file) => !file.endsWith('.packets')),
    ...readdirSync(join(FIXTURES, 'media'))
      .filter((name) => !name.endsWith('.json'))
      .map((name) => join('media', name)),
  ].map((name) => {
    const path = join(FIXTURES, name);
    return { name, path, bytes: readFileSync(path) };
  });
  return { recordings, wavs, files };
}

function clean(shelf, random, long) {
  const { list, label } = cut(shelf, random, lengthS(random, long));
  return { label, method: 'transcribe', input: list };
}

function lengthS(random, long) {
  return random.logBetween(...LENGTHS_S[long ? 'long' : random.weighed(LENGTH_WEIGHTS)]);
}

/** A stretch of one recording; if that is too short, of others behind it. */
function cut({ recordings }, random, seconds) {
  const list = [];
  const said = [];
  for (let left = seconds; left > 0; ) {
    const { name, packets, packetS } = random.pick(recordings);
    const count = Math.min(packets.length, Math.ceil(left / packetS));
    const start = random.integer(0, packets.length - count);
    list.push(...packets.slice(start, start + count));
    said.push(`${name} ${(start * packetS).toFixed(2)}+${(count * packetS).toFixed(2)} s`);
    left -= count * packetS;
  }
  return { list, label: said.join(' & ') };
}

function lose(...args) {
  return damaged('lose', ...args);
}

function flip(...args) {
  return damaged('flip', ...args);
}

function truncate(...args) {
  return damaged('truncate', ...args);
}

function replace(...args) {
  return damaged('replace', ...args);
}

function mix(...args) {
  return damaged('mix', ...args);
}

function damaged(way, shelf, random, long) {
  const { list, label } = cut(shelf, random, lengthS(random, long));
  const [input, what] = PACKET_DAMAGE[way](list, random);
  return { label: `${label}, ${what}`, method: 'transcribe', input };
}

function pcm({ wavs }, random, long) {
  const { name, samples } = random.pick(wavs);
  const count = Math.min(samples.length, Math.round(lengthS(random, long) * RATE_HZ));
  // Even, so that two channels can be made of them.
  const start = random.integer(0, (samples.length - count) >> 1) * 2;
  const stretch = samples.subarray(start, start + (count & ~1));
  const input = random.chance(0.5) ? stretch : Float32Array.from(stretch, (one) => one / 32_768);
  // A wrong rate makes odd voices, which is fine: alone they are as odd.
  const sampleRate = random.chance(0.7) ? RATE_HZ : random.pick([8_000, 11_025, 24_000, 48_000]);
  const channels = random.chance(0.9) ? 1 : 2;
  const label = `${input.constructor.name} ${name} ${start}+${input.length} at ${sampleRate} Hz, ${channels} channels`;
  return { label, method: 'transcribePcm', input, options: { sampleRate, channels } };
}

function wholeFile({ files }, random) {
  const { name, path } = random.pick(files);
  return { label: name, method: 'transcribeFile', input: path };
}

function fileBytes({ files }, random) {
  const { name, bytes } = random.pick(files);
  return { label: `bytes of ${name}`, method: 'transcribeFile', input: bytes };
}

function damagedFile({ files }, random) {
  const { name, bytes } = random.pick(files);
  const [input, what] = damageFile(bytes, random);
  return { label: `bytes of ${name}, ${what}`, method: 'transcribeFile', input };
}

/** Input that is hardly any, or none at all. */
const ODD = [
  ['no packets', 'transcribe', []],
  ['fifty lost packets', 'transcribe', new Array(50).fill(null)],
  ['no Opus', 'transcribe', new Array(50).fill(Buffer.of(0x0b, 0x00))],
  ['the longest packets', 'transcribe', new Array(3).fill(Buffer.alloc(61_000, 0xff))],
  ['empty packets', 'transcribe', new Array(9).fill(new Uint8Array(0))],
  ['no samples', 'transcribePcm', new Float32Array(0)],
  ['a sample that is no number', 'transcribePcm', new Float32Array(16_000).fill(Number.NaN, 1234)],
  ['one sample', 'transcribePcm', Int16Array.of(77)],
  ['a path that is not there', 'transcribeFile', join(FIXTURES, 'not-there.webm')],
  ['a folder', 'transcribeFile', FIXTURES],
  ['an empty file', 'transcribeFile', new Uint8Array(0)],
  ['a file of text', 'transcribeFile', Buffer.from('Ask not what your country can do for you. ')],
];

function odd(_shelf, _random, _long, index) {
  const [label, method, input] = ODD[Math.floor(index / KINDS.length) % ODD.length];
  return { label, method, input };
}

/** Options that change the text belong to the case; they are rare, because beams are slow. */
function vary({ label, input, options }, random) {
  const extra = random.chance(0.8)
    ? {}
    : random.pick([
        { beamSize: random.integer(2, 4) },
        { temperature: 0 },
        { temperature: [0.4, 0.8] },
        { initialPrompt: 'Moses, Ephraim and Manasseh; my fellow Americans.' },
        { vad: { threshold: 0.3, speechPadMs: 100 } },
        // Without VAD all of it is speech, and a long input slow.
        input.length < 300 ? { vad: false } : { vad: { minSilenceDurationMs: 1000 } },
      ]);
  const said = Object.keys(extra).length > 0 ? `, ${JSON.stringify(extra)}` : '';
  return { label: `${label}${said}`, options: { ...options, ...extra } };
}
