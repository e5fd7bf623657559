// Can the soak fail? Plants one fault after the other between the soak and the package, and sees
// whether it is found, by its own message.
//
//     node benches/soak/faults.mjs              every fault, a minute each
//     node benches/soak/faults.mjs drop late    only these
//
// Memory is judged in long runs only, so this one is for a quarter of an hour:
//
//     SOAK_FAULT=leak node --import ./benches/soak/faults.mjs benches/soak/soak.mjs --minutes 16

import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { root } from '../../scripts/tools.mjs';

const SHORT = ['--minutes', '0.6', '--cases', '24', '--seed', '1', '--threads', '1'];
const LEAK_BYTES = 16 * 1024;
const METHODS = ['transcribe', 'transcribePcm', 'transcribeFile'];

/** What is to be said of each. */
const FOUND = {
  none: /lost, wrong \| 0, 0 /,
  text: /not what it is alone/,
  time: /not what it is alone/,
  mixUp: /the transcript of soak-/,
  drop: /has not settled/,
  timeout: /ERR_TIMEOUT before its/,
  closed: /ERR_CLOSED, and nobody closed/,
  full: /ERR_QUEUE_FULL with at most \d+ of \d+ places taken/,
  worker: /ERR_WORKER_FAILED/,
  reason: /AbortError/,
  deaf: /has not settled|answered \d+\.\d s after|not what it is alone|a transcript, although/,
  late: /answered \d+\.\d s after it was given up/,
  segment: /onSegment told/,
  progress: /the last onProgress was|onProgress fell/,
  after: /told something after the answer/,
  close: /closing transcriber .*:\s+has not settled/,
  counter: /transcripts came/,
  restart: /stages were rebuilt/,
  held: /it was not collected/,
  thread: /threads of \d+ engines are left/,
};

const { SOAK_FAULT: planted } = process.env;
if (planted) plant(planted);
else findAll(process.argv.slice(2));

function findAll(chosen) {
  let missed = 0;
  for (const name of chosen.length > 0 ? chosen : Object.keys(FOUND)) {
    const argv = ['--import', import.meta.filename, join(import.meta.dirname, 'soak.mjs')];
    const { status, stdout } = spawnSync(process.execPath, [...argv, ...SHORT], {
      env: { ...process.env, SOAK_FAULT: name },
      encoding: 'utf8',
    });
    const found = FOUND[name].test(stdout) && (status === 0) === (name === 'none');
    if (!found) missed += 1;
    const said = stdout.match(FOUND[name])?.[0] ?? stdout;
    console.log(`${found ? 'found ' : 'MISSED'} ${name}: status ${status}, ${said}`);
  }
  process.exitCode = missed > 0 ? 1 : 0;
}

function plant(name) {
  const { OpuscribeError, Transcriber } = createRequire(import.meta.url)(root);
  const { prototype } = Transcriber;
  let calls = 0;
  const now = (every) => calls % every === every - 1;
  const failing = (code) => (real) => (now(50) ? Promise.reject(error(code)) : real());
  const error = (code) => new OpuscribeError(code, 'planted', { retryAfterMs: 10 });
  const altered = (alter) => async (real) => {
    const due = now(4);
    const transcript = await real();
    return due && transcript.text !== '' ? { ...transcript, ...alter(transcript) } : transcript;
  };
  const ways = {
    text: altered(({ text }) => ({ text: text.slice(0, -1) })),
    time: altered(({ durationMs }) => ({ durationMs: durationMs + 20 })),
    mixUp: altered(() => ({ id: 'soak-other' })),
    drop: (real) => (now(50) ? new Promise(() => {}) : real()),
    timeout: failing('ERR_TIMEOUT'),
    closed: failing('ERR_CLOSED'),
    full: failing('ERR_QUEUE_FULL'),
    worker: failing('ERR_WORKER_FAILED'),
    reason: (real, { signal }) =>
      real().catch((reason) => {
        throw signal?.aborted ? new DOMException('planted', 'AbortError') : reason;
      }),
    deaf: (real, options) => {
      delete options.signal;
      return real();
    },
    late: (real, { signal }) =>
      real().catch(async (reason) => {
        if (signal?.aborted && now(5)) await new Promise((done) => setTimeout(done, 4000));
        throw reason;
      }),
    segment: (real, options) => {
      const { onSegment } = options;
      let told = 0;
      if (onSegment) options.onSegment = (segment) => told++ > 0 && onSegment(segment);
      return real();
    },
    progress: (real, options) => {
      const { onProgress } = options;
      if (onProgress) options.onProgress = (share) => onProgress(share * 0.9);
      return real();
    },
    after: (real, { onProgress }) => real().finally(() => setTimeout(() => onProgress?.(1), 50)),
  };
  const way = ways[name];
  // The first calls are those whose answers are compared with.
  for (const method of way ? METHODS : []) {
    const real = prototype[method];
    prototype[method] = function planted(input, options) {
      const own = { ...options };
      if (own.id === undefined) return real.call(this, input, own);
      calls += 1;
      return way(() => real.call(this, input, own), own);
    };
  }
  plantAround(name, Transcriber);
}

/** Around opening and closing. */
function plantAround(name, Transcriber) {
  const { prototype } = Transcriber;
  const { stats, close } = prototype;
  const open = Transcriber.open.bind(Transcriber);
  const kept = [];
  if (name === 'close') {
    let closes = 0;
    prototype.close = function planted(options) {
      const closed = close.call(this, options);
      closes += 1;
      return closes === 3 ? new Promise(() => {}) : closed;
    };
  }
  if (name === 'counter' || name === 'restart') {
    prototype.stats = function planted() {
      const real = stats.call(this);
      return name === 'counter'
        ? { ...real, completed: real.completed + 1 }
        : { ...real, restarts: 1 };
    };
  }
  if (name === 'held' || name === 'thread') {
    Transcriber.open = async (options) => {
      const transcriber = await open(options);
      kept.push(name === 'held' ? transcriber : await open(options));
      return transcriber;
    };
  }
  if (name === 'leak') {
    for (const method of METHODS) {
      const real = prototype[method];
      prototype[method] = function planted(...args) {
        kept.push(Buffer.alloc(LEAK_BYTES, 1));
        return real.apply(this, args);
      };
    }
  }
}
