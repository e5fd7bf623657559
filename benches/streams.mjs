// Live streams at the pace of speech: how soon after the end of speech the final text comes, how soon
// the first interim text, how far committed text is behind, and how many streams the machine affords.
//
//     node benches/streams.mjs                          1, 2, 4 … streams of the committed recordings
//     node benches/streams.mjs --streams 1,4,8 --minutes 2 --model tiny.en
//     node benches/streams.mjs --baseline               also faster-whisper, as bench:setup brings it,
//                                                       under the policy of whisper_streaming
//
// Every stream speaks the same recordings, each begun elsewhere. Expects what setup brings.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../scripts/tools.mjs';
import { ct2Folder, venvPython } from './peers/list.mjs';
import { describeMachine, physicalCores, warnOfLoad } from './peers/machine.mjs';
import { quantile } from './peers/statistics.mjs';

const { values } = parseArgs({
  options: {
    streams: { type: 'string', default: '1,2,4,8' },
    minutes: { type: 'string', default: '2' },
    model: { type: 'string', default: 'tiny.en' },
    baseline: { type: 'boolean', default: false },
  },
});
const PACKET_MS = 20;
/** Those that are committed as samples too, for the baseline. */
const RECORDINGS = ['libri_moses', 'jfk'];

const { splitPackets, Transcriber } = createRequire(import.meta.url)(root);
const fixture = (name) => readFileSync(join(root, '__test__', 'fixtures', `${name}.packets`));
const all = RECORDINGS.flatMap((name) => splitPackets(fixture(name)));
const minutes = Number(values.minutes);

warnOfLoad();
console.log(
  `${describeMachine(physicalCores())}, ${values.model}, ${minutes} min for each stream\n`,
);
console.log(
  '| streams | final after the end of speech, p50 | p95 | first interim after the start, p50 | ' +
    'committed text behind, mean | words committed before the end | CPU s per s |',
);
console.log('| --- | --- | --- | --- | --- | --- | --- |');
for (const count of values.streams.split(',').map(Number)) report(count, await measure(count));
if (values.baseline) baseline();

async function measure(count) {
  const transcriber = await Transcriber.open({ model: values.model, threads: physicalCores() });
  const before = process.cpuUsage();
  const heard = await Promise.all(
    Array.from({ length: count }, (_, index) => speak(transcriber, index, count)),
  );
  const { user, system } = process.cpuUsage(before);
  await transcriber.close();
  const cpu = (user + system) / 1e6 / (count * minutes * 60);
  return { cpu, told: heard.flat() };
}

/** What one stream tells of each utterance, with the moments at which it does. */
async function speak(transcriber, index, count) {
  const packets = Math.round((minutes * 60_000) / PACKET_MS);
  const from = Math.floor((all.length * index) / count);
  const stream = transcriber.createStream();
  // Streams do not begin in step.
  const begun = performance.now() + ((index * 313) % 1000);
  const utterances = [];
  const at = (ms) => begun + ms;
  const reading = (async () => {
    let start = 0;
    let end = 0;
    for await (const event of stream) {
      const now = performance.now();
      if (event.type === 'speech-start') start = event.atMs;
      else if (event.type === 'speech-end') end = event.atMs;
      else {
        utterances[event.utterance] ??= { startAt: at(start), commits: [] };
        const utterance = utterances[event.utterance];
        if (event.type === 'interim') {
          utterance.firstAt ??= now;
          utterance.commits.push({ now, words: wordsOf(event.committed) });
        } else {
          utterance.finalAt = now;
          utterance.words = wordsOf(event.transcript.text);
          // One that was cut off ends where it was cut.
          const cut = event.transcript.speech[0].endMs;
          utterance.endAt = at(end > event.transcript.speech[0].startMs ? Math.min(end, cut) : cut);
        }
      }
    }
  })();
  for (let packet = 0; packet < packets; packet += 1) {
    const due = begun + (packet + 1) * PACKET_MS - performance.now();
    if (due > 1) await new Promise((resolve) => setTimeout(resolve, due));
    stream.write(all[(from + packet) % all.length]);
  }
  stream.end();
  await reading;
  // What goes on behind a cut begins there, and not with the speech.
  utterances.forEach((one, index) => {
    one.startAt = Math.max(one.startAt, utterances[index - 1]?.endAt ?? 0);
  });
  return utterances;
}

function wordsOf(text) {
  return text.split(/\s+/).filter(Boolean).length;
}

function report(count, { cpu, told }) {
  const latency = told.map(({ finalAt, endAt }) => finalAt - endAt);
  const first = told.flatMap(({ firstAt, startAt }) => (firstAt ? [firstAt - startAt] : []));
  const early = sum(
    told.map((one) => one.commits.findLast(({ now }) => now < one.endAt)?.words ?? 0),
  );
  const words = sum(told.map((one) => one.words));
  console.log(
    `| ${count} | ${ms(quantile(latency, 0.5))} | ${ms(quantile(latency, 0.95))} | ` +
      `${ms(quantile(first, 0.5))} | ${ms(sum(told.map(behind)) / words)} | ` +
      `${((100 * early) / words).toFixed(0)} % | ${cpu.toFixed(3)} |`,
  );
}

/** Words are taken to be said evenly: how long after each it was committed, all added up. */
function behind({ startAt, endAt, finalAt, words, commits }) {
  let total = 0;
  for (let word = 0; word < words; word += 1) {
    const saidAt = startAt + ((endAt - startAt) * (word + 1)) / words;
    const committed = commits.find((one) => one.words > word)?.now ?? finalAt;
    total += Math.max(0, committed - saidAt);
  }
  return total;
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

function ms(value) {
  return `${value.toFixed(0)} ms`;
}

function baseline() {
  const script = join(root, 'benches', 'peers', 'faster_whisper_live.py');
  const recordings = RECORDINGS.map((name) => join(root, '__test__', 'fixtures', `${name}.wav`));
  const model = ct2Folder(values.model);
  const args = [script, model, String(physicalCores()), String(minutes * 60), ...recordings];
  const { status, stdout, stderr } = spawnSync(venvPython, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr || 'run npm run bench:setup first');
  console.log(`\n${stdout}`);
}
