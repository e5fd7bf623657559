// The side of the protocol (child.mjs) that a peer in Node has.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const WAV_HEADER_BYTES = 44;

/**
 * `open` takes the options and returns what was opened; `load` reads a recording, outside of the
 * times; `run` transcribes what was loaded and returns `{ text }`, and whatever else is worth
 * keeping. `run` is called as many times at once as the bench asks for. What else is given answers
 * requests of its name.
 */
export async function serve({ open, load, run, ...others }) {
  const handlers = {
    ...others,
    async open(options) {
      const began = performance.now();
      const opened = await open(options);
      return { ready: true, ms: performance.now() - began, ...opened };
    },
    async run(recording) {
      const input = load(recording);
      return timed(() => run(input, recording.language));
    },
    async many({ recordings, inFlight }) {
      const waiting = recordings.map((recording) => [load(recording), recording.language]);
      const worker = async () => {
        for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) await run(...job);
      };
      return timed(async () => {
        await Promise.all(Array.from({ length: inFlight }, worker));
      });
    },
    peak: () => ({ peakMb: peakMb() }),
  };
  for await (const line of createInterface({ input: process.stdin })) {
    const [[name, options]] = Object.entries(JSON.parse(line));
    const answer = await Promise.resolve(handlers[name](options)).catch((error) => ({
      error: String(error?.stack ?? error),
    }));
    // A library may have left a line of its own open.
    process.stdout.write(`\n${JSON.stringify(answer)}\n`);
  }
  // Not all addons let the process end by itself.
  process.exit(0);
}

/** 16-bit mono at 16 kHz, as recordings.py writes it. */
export function samples({ wav }) {
  const bytes = readFileSync(wav);
  return new Int16Array(bytes.buffer.slice(bytes.byteOffset + WAV_HEADER_BYTES));
}

export function floats(recording) {
  return Float32Array.from(samples(recording), (sample) => sample / 32768);
}

async function timed(work) {
  const began = performance.now();
  const before = process.cpuUsage();
  const result = await work();
  const { user, system } = process.cpuUsage(before);
  return { ms: performance.now() - began, cpuMs: (user + system) / 1000, ...result };
}

/** What the system calls maxRSS includes the process that started this one, on Linux. */
function peakMb() {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS / 1024;
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
}
