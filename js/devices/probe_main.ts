// The process in which a GPU is tried out: what crashes or hangs here harms nobody. Started by
// probe.ts, which ends it.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { EngineOptions } from '../../index.js';
import type { Backend } from '../addons.js';
import { isFailure, toFailure, unwrap } from '../error.js';
import { splitPackets } from '../framing.js';
import { addon } from '../native.js';
import { NativeEngine } from '../native_engine.js';
import { type FlatPackets, flatten } from '../packets.js';
import type { Answer, Question } from './protocol.js';

/** Three seconds of speech that everybody knows; probe.ts has its words. */
const SPEECH = join(__dirname, '..', '..', 'assets', 'self_check.packets');
/** More lanes are tried as long as each doubling gives this much more. */
const WORTH_IT = 1.15;
const MOST_LANES = 32;
/** A GPU that takes longer for the known speech has enough to do with one window. */
const QUICK_MS = 400;
const RUNS = 3;
/** Utterances for each lane, so that the first and the last do not decide. */
const ROUNDS = 6;

/** Electron's utility processes have a port, others a channel. */
interface ParentPort {
  postMessage(message: unknown): void;
  on(event: 'message', listener: (event: { data: Question }) => void): void;
}
const { parentPort } = process as NodeJS.Process & { parentPort?: ParentPort };

if (parentPort) {
  parentPort.on('message', ({ data }) => answer(data));
} else {
  process.on('message', (question: Question) => answer(question));
  process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  watchParent();
}

/** A driver that hangs on this thread keeps it from hearing that nobody waits any more. */
function watchParent(): void {
  const watch = `
    const parent = process.ppid;
    setInterval(() => process.ppid === parent || process.kill(process.pid, 'SIGKILL'), 500);`;
  new Worker(watch, { eval: true }).unref();
}

function tell(message: Answer): void {
  if (parentPort) parentPort.postMessage(message);
  else process.send?.(message, undefined, undefined, () => {});
}

async function answer(question: Question): Promise<void> {
  try {
    if (question.type === 'list') {
      tell({ type: 'listed', gpus: addon(question.backend).listGpus() });
    } else {
      await check(question);
    }
  } catch (error) {
    tell({ type: 'failed', failure: toFailure(error, 'ERR_DEVICE_UNAVAILABLE') });
  }
}

async function check(question: Question & { type: 'check' }): Promise<void> {
  const { backend, gpu, model, onnxRuntime } = question;
  const packets = flatten(splitPackets(readFileSync(SPEECH)));
  const open = (options: Partial<EngineOptions>, on: Backend) =>
    NativeEngine.open({ model, backend: on, ...options }, onnxRuntime, undefined).then(unwrap);
  const engine = await open({ gpu }, backend);
  const { text, ms: gpuMs } = await hear(engine, packets);
  await engine.close(false);
  // Whatever becomes of the rest: that is not the GPU's.
  tell({ type: 'heard', text, gpuMs });
  const cpu = await open({}, 'cpu');
  const { text: cpuText, ms: cpuMs } = await hear(cpu, packets);
  await cpu.close(false);
  tell({ type: 'heard', text, gpuMs, cpuText, cpuMs });
  let lanes = 1;
  if (gpuMs <= QUICK_MS) {
    const rate = async (count: number) => {
      const engine = await open({ gpu, lanes: count, maxQueue: MOST_LANES * ROUNDS }, backend);
      // Fewer, where the memory is not enough.
      const isWhole = engine.info.gpu?.lanes === count;
      const perSecond = isWhole ? await throughput(engine, packets, count * ROUNDS) : 0;
      await engine.close(false);
      return perSecond;
    };
    for (let best = await rate(1), next = 2; next <= MOST_LANES; next *= 2) {
      const found = await rate(next).catch(() => 0);
      if (found < best * WORTH_IT) break;
      [best, lanes] = [found, next];
      tell({ type: 'lanes', lanes, isLast: false });
    }
  }
  tell({ type: 'lanes', lanes, isLast: true });
}

/** The text, and the time without what a first run compiles and allocates, or somebody else took. */
async function hear(engine: NativeEngine, packets: FlatPackets) {
  let { text } = await transcribe(engine, packets);
  let ms = Number.POSITIVE_INFINITY;
  for (let run = 0; run < RUNS && (run === 0 || ms < QUICK_MS); run += 1) {
    const started = performance.now();
    ({ text } = await transcribe(engine, packets));
    ms = Math.min(ms, performance.now() - started);
  }
  return { text, ms };
}

async function throughput(engine: NativeEngine, packets: FlatPackets, utterances: number) {
  await transcribe(engine, packets);
  const started = performance.now();
  await Promise.all(Array.from({ length: utterances }, () => transcribe(engine, packets)));
  return (1000 * utterances) / (performance.now() - started);
}

/** Once, at temperature 0: what comes of other tries is no measure. */
async function transcribe(engine: NativeEngine, packets: FlatPackets) {
  const options = { language: 'en', temperature: 0, vad: false as const };
  const outcome = await engine.submit({ kind: 'packets', ...packets }, options).outcome;
  if (isFailure(outcome)) throw Object.assign(new Error(outcome.message), { code: outcome.code });
  return outcome;
}
