// Brings the peers of `npm run bench` that registries serve into .bench/, which git ignores. What
// cannot be installed here is told and left out; what is there already stays.
//
//     npm run bench:setup

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { python, root } from '../../scripts/tools.mjs';
import {
  addonFolder,
  buildWhisperCpp,
  ct2Folder,
  folder,
  venvPython,
  virtualEnvironment,
} from './list.mjs';

const MODELS = ['tiny.en', 'base'];
/** Each line by itself: one that fails leaves the others. PyAV makes the Opus packets. */
const PYTHON_PACKAGES = [
  ['av==18.1.0', 'numpy==2.4.6'],
  ['faster-whisper==1.2.1', 'ctranslate2==4.8.5', 'onnxruntime==1.31.1', 'tokenizers==0.23.3'],
  ['pywhispercpp==1.5.1'],
];
const platform = `${process.platform}-${process.arch}`;
/** The build for the processor, named: `optional` would bring those for CUDA and Vulkan too. */
const ADDONS = {
  'whisper.node': {
    packages: ['@fugood/whisper.node@1.1.3', `@fugood/node-whisper-${platform}@1.1.3`],
    options: ['--omit=optional'],
  },
  'smart-whisper': { packages: ['smart-whisper@0.8.1'], options: [] },
  'transcribe-cpp': { packages: ['transcribe-cpp@0.2.3'], options: [] },
};
const failures = [];

mkdirSync(folder, { recursive: true });
attempt('Python environment', () => {
  if (!existsSync(venvPython)) start(python(), ['-m', 'venv', virtualEnvironment]);
  for (const packages of PYTHON_PACKAGES) {
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check'];
    attempt(packages.join(' '), () =>
      start(venvPython, [...pip, '--only-binary=:all:', ...packages]),
    );
  }
});
for (const model of MODELS) {
  attempt(`${model} for faster-whisper`, () => {
    if (existsSync(ct2Folder(model))) return;
    const script = join(root, 'scripts', 'fetch_model.py');
    start(python(), [script, model, '--folder', join(folder, 'models'), '--ctranslate2']);
  });
}
for (const [name, { packages, options }] of Object.entries(ADDONS)) {
  attempt(name, () => {
    const into = addonFolder(name);
    mkdirSync(into, { recursive: true });
    const manifest = join(into, 'package.json');
    if (!existsSync(manifest)) writeFileSync(manifest, '{ "private": true }\n');
    // Addons are compiled, or fetched, by their install scripts.
    const npm = ['install', '--save-exact', '--no-audit', '--no-fund', '--ignore-scripts=false'];
    start('npm', [...npm, ...options, ...packages], {
      cwd: into,
      shell: process.platform === 'win32',
    });
  });
}
attempt('whisper.cpp', () => {
  const { missing } = buildWhisperCpp();
  if (missing !== undefined) throw new Error(missing);
});

console.log(
  failures.length === 0 ? '\nall peers are there' : `\nleft out:\n${failures.join('\n')}`,
);

function attempt(what, work) {
  console.log(what);
  try {
    work();
  } catch (error) {
    failures.push(`- ${what}: ${error.message}`);
  }
}

function start(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.slice(0, 3).join(' ')} … failed`);
}
