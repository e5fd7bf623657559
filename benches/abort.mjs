// How long a job that is given up still takes: until its promise settles, and until every stage has
// let go of it, so that its place is free and, with no other job, the engine idle. By the moment at
// which it is given up, at random: while it waits for others, while it is decoded and searched for
// speech, while Whisper is at work. The times of timeoutMs include the call itself.
//
//     node benches/abort.mjs                      200 of each
//     node benches/abort.mjs --count 20 --model base --threads 1 --recordings jfk
//
// Expects what setup brings.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { fail, root } from '../scripts/tools.mjs';

const { splitPackets, Transcriber } = createRequire(import.meta.url)(root);
const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '200' },
    recordings: { type: 'string', default: 'jfk,libri_moses' },
    model: { type: 'string', default: 'tiny.en' },
    threads: { type: 'string' },
  },
});
const COUNT = Number(values.count);
/** Some are over before they are given up, or in another phase than was aimed at. */
const TRIES_PER_COUNT = 10;
const PHASES = ['queued', 'decoding or VAD', 'Whisper'];
/** What others wait for. */
const LONG = packets('libri_moses');
/** The watch needs the processor too: until this long before the moment it sleeps. */
const WATCH_MS = 3;

const transcriber = await Transcriber.open({
  model: values.model,
  ...(values.threads && { threads: Number(values.threads) }),
});
const rows = [];
for (const name of values.recordings.split(',')) {
  const list = packets(name);
  const alone = await solo(list);
  for (const by of ['abort()', 'timeoutMs']) {
    for (const phase of PHASES) {
      const found = await giveUpMany(list, alone, by, phase);
      rows.push({ name, by, phase, ...found });
      console.error(`${name}, ${by}, ${phase}: ${found.settledMs.length}`);
    }
  }
}
console.log(render());
await transcriber.close();

function packets(name) {
  return splitPackets(readFileSync(join(root, '__test__', 'fixtures', `${name}.packets`)));
}

/** What a job takes when it is left alone; the first run warms up. */
async function solo(list) {
  await transcriber.transcribe(list);
  return (await transcriber.transcribe(list)).timings;
}

async function giveUpMany(list, alone, by, phase) {
  const [settledMs, goneMs] = [[], []];
  let blocker;
  for (let tries = 0; settledMs.length < COUNT; tries += 1) {
    if (tries > COUNT * TRIES_PER_COUNT) fail(`${phase} was hit too seldom`);
    if (phase === 'queued' && !blocker?.atWork) blocker = await busy();
    const one = await giveUp(list, moment(alone, phase), by, phase);
    // What had nothing to wait for any more did not wait.
    if (one === undefined || blocker?.atWork === false) continue;
    settledMs.push(one.settledMs);
    goneMs.push(one.goneMs);
  }
  blocker?.controller.abort();
  while (admitted() > 0) await turn();
  return { settledMs, goneMs };
}

/** Another job that Whisper is at work on. */
async function busy() {
  while (admitted() > 0) await turn();
  const blocker = { controller: new AbortController(), atWork: false };
  await new Promise((resolve) => {
    const onProgress = () => {
      blocker.atWork = true;
      resolve();
    };
    const end = () => {
      blocker.atWork = false;
    };
    transcriber.transcribe(LONG, { signal: blocker.controller.signal, onProgress }).then(end, end);
  });
  return blocker;
}

/** When to give up, in milliseconds after the call, with some room around the phase. */
function moment({ decodeMs, vadMs, totalMs }, phase) {
  const searched = decodeMs + vadMs;
  const [from, to] = {
    queued: [searched, searched + 300],
    'decoding or VAD': [0, Math.min(searched, totalMs / 2)],
    Whisper: [0, totalMs],
  }[phase];
  // A timeout is at least 1 ms.
  return Math.max(1, from + Math.random() * (to - from));
}

function admitted() {
  const { queued, running } = transcriber.stats();
  return queued + running;
}

/**
 * One job, given up after `afterMs`. Nothing if it was over by then, or not in that phase: what is
 * searched for speech counts `vadMs`, and is at once in Whisper's hands.
 */
async function giveUp(list, afterMs, by, phase) {
  const others = admitted();
  const before = transcriber.stats();
  const controller = new AbortController();
  let settledAt;
  let gaveUp = false;
  const started = performance.now();
  const settle = (error) => {
    settledAt = performance.now();
    gaveUp = error?.name === 'AbortError' || error?.code === 'ERR_TIMEOUT';
  };
  transcriber
    .transcribe(list, by === 'abort()' ? { signal: controller.signal } : { timeoutMs: afterMs })
    .then(() => settle(), settle);
  const at = started + afterMs;
  if (afterMs > WATCH_MS) await sleep(afterMs - WATCH_MS);
  // The phase right before: after a deadline the job may be gone already.
  let found = phaseNow(before, others);
  while (performance.now() < at) {
    await turn();
    if (performance.now() < at) found = phaseNow(before, others);
  }
  const givenUpAt = by === 'abort()' ? performance.now() : at;
  if (by === 'abort()') controller.abort();
  let goneAt;
  while (settledAt === undefined || goneAt === undefined) {
    await turn();
    // Between two stages nothing runs for a moment; its place is free when all have let go of it.
    if (goneAt === undefined && admitted() <= others) goneAt = performance.now();
  }
  if (!gaveUp || found !== phase) return undefined;
  return { settledMs: settledAt - givenUpAt, goneMs: goneAt - givenUpAt };
}

function phaseNow(before, others) {
  const { queued, running, vadMs } = transcriber.stats();
  if (others > 0) return queued > 0 && running > 0 ? 'queued' : 'elsewhere';
  return vadMs > before.vadMs ? 'Whisper' : 'decoding or VAD';
}

function render() {
  const head =
    '| recording | given up by | while | how many | to settled, p50 | p99 | max | to let go, p50 | p99 | max |';
  const line = '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |';
  const body = rows.map(({ name, by, phase, settledMs, goneMs }) => {
    const times = [settledMs, goneMs].flatMap((list) => [0.5, 0.99, 1].map(quantile(list)));
    return `| ${[name, `\`${by}\``, phase, settledMs.length, ...times].join(' | ')} |`;
  });
  const { threads } = transcriber.info;
  const machine = `${cpus()[0].model.trim()}, ${cpus().length} cores, Node ${process.versions.node}, ${values.model}, ${threads} threads`;
  return [machine, '', head, line, ...body].join('\n');
}

function quantile(list) {
  const sorted = [...list].sort((a, b) => a - b);
  return (share) => {
    const value = sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    return `${value.toFixed(value < 10 ? 2 : 0)} ms`;
  };
}
