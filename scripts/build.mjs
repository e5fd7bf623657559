// Builds the addon for the baseline instruction set, and on x86-64 a second one with AVX-512 that
// js/native.ts loads where the processor has it; then the TypeScript layer.

import { copyFileSync, existsSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { bin, buildEnvironment, cargo, root } from './tools.mjs';

const LIBRARIES = { linux: 'libopuscribe.so', win32: 'opuscribe.dll' };
const PLATFORMS = { linux: 'linux-x64-gnu', win32: 'win32-x64-msvc' };

bin('napi', ['build', '--platform', '--release', '--js', 'index.js', '--dts', 'index.d.ts'], {
  env: buildEnvironment(),
});

if (process.arch === 'x64' && process.platform in LIBRARIES) {
  // A target folder of its own, or each build would throw the other's CMake output away.
  const target = join(root, 'target', 'x86-64-v4');
  cargo(['build', '--release', '--lib', '--target-dir', target], {
    env: { ...buildEnvironment(), GGML_AVX512: 'ON' },
  });
  replace(
    join(target, 'release', LIBRARIES[process.platform]),
    join(root, `opuscribe.${PLATFORMS[process.platform]}.x86-64-v4.node`),
  );
}

bin('tsc', ['-p', '.']);

/** By rename: a process that has the old one loaded keeps it. */
function replace(from, to) {
  if (!existsSync(from)) throw new Error(`the build left no ${from}`);
  copyFileSync(from, `${to}.new`);
  renameSync(`${to}.new`, to);
}
