// Builds the addon for a GPU, beside that for the processor.
//
//     npm run build:gpu -- vulkan    or cuda, or metal
//
// What it needs is brought where that is possible; else it says what is missing and exits with 2.

import { join } from 'node:path';
import { BACKENDS, provide } from './toolkits/backends.mjs';
import { buildEnvironment, cargo, fail, install, library, platform, root } from './tools.mjs';

const [backend] = process.argv.slice(2);
if (!BACKENDS.includes(backend)) fail(`backend is ${backend}; expected ${BACKENDS.join(', ')}`);
const { env, missing } = provide(backend);
if (missing) {
  console.log(`skipped: the addon for ${backend} cannot be built: ${missing}`);
  process.exit(2);
}
// A target folder of its own, or each build would throw the other's CMake output away.
const target = join(root, 'target', backend);
cargo(['build', '--release', '--lib', '--features', backend, '--target-dir', target], {
  env: { ...buildEnvironment(), ...env },
});
const addon = join(root, `opuscribe.${platform()}.${backend}.node`);
install(join(target, 'release', library), addon);
console.log(`built ${addon}`);
