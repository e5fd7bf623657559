// What a probe is asked, and what it answers.

import type { Failure, NativeGpu } from '../../index.js';
import type { GpuBackend } from '../addons.js';

export type Question =
  | { type: 'list'; backend: GpuBackend }
  | { type: 'check'; backend: GpuBackend; gpu: number; model: string; onnxRuntime: string };

export type Answer =
  | { type: 'listed'; gpus: NativeGpu[] }
  /** What the GPU made of the known speech, and how long it took; told again with the CPU's. */
  | ({ type: 'heard' } & Heard)
  /** Windows at once that are worth it, as far as they have been tried. */
  | { type: 'lanes'; lanes: number; isLast: boolean }
  | { type: 'failed'; failure: Failure };

export interface Heard {
  text: string;
  gpuMs: number;
  cpuText?: string;
  cpuMs?: number;
}
