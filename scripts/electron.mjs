// examples/electron in Electron itself, if it is installed: what __test__/electron.spec.ts can only
// try with a double. Expects what setup brings.
//
//     npm install --no-save electron && node scripts/electron.mjs

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fail, root, works } from './tools.mjs';

const LIMIT_MS = 120_000;
const FIXTURES = join(root, '__test__', 'fixtures');

const program = installed();
if (program === undefined) {
  console.log('skipped: electron is not installed (npm install --no-save electron)');
} else {
  const recordings = JSON.parse(readFileSync(join(FIXTURES, 'manifest.json'), 'utf8'));
  const { transcript } = recordings.find(({ name }) => name === 'jfk');
  const heard = transcribe(program, join(FIXTURES, 'jfk.wav'));
  if (words(heard) !== words(transcript)) fail(`heard:    ${heard}\nexpected: ${transcript}`);
  console.log(heard);
}

/** The path of the program, which is what the package exports outside of Electron. */
function installed() {
  try {
    return createRequire(import.meta.url)('electron');
  } catch (error) {
    // The package may be there without the program, which it downloads.
    if (error.code !== 'MODULE_NOT_FOUND') fail(`electron: ${error.message}`);
    return undefined;
  }
}

function transcribe(electron, file) {
  // In containers and as root the sandbox cannot begin.
  const command = [electron, '--no-sandbox', join(root, 'examples', 'electron', 'main.cjs'), file];
  const { DISPLAY, WAYLAND_DISPLAY } = process.env;
  if (process.platform === 'linux' && !DISPLAY && !WAYLAND_DISPLAY) {
    // Even without a window it wants a screen.
    if (works('xvfb-run', ['--help'])) command.unshift('xvfb-run', '--auto-servernum');
    else command.splice(1, 0, '--ozone-platform=headless');
  }
  const [name, ...args] = command;
  const { status, signal, stdout, error } = spawnSync(name, args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: LIMIT_MS,
    // With it Electron would be nothing but Node.
    env: { ...process.env, ELECTRON_RUN_AS_NODE: undefined },
  });
  if (error) fail(`cannot run ${name}: ${error.message}`);
  if (status !== 0) fail(`electron ended with ${signal ?? status}`);
  return stdout.trim();
}

function words(text) {
  return text.toLowerCase().match(/\w+/g)?.join(' ');
}
