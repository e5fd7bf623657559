// What the bench ran on.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';

/** Two threads of one core do not compute twice as fast. */
export function physicalCores() {
  try {
    if (process.platform === 'darwin') {
      return Number(execFileSync('sysctl', ['-n', 'hw.physicalcpu'], { encoding: 'utf8' }));
    }
    return countCores(readFileSync('/proc/cpuinfo', 'utf8')) || availableParallelism();
  } catch {
    return availableParallelism();
  }
}

export function countCores(cpuinfo) {
  const cores = cpuinfo.split('\n\n').flatMap((processor) => {
    const socket = /^physical id\s*: (\d+)$/m.exec(processor);
    const core = /^core id\s*: (\d+)$/m.exec(processor);
    return socket && core ? [`${socket[1]} ${core[1]}`] : [];
  });
  return new Set(cores).size;
}

export function describeMachine(threads) {
  const model = cpus()[0]?.model.trim() ?? process.arch;
  return `${model}, ${physicalCores()} cores, ${threads} threads for each peer, Node ${process.versions.node}`;
}

/** Another program that computes takes its time from some peers more than from others. */
export function warnOfLoad() {
  const [load] = loadavg();
  if (load > 0.5) console.error(`the machine is busy (load ${load.toFixed(1)}): times will be off`);
}
