import type { GpuBackend } from '../addons.js';
import { checkOpening } from '../base.js';
import { isFailure, toError } from '../error.js';
import { resolveModel } from '../models.js';
import { onnxRuntimePath } from '../onnxruntime.js';
import type { Verdict } from './probe.js';
import { clearVerdicts, installed, lastVerdict, survey, verdictOn } from './survey.js';

/** A GPU that a backend finds. */
export interface DeviceInfo {
  backend: GpuBackend;
  /** Its place among those of its backend, from 0. */
  index: number;
  name: string;
  /** Name and version of its driver, as far as it tells them. */
  driver: string;
  /** Whether it shares its memory with the CPU. */
  integrated: boolean;
  /** Bytes of its memory, 0 where the driver does not tell. */
  totalBytes: number;
  /** Bytes of it that are free now. */
  freeBytes: number;
  /** What came of trying it out with a model; not there before it was tried. */
  verdict?: Verdict;
}

export interface ListDevicesOptions {
  /**
   * A model, by path or by catalogue name, to try each GPU out with, unless it has been. Without it
   * the verdicts are those of the last time, with whichever model.
   */
  model?: string;
}

/**
 * The GPUs of this machine, by every backend whose addon is installed. The drivers are loaded in
 * processes of their own, so that one that crashes or hangs does no harm here; a backend that cannot
 * be asked lists none, and `ERR_DEVICE_UNAVAILABLE` of `device: 'gpu'` says why.
 */
export async function listDevices(options: ListDevicesOptions = {}): Promise<DeviceInfo[]> {
  checkOpening(options);
  const model = options.model === undefined ? undefined : resolveModel(options.model);
  const surveys = await Promise.all(installed().map((backend) => survey(backend)));
  const devices: DeviceInfo[] = [];
  for (const answer of surveys) {
    for (const found of 'found' in answer ? answer.found : []) {
      let verdict = lastVerdict(found);
      if (model !== undefined) {
        const tried = await verdictOn(found, { model, onnxRuntime: onnxRuntimePath() });
        if (isFailure(tried) && tried.code.startsWith('ERR_MODEL')) {
          throw toError(tried);
        }
        verdict = isFailure(tried)
          ? { works: false, reason: tried.message, lanes: 1, at: new Date().toISOString() }
          : tried;
      }
      const backend = answer.backend;
      devices.push({ ...found.gpu, backend, ...(verdict && { verdict }) });
    }
  }
  return devices;
}

/** Forgets all verdicts: each GPU is tried out again when it is wanted next. */
listDevices.clearVerdicts = (): void => clearVerdicts();
