// Which addons there are, and where. Loads none: a process whose models are in another needs none.

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** What can run Whisper besides the CPU; each has an addon of its own. */
export type GpuBackend = 'cuda' | 'vulkan' | 'metal';
export type Backend = 'cpu' | GpuBackend;

/** The best first. */
export const GPU_BACKENDS: readonly GpuBackend[] = ['metal', 'cuda', 'vulkan'];

/** How napi names platforms. */
const PLATFORMS: Partial<Record<NodeJS.Platform, string>> = {
  linux: `linux-${process.arch}-gnu`,
  win32: `win32-${process.arch}-msvc`,
  darwin: `darwin-${process.arch}`,
};
const BESIDE = join(__dirname, '..');

/** The addon of this name beside the baseline's, if it is there. */
export function beside(name: string, folder = BESIDE): string | undefined {
  const platform = PLATFORMS[process.platform];
  const file = join(folder, `opuscribe.${platform}.${name}.node`);
  return platform !== undefined && existsSync(file) ? file : undefined;
}

/** Where addons for GPUs are looked for. */
export function gpuFolder(): string {
  return resolve(process.env.OPUSCRIBE_ADDONS || BESIDE);
}

/** Where the addon for a GPU is, if it is installed: beside the others, or in `OPUSCRIBE_ADDONS`. */
export function gpuAddon(backend: GpuBackend): string | undefined {
  return beside(backend, gpuFolder());
}
