// Isolation put to the test: jobs and live streams on isolated transcribers, whose workers are killed,
// stopped and starved at random moments. Every promise must settle, once, with what its input comes to
// where nothing disturbs it, or with an error that was provoked; nothing may stay behind.
//
//     npm run chaos                        ten minutes
//     npm run chaos -- --minutes 1         any length
//     npm run chaos -- --seed 7            the same decisions as another run
//     npm run chaos -- --workers 1         no second transcriber; default 2, which it has
//     npm run chaos -- --short             fewer long inputs, for a machine that is slow
//     npm run chaos -- --json FILE         writes what was measured
//     SLOWER=30 npm run chaos              for one that takes so many times as long as a processor
//
// Ends with an error when anything is lost, wrong or left. Before the minutes begin every input is
// transcribed in this process.

import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import v8 from 'node:v8';
import vm from 'node:vm';
import { Transcriber } from 'opuscribe';
import { fail } from '../../scripts/tools.mjs';
import { patient } from '../patience.mjs';
import { Random } from '../soak/random.mjs';
import { hearAlone, makeCases, PROMPT } from './cases.mjs';
import { Closing } from './closing.mjs';
import { CrashFolder } from './crash_folder.mjs';
import { Host } from './host.mjs';
import { Hurter } from './hurt.mjs';
import { Ledger } from './ledger.mjs';
import { Load } from './load.mjs';
import { Orphans } from './orphans.mjs';
import { childrenOf, comesTrue, openFiles } from './processes.mjs';
import { render, summarize } from './report.mjs';
import { makeSpeeches, Streams } from './streams.mjs';

const MB = 2 ** 20;
/** Small, so that bursts go beyond it. */
const MAX_QUEUE = 16;
/** So that processes are also replaced on purpose, now and then. */
const RECYCLE_AFTER_JOBS = 15;
/** How long everything may take to be answered when nothing is hurt any more. */
const DRAIN_MS = patient(180_000);
const SERVE_MS = patient(30_000);
const CLOSE_MS = patient(60_000);
const GONE_MS = 15_000;
/** What may be left of either when everything is closed; a lost input alone is megabytes. */
const SPARE_FILES = 8;
const SPARE_HEAP_MB = 32;

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 32) },
    workers: { type: 'string', default: '2' },
    model: { type: 'string', default: 'tiny.en' },
    short: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
const minutes = number('minutes');
const seed = number('seed');
const workers = number('workers');
const { model } = options;
// One each: there are more workers than small machines have cores.
const engine = { model, threads: 1 };

v8.setFlagsFromString('--expose-gc');
const collect = vm.runInNewContext('gc');

console.log(`seed ${seed}`);
const random = new Random(seed);
const summary = await chaos();
console.log(`\n${render(summary)}`);
if (options.json) writeFileSync(options.json, JSON.stringify(summary, null, 1));
console.log(summary.failed ? '\nfailed' : '\npassed');
// What is lost may keep this process for ever.
process.exit(summary.failed ? 1 : 0);

function number(name) {
  const value = Number(options[name]);
  if (!(value >= 0)) fail(`--${name} is ${options[name]}; expected a number`);
  return value;
}

async function chaos() {
  const ledger = new Ledger();
  const cases = makeCases(options.short);
  const alone = await Transcriber.open(engine);
  await hearAlone(cases, alone);
  const speeches = await makeSpeeches(alone, options.short);
  await alone.close();
  const folder = new CrashFolder(ledger, [PROMPT, ...cases.map(({ text = '' }) => text)]);
  const childrenBefore = new Set(childrenOf(process.pid));
  const before = state();

  let over = false;
  process.once('SIGINT', () => {
    over = true;
  });
  const started = performance.now();
  const goesOn = () => !over && performance.now() - started < minutes * 60_000;
  const shared = { ledger, folder, goesOn, cases, speeches, model, engine };
  const hosts = makeHosts(shared);
  await Promise.all(hosts.map((host) => host.open(engine)));
  const parts = {
    hurter: new Hurter({ random: random.fork(), hosts, goesOn }),
    closing: new Closing({ random: random.fork(), ...shared }),
    orphans: new Orphans({ random: random.fork(), ...shared }),
    streams: new Streams({ random: random.fork(), ...shared }),
  };
  const load = new Load({ random: random.fork(), ...shared });
  let peakMb = 0;
  const watching = setInterval(() => {
    peakMb = Math.max(peakMb, state().rssMb);
  }, 1000);
  const telling = setInterval(
    () => tell(ledger, hosts, parts, performance.now() - started),
    30_000,
  );
  const running = Promise.all([
    parts.hurter.run(),
    parts.closing.run(),
    parts.orphans.run(),
    parts.streams.run(hosts),
    load.run(hosts),
  ]);
  await Promise.race([running, deadline(started)]);
  clearInterval(telling);
  clearInterval(watching);
  // Before closing gives it up.
  ledger.findLost();
  const closed = Promise.all(hosts.map((host) => end(host, ledger)));
  await Promise.race([closed, sleep(CLOSE_MS)]);
  if (ledger.lost.length === 0) ledger.findLost();
  for (const host of hosts) host.audit();
  const left = await strangers(childrenBefore);
  if (left.length > 0) ledger.blame('orphan', 'after the end', `processes ${left} are left`);
  const reportsLeft = folder.end();
  await sleep(500);
  collect();
  const after = state();
  judge(ledger, before, after);
  const setting = { model, seed, workers, minutes: (performance.now() - started) / 60_000 };
  return summarize({
    setting,
    ledger,
    hosts,
    ...parts,
    folder,
    reportsLeft,
    before,
    after,
    peakMb,
  });
}

/** Of one worker, and of several, which are also replaced on purpose. */
function makeHosts(shared) {
  const one = { workers: 1, maxQueue: MAX_QUEUE, ...shared };
  const hosts = [new Host('transcriber of one worker', one)];
  if (workers > 1) {
    const maxQueue = MAX_QUEUE * workers;
    const several = { workers, maxQueue, recycleAfterJobs: RECYCLE_AFTER_JOBS, ...shared };
    hosts.push(new Host(`transcriber of ${workers} workers`, several));
  }
  return hosts;
}

/** Everything must be answered by then. */
async function deadline(started) {
  const endMs = minutes * 60_000 + DRAIN_MS - (performance.now() - started);
  await sleep(Math.max(0, endMs));
}

async function end(host, ledger) {
  const serve = () => host.slots.every(({ state }) => state === 'serving');
  if (!(await comesTrue(serve, SERVE_MS))) {
    const states = host.slots.map(({ state }) => state);
    ledger.blame('other', host, `its workers are ${states} long after the last was hurt`);
  }
  await host.reported();
  await host.close(ledger.lost.length > 0 ? 'now' : 'drain');
}

async function strangers(known) {
  const found = () => childrenOf(process.pid).filter((pid) => !known.has(pid));
  await comesTrue(() => found().length === 0, GONE_MS);
  return found();
}

function state() {
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rssMb: rss / MB, jsMb: (heapUsed + external) / MB, files: openFiles() };
}

function judge(ledger, before, after) {
  if (after.files > before.files + SPARE_FILES) {
    ledger.blame('other', 'after the end', `${before.files} files were open, ${after.files} are`);
  }
  if (after.jsMb > before.jsMb + SPARE_HEAP_MB) {
    const [from, to] = [before.jsMb, after.jsMb].map((mb) => mb.toFixed());
    ledger.blame('other', 'after the end', `JavaScript held ${from} MB, and holds ${to} MB`);
  }
}

function tell(ledger, hosts, { hurter }, tookMs) {
  const crashes = hosts.reduce((sum, { crashCount }) => sum + crashCount, 0);
  const hurts = [...hurter.counts.values()].reduce((sum, count) => sum + count, 0);
  const parts = [
    `${(tookMs / 60_000).toFixed(1)} min`,
    `${ledger.settled} of ${ledger.started} settled, the oldest is ${(ledger.oldestMs / 1000).toFixed()} s old`,
    `${hurts} times hurt, ${crashes} crashes`,
    `${Object.values(ledger.counts).reduce((sum, count) => sum + count, 0)} wrong`,
    `${state().rssMb.toFixed()} MB`,
  ];
  console.log(parts.join('; '));
}
