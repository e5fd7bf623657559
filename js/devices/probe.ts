// Tries GPUs out in processes of their own: a driver that crashes or hangs costs this one nothing.

import { join } from 'node:path';
import type { Failure, NativeGpu } from '../../index.js';
import type { GpuBackend } from '../addons.js';
import { type Environment, type Exit, start } from '../process/process.js';
import type { Answer, Heard, Question } from './protocol.js';

const MAIN = join(__dirname, 'probe_main.js');
/** A driver that is read from a disk for the first time takes seconds; one that hangs, for ever. */
const LIST_MS = 30_000;
/** Shaders may be compiled on the first run. */
const CHECK_MS = 120_000;
/** Bounds both, on a machine that takes longer, or is in a hurry. */
const OTHER_MS = milliseconds(process.env.OPUSCRIBE_PROBE_TIMEOUT_MS);
/** How long one that was killed is waited for. */
const UNKILLABLE_MS = 2000;
/** What the known speech says. */
const WORDS = 'ask what you can do for your country'.split(' ');
/** Half of them, and no more besides: the smallest models hear all, a broken driver gives none. */
const MOST_WRONG = WORDS.length / 2;

/** What is not of the model, of a library that is missing, nor of the memory that others have just now. */
const OF_THE_GPU = ['ERR_WORKER_FAILED'];

/** What came of trying a GPU out with a model. */
export interface Verdict {
  works: boolean;
  /** Why it does not. */
  reason?: string;
  /** Windows at once that are worth it. */
  lanes: number;
  /** What the known speech of three seconds took, there and on the CPU. */
  gpuMs?: number;
  cpuMs?: number;
  /** When it was tried, as ISO 8601. */
  at: string;
}

/** What a GPU is tried out with. */
export interface Trial {
  model: string;
  onnxRuntime: string;
  /** Of the process in which it is. */
  env?: Environment | undefined;
  /** Hears that it begins, unless the verdict is known. */
  onStart?: () => void;
}

/** How a probe ended before its last answer. */
interface End {
  why: string;
  /** The driver did it. Whoever asked may have ended it too, or the system, for want of memory. */
  isVerdict?: boolean;
}

/** What native code ends with that went wrong by itself. */
const FAULTS = ['SIGSEGV', 'SIGABRT', 'SIGBUS', 'SIGILL', 'SIGFPE', 'SIGTRAP'];

/** With this process they end too, whatever they are doing. */
const running = new Set<{ kill(): void }>();
process.once('exit', () => {
  for (const child of running) child.kill();
});

/** The GPUs that a backend finds, or why it cannot be asked. */
export async function askForGpus(
  backend: GpuBackend,
  env: Environment,
): Promise<NativeGpu[] | End> {
  let found: NativeGpu[] | End = { why: 'it ended without an answer' };
  const end = await ask({ type: 'list', backend }, env, OTHER_MS ?? LIST_MS, (answer) => {
    if (answer.type === 'listed') found = answer.gpus;
    if (answer.type === 'failed') found = { why: answer.failure.message };
    return true;
  });
  return end ?? found;
}

/**
 * Loads the model there, and compares what it hears with what was said. A failure is no verdict on the
 * GPU.
 */
export async function check(
  { backend, index }: { backend: GpuBackend; index: number },
  { model, onnxRuntime, env = {} }: Trial,
): Promise<Verdict | Failure> {
  let heard: Heard | undefined;
  let lanes = 1;
  let failure: Failure | undefined;
  const question = { type: 'check', backend, gpu: index, model, onnxRuntime } as const;
  const end = await ask(question, env, OTHER_MS ?? CHECK_MS, (answer) => {
    if (answer.type === 'heard') heard = answer;
    if (answer.type === 'lanes') lanes = answer.lanes;
    if (answer.type === 'failed') failure = answer.failure;
    return answer.type === 'failed' || (answer.type === 'lanes' && answer.isLast);
  });
  const at = new Date().toISOString();
  // What ends after that was one lane too many; those before it were worth it.
  if (heard !== undefined) return { ...judge(heard), lanes, at };
  if (end !== undefined && !end.isVerdict) {
    return { code: 'ERR_DEVICE_UNAVAILABLE', message: end.why };
  }
  if (failure !== undefined && !OF_THE_GPU.includes(failure.code)) return failure;
  return { works: false, reason: failure?.message ?? end?.why ?? 'it heard nothing', lanes: 1, at };
}

/** A model may know another language than the known speech is in: then the CPU is its measure. */
export function judge({ text, cpuText = '', gpuMs, cpuMs }: Heard): Omit<Verdict, 'lanes' | 'at'> {
  const isRight = wrongWords(words(text), WORDS) <= MOST_WRONG;
  const isAsOnCpu = text !== '' && words(text).join(' ') === words(cpuText).join(' ');
  const took = { gpuMs, ...(cpuMs !== undefined && { cpuMs }) };
  if (isRight || isAsOnCpu) return { works: true, ...took };
  const reason = `it hears '${text.slice(0, 100)}' where '${WORDS.join(' ')}' is said`;
  return { works: false, reason, ...took };
}

function words(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? [];
}

/** Words to be replaced, added or left out. */
function wrongWords(found: string[], expected: string[]): number {
  let row = expected.map((_, index) => index + 1);
  row.unshift(0);
  for (const [index, word] of found.entries()) {
    const next = [index + 1];
    for (const [place, wanted] of expected.entries()) {
      const replaced = (row[place] ?? 0) + (word === wanted ? 0 : 1);
      next.push(Math.min(replaced, (row[place + 1] ?? 0) + 1, (next[place] ?? 0) + 1));
    }
    row = next;
  }
  return row[expected.length] ?? 0;
}

/**
 * Asks a process of its own and ends it, when `hear` has had its last answer or the time is up. Tells
 * how it ended before that, if it did.
 */
function ask(
  question: Question,
  env: Environment,
  limitMs: number,
  hear: (answer: Answer) => boolean,
): Promise<End | undefined> {
  return new Promise((resolve) => {
    let printed = '';
    let ended: End | undefined;
    let isDone = false;
    let unkillable: NodeJS.Timeout | undefined;
    const child = start<Question, Answer>(MAIN, env, {
      onReport: (answer) => {
        if (!isDone && hear(answer)) finish();
      },
      onPrinted: (text) => {
        printed = (printed + text).slice(-400);
      },
      onExit: (exit) => {
        if (!isDone) ended = crashed(exit, printed);
        over();
      },
    });
    // Keeps this process alive, which the other one does not.
    const late = setTimeout(() => {
      ended = {
        why: `it did not answer within ${limitMs / 1000} seconds`,
        // Less time than it has by itself proves nothing.
        isVerdict: OTHER_MS === undefined,
      };
      finish();
    }, limitMs);
    running.add(child);
    function finish() {
      isDone = true;
      child.kill();
      clearTimeout(late);
      // One that a driver holds in the system cannot be killed. Until then this process stays.
      unkillable = setTimeout(over, UNKILLABLE_MS);
    }
    function over() {
      clearTimeout(late);
      clearTimeout(unkillable);
      running.delete(child);
      resolve(ended);
    }
    child.send(question);
  });
}

/** From 1 ms up; anything else is as if nothing had been said. */
function milliseconds(said: string | undefined): number | undefined {
  const ms = Number(said);
  return ms >= 1 && ms <= 2 ** 31 - 1 ? ms : undefined;
}

function crashed({ code, signal }: Exit, printed: string): End {
  const last = printed.trim().split('\n').at(-1) ?? '';
  const said = last === '' ? '' : `: ${last}`;
  // Electron starts none before it is ready, for instance.
  if (code === null && signal === null) return { why: `the probe cannot be started${said}` };
  const how = signal === null ? `with code ${code}` : `by ${signal}`;
  // Windows has no signals, but status codes of errors.
  const isVerdict = signal === null ? (code ?? 0) > 255 : FAULTS.includes(signal);
  return { why: `the probe was ended ${how}${said}`, isVerdict };
}
