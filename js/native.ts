// Loads the addons: the one that is fastest on this processor, and those for GPUs. The only file that
// imports them.

import * as baseline from '../index.js';
import { type Backend, beside, type GpuBackend, gpuAddon } from './addons.js';

type Native = typeof baseline;

function forThisProcessor(): Native {
  // For comparing the two, and for a processor on which the baseline is faster.
  const wanted = process.env.OPUSCRIBE_CPU_LEVEL ?? baseline.cpuLevel();
  if (process.arch !== 'x64' || wanted !== 'x86-64-v4') return baseline;
  const file = beside(wanted);
  if (baseline.cpuLevel() !== wanted || file === undefined) return baseline;
  return require(file) as Native;
}

// ONNX Runtime calls home as soon as it is loaded, and obeys nothing else. In a worker this reaches
// nobody; the addon sees to it there.
process.env.ORT_DISABLE_TELEMETRY ??= '1';

const native = forThisProcessor();
const loaded = new Map<Backend, Native>([['cpu', native]]);

/**
 * The addon of a backend. That of a GPU loads the driver, at once or with its first call: it is to
 * have been tried in another process.
 */
export function addon(backend: Backend): Native {
  const known = loaded.get(backend);
  if (known !== undefined) return known;
  const file = gpuAddon(backend as GpuBackend);
  if (file === undefined) throw new Error(`the addon for ${backend} is not installed`);
  const found = require(file) as Native;
  loaded.set(backend, found);
  return found;
}

// process.exit() skips the environment's cleanup hooks, and a model in use crashes at exit.
process.once('exit', () => {
  for (const one of loaded.values()) one.closeAll();
});

// What needs no model is everywhere the same.
export const { NativeDemuxer, splitPackets } = native;
export type CancelToken = InstanceType<typeof baseline.CancelToken>;
export type NativeDemuxer = InstanceType<typeof NativeDemuxer>;
export type NativeStream = InstanceType<typeof baseline.NativeStream>;
export type NativeTranscriber = InstanceType<typeof baseline.NativeTranscriber>;
