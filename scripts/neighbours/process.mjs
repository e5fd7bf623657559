// One process of scripts/neighbours.mjs: uses opuscribe and its neighbours in the given order,
// each again after all others, then all at once. Every answer is compared with what is known.

import assert from 'node:assert/strict';
import { readFileSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const { order, end, refused, folders, silero, gguf } = JSON.parse(process.argv[2]);
const { Transcriber, splitPackets } = createRequire(import.meta.url)('opuscribe');
const fixture = (name) => readFileSync(join('__test__', 'fixtures', name));
const from = (name) => createRequire(join(folders[name], 'package.json'));

/** Opening one loads it, and answers how to use it. */
const OPEN = {
  opuscribe,
  'onnxruntime-node': () => onnxruntime('own'),
  'onnxruntime-node, another version': () => onnxruntime('onnxruntime-node'),
  '@discordjs/opus': discordOpus,
  opusscript,
  'sherpa-onnx-node': sherpa,
  'node-llama-cpp': llama,
};

const uses = [];
for (const name of order) {
  if (name === refused) {
    await assert.rejects(OPEN[name], { code: 'ERR_DLOPEN_FAILED' });
    continue;
  }
  uses.push(await OPEN[name]());
  await uses.at(-1)();
}
for (const use of uses) await use();
await Promise.all(uses.map((use) => use()));

// By writeSync, because process.exit waits for no stream.
if (end !== 'exit while running') writeSync(1, 'right\n');
if (end === 'exit') process.exit();

async function opuscribe() {
  const transcriber = await Transcriber.open({ model: 'tiny.en' });
  const packets = splitPackets(fixture('jfk.packets'));
  let known;
  if (end === 'exit while running') process.once('beforeExit', () => exitWhileRunning(transcriber));
  return async () => {
    const { text } = await transcriber.transcribe(packets);
    assert.match(text, /your country/);
    known ??= text;
    assert.equal(text, known);
  };
}

/** After everything else, with whatever is open still open. */
function exitWhileRunning(transcriber) {
  const onProgress = () => {
    writeSync(1, 'right\n');
    process.exit();
  };
  transcriber.transcribe(splitPackets(fixture('libri_moses.packets')), { onProgress });
}

/** The detector's network, fed and compared as in the tests of our own use of it. */
async function onnxruntime(folder) {
  const { InferenceSession, Tensor } = from(folder)('onnxruntime-node');
  const session = await InferenceSession.create('assets/silero_vad_16k_products.onnx', {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
  });
  const [window, context] = [512, 64];
  const pcm = jfk();
  const count = Math.ceil(pcm.length / window);
  const input = new Float32Array(count * (context + window));
  for (let index = 0; index < count; index += 1) {
    const start = index * window;
    const behind = pcm.subarray(Math.max(0, start - context), start + window);
    input.set(behind, index * (context + window) + (start === 0 ? context : 0));
  }
  const reference = JSON.parse(fixture('vad_reference.json')).inputs;
  const known = reference.find(({ name }) => name === 'jfk').probabilities;
  const state = () => new Tensor('float32', new Float32Array(128), [1, 1, 128]);
  return async () => {
    const { speech_probs } = await session.run({
      input: new Tensor('float32', input, [count, context + window]),
      h: state(),
      c: state(),
    });
    assert.equal(speech_probs.data.length, known.length);
    const furthest = Math.max(
      ...known.map((value, index) => Math.abs(value - speech_probs.data[index])),
    );
    assert.ok(furthest < 1e-3, `off by ${furthest}`);
  };
}

function discordOpus() {
  const { OpusEncoder } = from('@discordjs/opus')('@discordjs/opus');
  const codec = new OpusEncoder(48_000, 1);
  return () => sineThrough((frame) => codec.decode(codec.encode(frame)));
}

function opusscript() {
  const OpusScript = from('opusscript')('opusscript');
  const codec = new OpusScript(48_000, 1, OpusScript.Application.AUDIO);
  return () => sineThrough((frame) => codec.decode(codec.encode(frame, 960)));
}

/** A second of a tone in frames of 20 ms. The codec delays it, which leaves a tone a tone. */
function sineThrough(encodeAndDecode) {
  const [frame, frames, amplitude] = [960, 50, 8000];
  const radians = (2 * Math.PI * 500) / 48_000;
  const [settled, heard] = [10, []];
  for (let index = 0; index < frames; index += 1) {
    const samples = Int16Array.from(
      { length: frame },
      (_, at) => amplitude * Math.sin(radians * (index * frame + at)),
    );
    const decoded = encodeAndDecode(Buffer.from(samples.buffer));
    assert.equal(decoded.length, samples.byteLength);
    if (index < settled) continue;
    for (let at = 0; at < decoded.length; at += 2) heard.push(decoded.readInt16LE(at));
  }
  let [sine, cosine, power] = [0, 0, 0];
  for (const [at, sample] of heard.entries()) {
    sine += (2 / heard.length) * sample * Math.sin(radians * at);
    cosine += (2 / heard.length) * sample * Math.cos(radians * at);
    power += sample ** 2 / heard.length;
  }
  const tone = (sine ** 2 + cosine ** 2) / 2;
  const decibels = 10 * Math.log10(tone / (power - tone));
  assert.ok(
    Math.abs(Math.sqrt(2 * tone) / amplitude - 1) < 0.05,
    `as loud as ${Math.sqrt(2 * tone)}`,
  );
  assert.ok(decibels > 20, `${decibels} dB`);
}

function sherpa() {
  const { Vad } = from('sherpa-onnx-node')('sherpa-onnx-node');
  const pcm = jfk();
  // Where the reference package finds speech with the same options, in milliseconds.
  const known = [322, 3266, 5378, 8162];
  const open = [];
  return () => {
    const speech = starts(pcm);
    assert.equal(speech.length, known.length);
    for (const [index, start] of speech.entries()) assert.ok(Math.abs(start - known[index]) < 100);
    assert.deepEqual(starts(new Float32Array(pcm.length)), []);
  };

  function starts(samples) {
    const sileroVad = { model: silero, threshold: 0.5, windowSize: 512 };
    const durations = { minSpeechDuration: 0.25, minSilenceDuration: 0.5, maxSpeechDuration: 30 };
    const vad = new Vad(
      { sileroVad: { ...sileroVad, ...durations }, sampleRate: 16_000, numThreads: 1, debug: 0 },
      60,
    );
    // Held, so that each is still there when the process ends.
    open.push(vad);
    for (let at = 0; at + 512 <= samples.length; at += 512) {
      vad.acceptWaveform(samples.subarray(at, at + 512));
    }
    vad.flush();
    const heard = [];
    while (!vad.isEmpty()) {
      heard.push(vad.front().start / 16);
      vad.pop();
    }
    return heard;
  }
}

/** Tokenizes, and continues the alphabet with the model of tiny_gguf.mjs. */
async function llama() {
  const main = from('node-llama-cpp').resolve('node-llama-cpp');
  const { getLlama } = await import(pathToFileURL(main));
  const cpu = await getLlama({ gpu: false, build: 'never', skipDownload: true, maxThreads: 1 });
  assert.equal(cpu.gpu, false);
  const model = await cpu.loadModel({ modelPath: gguf });
  const context = await model.createContext({ contextSize: 256, threads: 1 });
  return async () => {
    assert.deepEqual(
      model.tokenize('opusabc').map((token) => model.detokenize([token])),
      ['opus', 'a', 'b', 'c'],
    );
    const sequence = context.getSequence();
    const said = [];
    for await (const token of sequence.evaluate(model.tokenize('klm'), { temperature: 0 })) {
      said.push(token);
      if (said.length === 8) break;
    }
    sequence.dispose();
    assert.equal(model.detokenize(said), 'nopqrstu');
  };
}

/** The recording as samples: 16 kHz mono, behind a 44-byte header. */
function jfk() {
  const bytes = fixture('jfk.wav').subarray(44);
  return Float32Array.from(
    { length: bytes.length / 2 },
    (_, at) => bytes.readInt16LE(at * 2) / 32768,
  );
}
