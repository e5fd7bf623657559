// Hours of everything at once: real recordings, damaged in every way, aborted, timed out, in
// transcribers that open and close. Each answer must be the one the input has alone, or one that was
// provoked; no promise may be lost, and memory may not grow.
//
//     npm run soak                        an hour
//     npm run soak -- --minutes 0.5       any length; memory is judged from 15 minutes on
//     npm run soak -- --seed 7            the same cases and decisions as another run
//     npm run soak -- --json FILE         writes what was measured, each memory sample too
//     npm run soak -- --model base --threads 1 --cases 100
//     SLOWER=30 npm run soak              for a machine that takes so many times as long as a processor
//
// Ends with an error when anything is lost or wrong, or memory grows. Before the minutes begin every
// case is transcribed alone.

import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { fail, root } from '../../scripts/tools.mjs';
import { makeCases } from './cases.mjs';
import { Delay } from './delay.mjs';
import { essence, essenceOfError } from './judge.mjs';
import { Load } from './load.mjs';
import { Memory } from './memory.mjs';
import { Random } from './random.mjs';
import { counts, render, summarize } from './report.mjs';
import { Tally } from './tally.mjs';

const { Transcriber } = createRequire(import.meta.url)(root);
const CASES = 300;
const ERRORS_OF_INPUT = ['ERR_INVALID_ARGUMENT', 'ERR_INVALID_PACKET', 'ERR_UNSUPPORTED_MEDIA'];
/** A short run needs fewer, or it would mostly wait for them. */
const CASES_PER_MINUTE = 40;

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 32) },
    model: { type: 'string', default: 'tiny.en' },
    threads: { type: 'string' },
    cases: { type: 'string' },
    json: { type: 'string' },
  },
});
const minutes = number('minutes');
const seed = number('seed');
const count = options.cases
  ? number('cases')
  : Math.round(Math.min(CASES, 20 + CASES_PER_MINUTE * minutes));
const engine = {
  model: options.model,
  ...(options.threads && { threads: number('threads') }),
};
const open = (more) => Transcriber.open({ ...engine, ...more });

console.log(`seed ${seed}, ${count} cases`);
const random = new Random(seed);
const cases = await alone(makeCases(random, count));
const summary = await soak();
console.log(`\n${render(summary)}`);
if (summary.failed) {
  console.log('\nfailed');
  // Leaving waits until every engine has ended, and one that lost something may never end.
  if (summary.lost > 0) process.kill(process.pid, 'SIGKILL');
  process.exit(1);
}

function number(name) {
  const value = Number(options[name]);
  if (!(value >= 0)) fail(`--${name} is ${options[name]}; expected a number`);
  return value;
}

/** What each case comes to on a transcriber that does nothing else. */
async function alone(list) {
  const transcriber = await open();
  const started = performance.now();
  const found = { text: 0, 'no text': 0, 'an error': 0 };
  for (const test of list) {
    try {
      const transcript = await transcriber[test.method](test.input, test.options);
      test.solo = essence(transcript);
      found[transcript.text === '' ? 'no text' : 'text'] += 1;
    } catch (error) {
      // Anything else is no property of the input.
      if (!ERRORS_OF_INPUT.includes(error.code)) fail(`${test.label}: alone ${error.stack}`);
      test.solo = essenceOfError(error);
      found['an error'] += 1;
    }
  }
  await transcriber.close();
  const tookS = (performance.now() - started) / 1000;
  console.log(`alone, in ${tookS.toFixed()} s: ${counts(found)}`);
  return list;
}

async function soak() {
  const tally = new Tally();
  const load = new Load({ cases, random, tally, open, minutes });
  process.once('SIGINT', () => load.stop());
  const memory = new Memory(() => load.alive);
  const delay = new Delay(() => load.doing);
  const started = performance.now();
  const reporting = setInterval(() => tell(tally, memory, performance.now() - started), 60_000);
  await load.run();
  const tookMs = performance.now() - started;
  delay.stop();
  clearInterval(reporting);
  memory.stop();
  const setting = { model: options.model, seed, cases: count, ...engine };
  const result = summarize({ setting, tally, load, memory, delay, tookMs });
  if (options.json) {
    writeFileSync(options.json, JSON.stringify({ ...result, samples: memory.samples }, null, 1));
  }
  return result;
}

function tell(tally, memory, tookMs) {
  const { rssMb, alive } = memory.samples.at(-1);
  const parts = [
    `${(tookMs / 60_000).toFixed()} min`,
    `${tally.settled} of ${tally.started} settled, the oldest is ${(tally.oldestMs / 1000).toFixed()} s old`,
    `${tally.faultCount} wrong`,
    `${rssMb.toFixed()} MB with ${alive} open`,
    `${tally.opened} opened`,
  ];
  console.log(parts.join('; '));
}
