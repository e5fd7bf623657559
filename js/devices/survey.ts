// What is known of the GPUs of this machine: who is there, and who works.

import type { Failure, NativeGpu } from '../../index.js';
import { GPU_BACKENDS, type GpuBackend, gpuAddon } from '../addons.js';
import { isFailure } from '../error.js';
import type { Environment } from '../process/process.js';
import { askForGpus, check, type Trial, type Verdict } from './probe.js';
import { gpuKey, VerdictFile, verdictKey } from './verdicts.js';

/** A GPU, and how it is known. */
export interface Found {
  gpu: NativeGpu;
  key: string;
}

/** The GPUs of a backend, or why there are none. */
export type Survey = { backend: GpuBackend; found: Found[] } | { backend: GpuBackend; why: string };

const verdicts = new VerdictFile();
const surveys = new Map<GpuBackend, Promise<Survey>>();
/** What is being tried, or was, so that it is tried once, however many wait for it. */
const trials = new Map<string, Promise<Verdict | Failure>>();

/** Backends whose addons are installed, the best first. */
export function installed(): GpuBackend[] {
  return GPU_BACKENDS.filter((backend) => gpuAddon(backend) !== undefined);
}

/** What this process has heard before: who is there changes rarely, and asking takes a process. */
export function lastSurvey(backend: GpuBackend, env?: Environment): Promise<Survey> {
  // What a variable hides from one process another may see.
  const isOwn = Object.keys(env ?? {}).length === 0;
  return (isOwn && surveys.get(backend)) || survey(backend, env);
}

/** Asks the driver, in a process of its own. */
export function survey(backend: GpuBackend, env: Environment = {}): Promise<Survey> {
  const asked = ask(backend, env);
  if (Object.keys(env).length === 0) surveys.set(backend, asked);
  return asked;
}

async function ask(backend: GpuBackend, env: Environment): Promise<Survey> {
  const addon = gpuAddon(backend);
  if (addon === undefined) return { backend, why: 'its addon is not installed' };
  const key = verdictKey(gpuKey({ ...NOBODY, backend }, addon), '', env);
  const known = verdicts.get(key);
  if (known?.reason !== undefined) return { backend, why: known.reason };
  const found = await askForGpus(backend, env);
  if (Array.isArray(found)) {
    // Those with a memory of their own first, and the large ones of those.
    const best = found.toSorted(
      (one, other) =>
        Number(one.integrated) - Number(other.integrated) || other.totalBytes - one.totalBytes,
    );
    return { backend, found: best.map((gpu) => ({ gpu, key: gpuKey(gpu, addon) })) };
  }
  const { why, isVerdict } = found;
  // What is quick to fail is asked again the next time: it may be mended by then.
  if (isVerdict) {
    verdicts.set(key, { works: false, reason: why, lanes: 1, at: new Date().toISOString() });
  } else surveys.delete(backend);
  return { backend, why };
}

const NOBODY: NativeGpu = {
  index: 0,
  backend: '',
  name: '',
  driver: '',
  integrated: false,
  totalBytes: 0,
  freeBytes: 0,
};

/** The verdict that is known, or found out now. A failure is none: it is of the model, or of today. */
export function verdictOn({ gpu, key }: Found, trial: Trial): Promise<Verdict | Failure> {
  const whole = verdictKey(key, trial.model, trial.env);
  const known = verdicts.get(whole);
  if (known !== undefined) return Promise.resolve(known);
  const running = trials.get(whole);
  if (running !== undefined) return running;
  const backend = gpu.backend as GpuBackend;
  const tried: Promise<Verdict | Failure> = verdicts.alone<Verdict | Failure>(
    () => verdicts.get(whole),
    async () => {
      trial.onStart?.();
      const verdict = await check({ backend, index: gpu.index }, trial);
      // Kept here too, for where the file cannot be written.
      if (isFailure(verdict)) trials.delete(whole);
      else if (trials.get(whole) === tried) verdicts.set(whole, verdict);
      return verdict;
    },
  );
  trials.set(whole, tried);
  return tried;
}

/** What was found out about a GPU last, with whichever model. */
export function lastVerdict({ key }: Found): Verdict | undefined {
  return verdicts.on(key).at(-1);
}

export function clearVerdicts(): void {
  verdicts.clear();
  surveys.clear();
  trials.clear();
}
