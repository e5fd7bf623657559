// What only an isolated transcriber takes, checked; the rest is the engine's.

import { invalidArgument } from '../error.js';
import { describe } from '../packets.js';
import type { IsolatedTranscriberOptions } from './transcriber.js';

/** Throws for what is of a wrong type or out of range. */
export function checkIsolated(options: IsolatedTranscriberOptions): void {
  const { circuit, crashReports, env, onCrash } = options;
  whole('workers', options.workers, 1, 16);
  whole('heartbeatTimeoutMs', options.heartbeatTimeoutMs, 2000, 600_000);
  whole('recycleAfterJobs', options.recycleAfterJobs, 1, Number.MAX_SAFE_INTEGER);
  whole('recycleAboveRssMb', options.recycleAboveRssMb, 1, Number.MAX_SAFE_INTEGER);
  object('env', env);
  object('circuit', circuit);
  whole('circuit.maxCrashes', circuit?.maxCrashes, 1, 1000);
  whole('circuit.windowMs', circuit?.windowMs, 1000, 86_400_000);
  whole('circuit.cooldownMs', circuit?.cooldownMs, 100, 86_400_000);
  if (onCrash !== undefined && typeof onCrash !== 'function') {
    throw invalidArgument(`onCrash is ${describe(onCrash)}; expected a function`);
  }
  for (const [name, value] of Object.entries(env ?? {})) {
    if (value !== undefined && typeof value !== 'string') {
      throw invalidArgument(`env.${name} is ${describe(value)}; expected a string`);
    }
  }
  if (crashReports === false || crashReports === undefined) return;
  object('crashReports', crashReports, ' or false');
  whole('crashReports.keep', crashReports.keep, 1, 1000);
  const { folder, saveInput } = crashReports;
  if (folder !== undefined && (typeof folder !== 'string' || folder === '')) {
    throw invalidArgument(`crashReports.folder is ${describe(folder)}; expected a path`);
  }
  if (saveInput !== undefined && typeof saveInput !== 'boolean') {
    throw invalidArgument(`crashReports.saveInput is ${describe(saveInput)}; expected a boolean`);
  }
}

function whole(name: string, value: unknown, least: number, most: number): void {
  if (value === undefined) return;
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return;
  const what = typeof value === 'number' ? value : describe(value);
  throw invalidArgument(`${name} is ${what}; expected a whole number from ${least} to ${most}`);
}

function object(name: string, value: unknown, or = ''): void {
  if (value === undefined || (typeof value === 'object' && value !== null)) return;
  throw invalidArgument(`${name} is ${describe(value)}; expected an object${or}`);
}
