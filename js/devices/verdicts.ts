// The verdicts on GPUs, kept in a file: trying one out takes seconds, and is news only when the
// driver, the addon or the model is another.

import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { release } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';
import type { NativeGpu } from '../../index.js';
import { OpuscribeError } from '../error.js';
import { cacheFolder } from '../models.js';
import type { Environment } from '../process/process.js';
import type { Verdict } from './probe.js';

/**
 * One that fails is tried again after a day: it may have been another process that was in its way, and
 * not every driver tells its version.
 */
const FAILURE_MS = 86_400_000;
/** How often it is looked whether another process is done. */
const LOOK_MS = 100;
/** Longer than any trial takes. */
const LONGEST_MS = 300_000;
/** Behind these the oldest are forgotten: old drivers and models come to nothing. */
const MOST = 64;

type Verdicts = Record<string, Verdict>;

export class VerdictFile {
  get #path(): string {
    return join(cacheFolder(), 'devices.json');
  }

  get(key: string): Verdict | undefined {
    const known = this.#read()[key];
    return known && (known.works || Date.now() - Date.parse(known.at) < FAILURE_MS)
      ? known
      : undefined;
  }

  /** Those on a GPU, with whichever model. */
  on(gpu: string): Verdict[] {
    const known = Object.entries(this.#read());
    return known.filter(([key]) => key.startsWith(`${gpu} | `)).map(([, verdict]) => verdict);
  }

  /** What cannot be written is found out again by the next process. */
  set(key: string, verdict: Verdict): void {
    const { [key]: _, ...others } = this.#read();
    const kept = [...Object.entries(others), [key, verdict] as const].slice(-MOST);
    try {
      makeFolder(dirname(this.#path));
      const next = `${this.#path}.${process.pid}.${threadId}`;
      writeFileSync(next, JSON.stringify(Object.fromEntries(kept), undefined, 2));
      renameSync(next, this.#path);
    } catch {}
  }

  /**
   * Runs `work` while no other process does: two that try GPUs out would be in each other's way. What
   * is `known` meanwhile need not be found out again.
   */
  async alone<Value>(known: () => Value | undefined, work: () => Promise<Value>): Promise<Value> {
    const lock = join(cacheFolder(), 'devices.lock');
    while (!take(lock)) await sleep(LOOK_MS);
    try {
      return known() ?? (await work());
    } finally {
      leave(lock);
    }
  }

  clear(): void {
    try {
      if (existsSync(this.#path)) unlinkSync(this.#path);
    } catch (cause) {
      throw new OpuscribeError(
        'ERR_INVALID_ARGUMENT',
        `'${this.#path}' cannot be removed (${(cause as Error).message}); set OPUSCRIBE_CACHE to a folder that can be written`,
        { cause },
      );
    }
  }

  /** One that is not there, or damaged, holds none. */
  #read(): Verdicts {
    try {
      const found: unknown = JSON.parse(readFileSync(this.#path, 'utf8'));
      if (typeof found !== 'object' || found === null) return {};
      const isVerdict = ([, value]: [string, unknown]) =>
        typeof (value as Verdict)?.works === 'boolean' && (value as Verdict).lanes >= 1;
      return Object.fromEntries(Object.entries(found).filter(isVerdict)) as Verdicts;
    } catch {
      return {};
    }
  }
}

/** Node's own way with `recursive` never ends under /proc, for instance. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder));
  mkdirSync(folder);
}

/** Whether the lock is this process's now. */
function take(lock: string): boolean {
  try {
    makeFolder(dirname(lock));
    writeFileSync(lock, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    // Where nothing can be written, nobody can be kept out.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return true;
    // The next look takes it; one that cannot be removed keeps nobody out either.
    return !isHeld(lock) && !remove(lock);
  }
}

function leave(lock: string): void {
  try {
    if (readFileSync(lock, 'utf8') === String(process.pid)) remove(lock);
  } catch {}
}

/** Whether it is gone by this. */
function remove(file: string): boolean {
  try {
    unlinkSync(file);
    return true;
  } catch {
    return false;
  }
}

/** Whoever has it may have been killed. */
function isHeld(lock: string): boolean {
  try {
    if (Date.now() - statSync(lock).mtimeMs > LONGEST_MS) return false;
    const holder = Number(readFileSync(lock, 'utf8'));
    // It is about to be written.
    if (holder === 0) return true;
    process.kill(holder, 0);
    return true;
  } catch (error) {
    // One that has just gone is taken with the next look, and not taken away from the next holder.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/**
 * A GPU as it is known: what runs on it is another with another driver, which may be the system's own,
 * or with another addon.
 */
export function gpuKey({ backend, index, name, driver }: NativeGpu, addon: string): string {
  return [`${backend} ${index}`, name, driver, release(), identity(addon)].join(' | ');
}

/**
 * With a model, which may be too large, or of a type that one backend computes wrongly; and in the
 * environment of a process that has one of its own.
 */
export function verdictKey(gpu: string, model: string, env: Environment = {}): string {
  const own = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return [gpu, identity(model), ...own.sort()].join(' | ');
}

function identity(file: string): string {
  try {
    const { size, mtimeMs } = statSync(file);
    return `${basename(file)} ${size} ${Math.round(mtimeMs)}`;
  } catch {
    return basename(file);
  }
}
