// Who is compared, and how each is started. A peer that is not there is skipped with the reason.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildEnvironment, provideCmake, root, works } from '../../scripts/tools.mjs';

const require = createRequire(import.meta.url);
const here = dirname(fileURLToPath(import.meta.url));
const windows = process.platform === 'win32';
const RUN_SETUP = 'not installed: npm run bench:setup';
/** What setup.mjs brings. */
export const folder = join(root, '.bench');
export const virtualEnvironment = join(folder, 'venv');
export const venvPython = join(
  virtualEnvironment,
  ...(windows ? ['Scripts', 'python.exe'] : ['bin', 'python']),
);
/** Each addon has a folder of its own, so that one that cannot be installed spoils no other. */
export const addonFolder = (name) => join(folder, 'npm', name);
export const ct2Folder = (model) => join(folder, 'models', model);

/** `ours` are compared with the others; `fromS`: shorter recordings are not for this one. */
export const PEERS = [
  ours('opuscribe', 'packets', 'Opus packets; every default'),
  ours('opuscribe (pcm)', 'pcm', 'the samples that the others get; every default'),
  { ...ours('opuscribe (beam 5)', 'beam5', 'the samples; `beamSize: 5`'), onRequest: true },
  whisperCpp('whisper.cpp greedy', 'greedy', 'best of 5, full window'),
  whisperCpp('whisper.cpp beam 5', 'beam5', 'beam size 5, full window'),
  fasterWhisper('faster-whisper', 'beam1', 'int8, beam size 1'),
  fasterWhisper('faster-whisper beam 5', 'beam5', 'int8, beam size 5'),
  fasterWhisper('faster-whisper VAD', 'beam1-vad', 'int8, beam size 1, `vad_filter`'),
  fasterWhisper('faster-whisper beam 5 VAD', 'beam5-vad', 'int8, beam size 5, `vad_filter`'),
  {
    ...fasterWhisper(
      'faster-whisper batched',
      'batched',
      'int8, beam size 1, `BatchedInferencePipeline`, `batch_size` 8; recordings from 30 s',
    ),
    fromS: 30,
  },
  {
    id: 'pywhispercpp',
    launch: () => python('pywhispercpp', 'pywhispercpp_peer.py'),
    settings: 'every default (greedy, full window)',
    atOnce: 'one after the other',
  },
  addon('whisper.node', 'every default (greedy, full window)', 'queued in the addon'),
  addon(
    'smart-whisper',
    'every default (beam 5, full window)',
    'all at once, each with all threads',
  ),
  addon('transcribe-cpp', 'every default', 'queued in the package'),
];

function ours(id, variant, settings) {
  const args = [join(here, 'opuscribe.mjs')];
  const launch = () => ({ command: process.execPath, args });
  return { id, variant, settings, ours: true, atOnce: 'queued in the addon', launch };
}

function whisperCpp(id, variant, settings) {
  return { id, variant, settings, atOnce: 'one after the other', launch: buildWhisperCpp };
}

function fasterWhisper(id, variant, settings) {
  return {
    id,
    variant,
    settings,
    needsCt2: true,
    atOnce: 'a thread each, one worker',
    launch: () => python('faster_whisper', 'faster_whisper_peer.py'),
  };
}

function addon(id, settings, atOnce) {
  return {
    id,
    settings,
    atOnce,
    launch: () =>
      existsSync(join(addonFolder(id), 'node_modules'))
        ? { command: process.execPath, args: [join(here, 'node_addons.mjs'), addonFolder(id), id] }
        : { missing: RUN_SETUP },
  };
}

function python(module, file) {
  if (!existsSync(venvPython)) return { missing: RUN_SETUP };
  if (!works(venvPython, ['-c', `import ${module}`])) return { missing: RUN_SETUP };
  return { command: venvPython, args: [join(here, file)] };
}

let built;

/** With the flags of the addon that this processor gets, AVX-512 included. */
export function buildWhisperCpp() {
  built ??= build();
  return built;
}

/** For a GPU, with the environment that its addon was built in. */
export function buildWhisperCppFor(backend, env) {
  return build(backend, env);
}

function build(backend, env = {}) {
  if (!works('cargo')) return { missing: 'Rust is not installed, and it is built from source' };
  provideCmake();
  const { cpuLevel } = require(join(root, 'index.js'));
  const v4 = backend === undefined && cpuLevel() === 'x86-64-v4';
  // The folder of the addon of that level: its build of whisper.cpp is taken as it is.
  const target = join(root, 'target', backend ?? (v4 ? 'x86-64-v4' : ''));
  const args = ['build', '--quiet', '--release', '--locked', '--no-default-features'];
  if (backend) args.push('--features', backend);
  const { status } = spawnSync(
    'cargo',
    [...args, '--example', 'whisper_cpp', '--target-dir', target],
    {
      cwd: root,
      stdio: 'inherit',
      env: { ...buildEnvironment(), ...(v4 && { GGML_AVX512: 'ON' }), ...env },
    },
  );
  if (status !== 0) return { missing: 'cargo could not build examples/whisper_cpp.rs' };
  const name = windows ? 'whisper_cpp.exe' : 'whisper_cpp';
  return { command: join(target, 'release', 'examples', name), args: [] };
}
