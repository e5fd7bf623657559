// A script in a process of its own, and how that ends.

import { spawn } from 'node:child_process';
import { join } from 'node:path';

export interface Ended {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

/** As benches/patience.mjs has it: a GPU in software takes many times as long. */
const SLOWER = Math.max(1, Number(process.env.SLOWER) || 1);

/** One that hangs is killed, and fails by its signal. */
export function runScript(source: string, flags: string[] = [], timeout = 120_000): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...flags, '-e', source], {
      cwd: join(__dirname, '..'),
      timeout: timeout * SLOWER,
      killSignal: 'SIGKILL',
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (text) => {
      stdout += text;
    });
    child.stderr.on('data', (text) => {
      stderr += text;
    });
    child.on('close', (code, signal) => resolve({ code, signal, stdout: stdout.trim(), stderr }));
  });
}

/** As the program asked, without a word from native code. */
export const clean = (stdout = ''): Ended => ({ code: 0, signal: null, stdout, stderr: '' });
