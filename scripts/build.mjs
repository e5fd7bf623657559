// Builds the addon for the baseline instruction set, and on x86-64 a second one with AVX-512 that
// js/native.ts loads where the processor has it; then the TypeScript layer.

import { join } from 'node:path';
import { bin, buildEnvironment, cargo, install, library, platform, root } from './tools.mjs';

bin('napi', ['build', '--platform', '--release', '--js', 'index.js', '--dts', 'index.d.ts'], {
  env: buildEnvironment(),
});

if (process.arch === 'x64' && process.platform !== 'darwin') {
  // A target folder of its own, or each build would throw the other's CMake output away.
  const target = join(root, 'target', 'x86-64-v4');
  cargo(['build', '--release', '--lib', '--target-dir', target], {
    env: { ...buildEnvironment(), GGML_AVX512: 'ON' },
  });
  install(join(target, 'release', library), join(root, `opuscribe.${platform()}.x86-64-v4.node`));
}

bin('tsc', ['-p', '.']);
