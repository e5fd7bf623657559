// What can be asked of a device.

import { type Backend, GPU_BACKENDS, type GpuBackend } from '../addons.js';
import { invalidArgument } from '../error.js';
import { describe } from '../packets.js';

/** Where Whisper runs. */
export type Device =
  /** The best that works, which may be the CPU. */
  | 'auto'
  /** A GPU, or an error. */
  | 'gpu'
  | 'cpu'
  /** One of a backend: the first that works, or that with this index or name. */
  | { backend: GpuBackend; index?: number; name?: string };

/** What an engine is opened on. */
export interface Place {
  backend: Backend;
  gpu?: number;
  lanes?: number;
  mayFallBack?: boolean;
}

/**
 * What is meant where nothing is said: `auto`, or what `OPUSCRIBE_DEVICE` says, which is `auto`, `gpu`,
 * `cpu`, or a backend and perhaps an index, such as `vulkan:1`.
 */
export function defaultDevice(): unknown {
  const said = process.env.OPUSCRIBE_DEVICE || 'auto';
  const [, whole, backend, index] =
    /^(?:(auto|gpu|cpu)|(cuda|vulkan|metal)(?::(\d+))?)$/.exec(said) ?? [];
  if (whole !== undefined) return whole;
  if (backend !== undefined) return { backend, ...(index !== undefined && { index: +index }) };
  throw invalidArgument(
    `OPUSCRIBE_DEVICE is '${said}'; expected auto, gpu, cpu, cuda, vulkan or metal, the last three ` +
      'perhaps with an index, such as vulkan:1',
  );
}

/** Throws for what is none. */
export function checkDevice(device: unknown): asserts device is Device {
  if (device === 'auto' || device === 'gpu' || device === 'cpu') return;
  if (typeof device !== 'object' || device === null) {
    throw invalidArgument(
      `device is ${typeof device === 'string' ? `'${device}'` : describe(device)}; expected ` +
        "'auto', 'gpu', 'cpu' or { backend, index, name }",
    );
  }
  const { backend, index, name } = device as { backend?: unknown; index?: unknown; name?: unknown };
  if (!GPU_BACKENDS.includes(backend as GpuBackend)) {
    throw invalidArgument(
      `device.backend is ${typeof backend === 'string' ? `'${backend}'` : describe(backend)}; ` +
        "expected 'cuda', 'vulkan' or 'metal'",
    );
  }
  if (index !== undefined && !(Number.isInteger(index) && (index as number) >= 0)) {
    throw invalidArgument(
      `device.index is ${typeof index === 'number' ? index : describe(index)}; expected a whole number from 0 up`,
    );
  }
  if (name !== undefined && (typeof name !== 'string' || name === '')) {
    throw invalidArgument(
      `device.name is ${name === '' ? 'empty' : describe(name)}; expected a part of a GPU's name`,
    );
  }
}
