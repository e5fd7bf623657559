// What a worker process of its own costs each job: the same utterance in this process and in an
// isolated one, in turns.
//
//     node benches/isolation.mjs [--rounds 60] [--model tiny.en]
//
// The cost is what a call takes beyond decoding, detection, waiting and inference, which each
// transcript tells: copies, messages, and the turns of two event loops.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../scripts/tools.mjs';
import { describeMachine, warnOfLoad } from './peers/machine.mjs';

const require = createRequire(import.meta.url);
const { splitPackets, Transcriber } = require('opuscribe');
const { IsolatedTranscriber } = require('opuscribe/isolated');

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '60' },
    model: { type: 'string', default: 'tiny.en' },
  },
});

const fixture = (name) => readFileSync(join(root, '__test__', 'fixtures', name));
/** 10 s of speech. */
const packets = splitPackets(fixture('jfk.packets')).slice(0, 500);
const wav = fixture('jfk.wav');
const pcm = Float32Array.from(
  { length: 160_000 },
  (_, at) => wav.readInt16LE(44 + 2 * at) / 32_768,
);

warnOfLoad();
const open = { 'this process': Transcriber, isolated: IsolatedTranscriber };
const inputs = {
  packets: (transcriber) => transcriber.transcribe(packets),
  samples: (transcriber) => transcriber.transcribePcm(pcm),
};

const transcribers = {};
for (const [where, kind] of Object.entries(open)) {
  transcribers[where] = await kind.open({ model: values.model });
}
const times = {};
for (let round = -2; round < Number(values.rounds); round += 1) {
  for (const [what, transcribe] of Object.entries(inputs)) {
    for (const [where, transcriber] of Object.entries(transcribers)) {
      const called = performance.now();
      const { timings } = await transcribe(transcriber);
      const wallMs = performance.now() - called;
      const { decodeMs, vadMs, waitMs, inferenceMs } = timings;
      if (round < 0) continue;
      times[`${what} | ${where}`] ??= [];
      times[`${what} | ${where}`].push([wallMs, wallMs - decodeMs - vadMs - waitMs - inferenceMs]);
    }
  }
}
for (const transcriber of Object.values(transcribers)) await transcriber.close();

const quantile = (numbers, share) =>
  [...numbers].sort((a, b) => a - b)[Math.floor(share * (numbers.length - 1))];
console.log(`${describeMachine(2)}, ${values.model}, 10 s of speech, ${values.rounds} rounds\n`);
console.log('| input | where | wall clock, p50 | p95 | beside the work, p50 | p95 |');
console.log('| --- | --- | --- | --- | --- | --- |');
for (const [what, all] of Object.entries(times)) {
  const columns = [0, 1].flatMap((index) =>
    [0.5, 0.95].map(
      (share) =>
        `${quantile(
          all.map((each) => each[index]),
          share,
        ).toFixed(index === 0 ? 0 : 2)} ms`,
    ),
  );
  console.log(`| ${what} | ${columns.join(' | ')} |`);
}
