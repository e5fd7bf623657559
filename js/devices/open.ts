// Opens an engine on the device that was asked for, or on the best that works.

import type { EngineInfo, Failure, LogRecord } from '../../index.js';
import { type GpuBackend, gpuFolder } from '../addons.js';
import { isFailure } from '../error.js';
import type { Environment } from '../process/process.js';
import type { Device, Place } from './device.js';
import { type Found, installed, lastSurvey, verdictOn } from './survey.js';

export interface Wish {
  device: Device;
  model: string;
  onnxRuntime: string;
  /** Instead of what the probe found to be worth it. */
  lanes?: number | undefined;
  /** Of the process that is to use it, besides this one's. */
  env?: Environment;
  onLog: ((record: LogRecord) => void) | undefined;
}

const LOG_TARGET = 'opuscribe::devices';
/** What another device may not suffer from. */
const OF_THE_DEVICE = [
  'ERR_DEVICE_UNAVAILABLE',
  'ERR_OUT_OF_MEMORY',
  'ERR_WORKER_FAILED',
  'ERR_WORKER_CRASHED',
];

export async function openOn<Opened extends { info: EngineInfo }>(
  wish: Wish,
  open: (place: Place) => Promise<Opened | Failure>,
): Promise<Opened | Failure> {
  const { device, lanes, onLog } = wish;
  if (device === 'cpu') return open({ backend: 'cpu' });
  const log = (level: 'info' | 'warn', message: string) =>
    onLog?.({ level, target: LOG_TARGET, message });
  const tried: string[] = [];
  const failures: Failure[] = [];
  for await (const { gpu, ...next } of candidates(wish)) {
    const what = nameOf(gpu);
    if ('why' in next) {
      const { why, failure } = next;
      // Of the model, which the CPU would say too.
      if (failure !== undefined && !OF_THE_DEVICE.includes(failure.code)) return failure;
      tried.push(`${what}: ${why}`);
      if (failure !== undefined) failures.push(failure);
      continue;
    }
    const opened = await open({
      backend: gpu.backend as GpuBackend,
      gpu: gpu.index,
      lanes: lanes ?? next.lanes,
      mayFallBack: device === 'auto',
    });
    if (!isFailure(opened)) {
      log('info', `Whisper runs on ${opened.info.backend === 'cpu' ? 'the CPU' : what}`);
      return opened;
    }
    if (!OF_THE_DEVICE.includes(opened.code)) return opened;
    tried.push(`${what}: ${opened.message}`);
    failures.push(opened);
  }
  if (device === 'auto') {
    if (tried.length > 0) log('warn', `Whisper runs on the CPU; tried: ${tried.join('; ')}`);
    else log('info', `Whisper runs on the CPU: ${nothing()}`);
    return open({ backend: 'cpu' });
  }
  // That the model is too large for the only one says more than that it cannot be had.
  const [only] = failures;
  if (only?.code === 'ERR_OUT_OF_MEMORY' && tried.length === 1) return only;
  const wanted = device === 'gpu' ? "device: 'gpu'" : `device: ${JSON.stringify(device)}`;
  const what = tried.length > 0 ? tried.join('; ') : nothing();
  const message = `${wanted} cannot be had: ${what}. Use 'auto' or 'cpu', or see listDevices()`;
  return { code: 'ERR_DEVICE_UNAVAILABLE', message };

  async function* candidates({ device, model, onnxRuntime, env }: Wish) {
    const backends = typeof device === 'object' ? [device.backend] : installed();
    for (const backend of backends) {
      const answer = await lastSurvey(backend, env);
      if ('why' in answer) {
        tried.push(`${backend}: ${answer.why}`);
        continue;
      }
      const asked = answer.found.filter((found) => isAsked(found, device));
      if (asked.length === 0) {
        const names = answer.found.map(({ gpu }) => `${gpu.index} (${gpu.name})`);
        const known = names.length > 0 ? `it finds only ${names.join(', ')}` : 'it finds no GPU';
        tried.push(`${backend}: ${known}`);
      }
      for (const { gpu, key } of asked) {
        const onStart = () =>
          log('info', `trying out ${nameOf(gpu)}, which is done once and may take a while`);
        const verdict = await verdictOn({ gpu, key }, { model, onnxRuntime, env, onStart });
        if (isFailure(verdict)) yield { gpu, why: verdict.message, failure: verdict };
        else if (!verdict.works) yield { gpu, why: verdict.reason ?? 'it does not work' };
        else if (device === 'auto' && isSlower(verdict)) {
          const { gpuMs = 0, cpuMs = 0 } = verdict;
          const took = `${Math.round(gpuMs)} ms against ${Math.round(cpuMs)} for three seconds`;
          yield { gpu, why: `it is slower than the CPU (${took})` };
        } else yield { gpu, lanes: verdict.lanes };
      }
    }
  }
}

function nameOf({ backend, index, name }: Found['gpu']): string {
  return `${backend} ${index} (${name})`;
}

function nothing(): string {
  return `no addon for a GPU is installed in '${gpuFolder()}'`;
}

/** By more than chance, and by more than it is worth to leave the CPU to others. */
const SLOWER = 1.25;

function isSlower({ gpuMs, cpuMs }: { gpuMs?: number; cpuMs?: number }): boolean {
  return gpuMs !== undefined && cpuMs !== undefined && gpuMs > SLOWER * cpuMs;
}

function isAsked({ gpu }: Found, device: Device): boolean {
  if (typeof device !== 'object') return true;
  const { index, name } = device;
  const isNamed =
    name === undefined || gpu.name.toLocaleLowerCase().includes(name.toLocaleLowerCase());
  return isNamed && (index === undefined || gpu.index === index);
}
