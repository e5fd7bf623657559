// Loads the addon that is fastest on this processor. The only file that imports it.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as baseline from '../index.js';

type Native = typeof baseline;

/** Addons of a higher instruction set level lie beside the baseline's, by platform. */
const PLATFORMS: Partial<Record<NodeJS.Platform, string>> = {
  linux: 'linux-x64-gnu',
  win32: 'win32-x64-msvc',
};

function load(): Native {
  const platform = PLATFORMS[process.platform];
  // For comparing the two, and for a processor on which the baseline is faster.
  const wanted = process.env.OPUSCRIBE_CPU_LEVEL ?? baseline.cpuLevel();
  if (process.arch !== 'x64' || platform === undefined || wanted !== 'x86-64-v4') return baseline;
  const file = join(__dirname, '..', `opuscribe.${platform}.x86-64-v4.node`);
  if (baseline.cpuLevel() !== 'x86-64-v4' || !existsSync(file)) return baseline;
  return require(file) as Native;
}

// ONNX Runtime calls home as soon as it is loaded, and obeys nothing else. In a worker this reaches
// nobody; the addon sees to it there.
process.env.ORT_DISABLE_TELEMETRY ??= '1';

const native = load();

// process.exit() skips the environment's cleanup hooks, and a model in use crashes at exit.
process.once('exit', () => native.closeAll());

export const { CancelToken, NativeDemuxer, NativeTranscriber, splitPackets } = native;
export type CancelToken = InstanceType<typeof CancelToken>;
export type NativeDemuxer = InstanceType<typeof NativeDemuxer>;
export type NativeStream = InstanceType<typeof import('../index.js').NativeStream>;
export type NativeTranscriber = InstanceType<typeof NativeTranscriber>;
