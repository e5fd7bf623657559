// A GPU that is none, which an addon with the feature `faults` has, and what is remembered of it.

import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Verdict } from 'opuscribe';

let folder = '';
const file = () => join(folder, 'devices.json');

/** A cache folder for this process alone. */
export function begin(): string {
  folder = mkdtempSync(join(tmpdir(), 'opuscribe-test-'));
  process.env.OPUSCRIBE_CACHE = folder;
  return folder;
}

/** What it does from now on. */
export function its(fault: string): void {
  process.env.OPUSCRIBE_FAULT_GPU = fault;
}

export function verdicts(): Record<string, Verdict> {
  return existsSync(file()) ? JSON.parse(readFileSync(file(), 'utf8')) : {};
}

/** As a GPU that takes so long, and a CPU that takes a second. */
export function takes(gpuMs: number, lanes = 1): void {
  const known = Object.entries(verdicts());
  const changed = known.map(([key, verdict]) => [key, { ...verdict, gpuMs, cpuMs: 1000, lanes }]);
  writeFileSync(file(), JSON.stringify(Object.fromEntries(changed)));
}

/** Processes of this very package that try a GPU out, whoever has started them. */
export function probes(): string[] {
  const main = join(__dirname, '..', 'dist', 'devices', 'probe_main.js');
  if (!existsSync('/proc')) return [];
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(main);
    } catch {
      return false;
    }
  });
}
