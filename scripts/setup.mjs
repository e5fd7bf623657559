// Everything that the demo and the tests need, from a fresh clone: npm packages, cmake, the addon,
// a model. What is there already is left alone.

import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fail, npm, provideCmake, python, root, run } from './tools.mjs';

if (Number(process.versions.node.split('.')[0]) < 20) fail('Node 20 or later is needed');

installPackages();
provideCmake();
run(process.execPath, [join(root, 'scripts', 'build.mjs')]);
for (const name of ['tiny.en', ...process.argv.slice(2)]) fetchModel(name);

function installPackages() {
  const lock = readFileSync(join(root, 'package-lock.json'));
  const wanted = createHash('sha256').update(lock).digest('hex');
  const stamp = join(root, 'node_modules', '.opuscribe-lock');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  // No package needs its install script here; onnxruntime-node's would fetch a GPU build.
  npm(['ci', '--ignore-scripts', '--no-audit', '--no-fund']);
  writeFileSync(stamp, wanted);
}

function fetchModel(name) {
  const { modelsFolder } = createRequire(import.meta.url)('../dist/models.js');
  const folder = modelsFolder();
  if (existsSync(join(folder, `ggml-${name}.bin`))) return;
  console.log(`fetching the Whisper model ${name} into ${folder}`);
  run(python(), [join(root, 'scripts', 'fetch_model.py'), name, '--folder', folder]);
}
