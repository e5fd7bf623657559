// Other processes, as the system tells of them: whose child they are, whether they live, how large
// they are.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_MS = 20;
/** A process that has ended and that nobody has asked about yet, or is just ending. */
const ENDED = ['Z', 'X'];

/** The processes that this one has started and that live. */
export function childrenOf(parent) {
  return all()
    .filter((one) => one.parent === parent && !ENDED.includes(one.state))
    .map(({ pid }) => pid);
}

/** Those of the processes that live. */
export function living(pids) {
  const found = new Set(all().map(({ pid, state }) => (ENDED.includes(state) ? undefined : pid)));
  return pids.filter((pid) => found.has(pid));
}

function all() {
  if (process.platform === 'linux') return readdirSync('/proc').flatMap(fromProc);
  if (process.platform === 'win32') return [];
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,state='], { encoding: 'utf8' });
  return (
    lines
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      // `ps` lists itself, and has ended when anybody reads that.
      .map(([pid, parent, state]) => ({
        pid: Number(pid),
        parent: Number(parent),
        state: state[0],
      }))
  );
}

function fromProc(name) {
  if (!/^\d+$/.test(name)) return [];
  try {
    const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
    // A name may have spaces and parentheses.
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return [{ pid: Number(name), parent: Number(parent), state }];
  } catch {
    // It has just ended.
    return [];
  }
}

/** Bytes of address space, which is what `ulimit -v` limits. Only Linux tells. */
export function addressSpace(pid) {
  try {
    const [, kb] = readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmSize:\s+(\d+) kB/) ?? [];
    return kb && Number(kb) * 1024;
  } catch {
    return undefined;
  }
}

/** Files, pipes and sockets that this process has open. Only Linux tells. */
export function openFiles() {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : undefined;
}

/** Sends a signal. Whether there was still somebody to send it to. */
export function signal(pid, name) {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

/** Whether it came true in time. */
export async function comesTrue(condition, withinMs) {
  const deadline = performance.now() + withinMs;
  while (!condition()) {
    if (performance.now() >= deadline) return false;
    await sleep(LOOK_MS);
  }
  return true;
}
