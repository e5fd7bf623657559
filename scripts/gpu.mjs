// Builds the addon for a GPU, beside that for the processor.
//
//     npm run build:gpu -- vulkan    or cuda, or metal
//
// What it needs is brought where that is possible; else it says what is missing and exits with 2.

import { join } from 'node:path';
import { provideCuda } from './toolkits/cuda.mjs';
import { provideVulkan } from './toolkits/vulkan.mjs';
import { buildEnvironment, cargo, fail, install, library, platform, root } from './tools.mjs';

const TOOLKITS = {
  cuda: provideCuda,
  vulkan: provideVulkan,
  metal: () => (process.platform === 'darwin' ? { env: {} } : { missing: 'Metal is of macOS' }),
};

const [backend] = process.argv.slice(2);
if (!(backend in TOOLKITS)) fail(`backend is ${backend}; expected cuda, vulkan or metal`);
const { env, missing } = TOOLKITS[backend]();
if (missing) {
  console.log(`skipped: the addon for ${backend} cannot be built: ${missing}`);
  process.exit(2);
}
// A target folder of its own, or each build would throw the other's CMake output away.
const target = join(root, 'target', backend);
cargo(['build', '--release', '--lib', '--features', backend, '--target-dir', target], {
  env: { ...buildEnvironment(), ...settings(backend), ...env },
});
const addon = join(root, `opuscribe.${platform()}.${backend}.node`);
install(join(target, 'release', library), addon);
console.log(`built ${addon}`);

/** How ggml's backends are compiled. */
function settings(backend) {
  if (backend !== 'cuda') return {};
  return {
    // Without flash attention none of its kernels is called, and they are most of what is compiled.
    GGML_CUDA_FA: 'OFF',
    // Turing to Hopper, and by the last of them as PTX whatever comes after.
    CMAKE_CUDA_ARCHITECTURES:
      process.env.CMAKE_CUDA_ARCHITECTURES ?? '75-real;80-real;86-real;89-real;90',
  };
}
