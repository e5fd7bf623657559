// Runs scripts in processes that take themselves for Electron's, and waits until nothing is left of
// them.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { CrashReport } from 'opuscribe/isolated';

const root = join(__dirname, '..', '..');
const LIMIT_MS = 180_000;

/** What every script begins with. */
const PRELUDE = `
  const { answer, app, assert, fixture, long, observed, once, open, packets, utilityProcess } =
    require('./__test__/electron/script.cjs');
`;

interface Ended {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

/** Runs a script in what it takes for Electron's main process. */
export function start(body: string, env: Record<string, string> = {}) {
  const source = `${PRELUDE}\n(async () => {${body}})();`;
  const preload = join(root, '__test__', 'electron', 'preload.cjs');
  const child = spawn(process.execPath, ['--require', preload, '-e', source], {
    cwd: root,
    env: { ...process.env, ELECTRON_DOUBLE_ALIVE: '3', ...env },
    // Every process that is started holds the last one, so that 'close' waits for their end.
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    timeout: LIMIT_MS,
    killSignal: 'SIGKILL',
  });
  const printed = ['', '', ''];
  for (const fd of [1, 2]) {
    child.stdio[fd]?.on('data', (text) => {
      printed[fd] += text;
    });
  }
  child.stdio[3]?.on('data', () => {});
  const signal = AbortSignal.timeout(LIMIT_MS + 10_000);
  const ended: Promise<Ended> = once(child, 'close', { signal }).then(
    ([code, signal]) => ({ code, signal, stdout: printed[1] ?? '', stderr: printed[2] ?? '' }),
    () => {
      throw new Error(`a utility process outlived its parent: ${printed.join('')}`);
    },
  );
  return { child, ended };
}

/** What a script prints that ends as it should, and all that it started with it. */
export async function output(body: string, env?: Record<string, string>): Promise<string> {
  const { stdout, ...rest } = await start(body, env).ended;
  assert.deepEqual(rest, { code: 0, signal: null, stderr: '' });
  return stdout;
}

/** What it answers. */
export async function run<Answer>(
  body: string,
  env?: Record<string, string>,
): Promise<Answer & { crashes: CrashReport[] }> {
  const stdout = await output(body, env);
  assert.ok(stdout, 'the script waited for what does not come');
  return JSON.parse(stdout);
}
