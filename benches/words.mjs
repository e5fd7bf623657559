// The times of words, beside faster-whisper's on the same samples: how far apart are the starts and
// ends of the words that both wrote? Needs `npm run bench:setup`.
//
//     node benches/words.mjs --speech FOLDER [--limit N]     FOLDER as in bench.mjs

import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { tsImport } from 'tsx/esm/api';
import { root } from '../scripts/tools.mjs';
import { ct2Folder, venvPython } from './peers/list.mjs';
import { physicalCores } from './peers/machine.mjs';
import { recordings } from './peers/recordings.mjs';
import { samples } from './peers/serve.mjs';

const MODEL = 'tiny.en';
const { normalize } = await tsImport('../__test__/wer.ts', import.meta.url);
const { Transcriber } = createRequire(import.meta.url)(root);
const { values } = parseArgs({
  options: { speech: { type: 'string' }, limit: { type: 'string', default: '1000' } },
});
const threads = Math.min(physicalCores(), 8);
const chosen = recordings({ model: MODEL, speech: values.speech, limit: Number(values.limit) });
const speech = chosen.filter(({ kind }) => kind === 'speech');

const theirs = execFileSync(
  venvPython,
  ['benches/peers/faster_whisper_words.py', ct2Folder(MODEL), String(threads)],
  { cwd: root, encoding: 'utf8', input: speech.map(({ wav }) => wav).join('\n') },
)
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line));

const transcriber = await Transcriber.open({ model: MODEL, threads });
const starts = [];
const ends = [];
let plainMs = 0;
let wordsMs = 0;
for (const [index, recording] of speech.entries()) {
  const pcm = samples(recording);
  const plain = await transcriber.transcribePcm(pcm);
  const { segments, timings } = await transcriber.transcribePcm(pcm, { wordTimestamps: true });
  plainMs += plain.timings.inferenceMs;
  wordsMs += timings.inferenceMs;
  const ours = segments.flatMap((segment) => segment.words);
  for (const [our, their] of pairs(ours, theirs[index])) {
    starts.push(our.startMs - their.startMs);
    ends.push(our.endMs - their.endMs);
  }
}
await transcriber.close();

console.log(`${speech.length} recordings, ${starts.length} words that both wrote, ${MODEL}`);
for (const [name, differences] of Object.entries({ starts, ends })) {
  const sizes = differences.map(Math.abs).sort((a, b) => a - b);
  const at = (share) => sizes[Math.floor((sizes.length - 1) * share)].toFixed(0);
  const sum = differences.reduce((total, one) => total + one, 0);
  const mean = (sum / differences.length).toFixed(0);
  console.log(`${name}: median ${at(0.5)} ms apart, p95 ${at(0.95)} ms; ours later by ${mean} ms`);
}
console.log(
  `inference with words takes ${(wordsMs / plainMs).toFixed(2)} times as long as without`,
);

/** The longest common sequence of words, pair by pair. */
function pairs(ours, theirs) {
  const key = ({ text }) => normalize(text).join(' ');
  const [a, b] = [ours.map(key), theirs.map(key)];
  const longest = Array.from({ length: a.length + 1 }, () => new Array(b.length + 1).fill(0));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i][j] =
        a[i] === b[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const found = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) found.push([ours[i++], theirs[j++]]);
    else if (longest[i + 1][j] >= longest[i][j + 1]) i += 1;
    else j += 1;
  }
  return found;
}
