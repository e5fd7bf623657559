// What each GPU's addon is built with.

import { provideCuda } from './cuda.mjs';
import { provideVulkan } from './vulkan.mjs';

const TOOLKITS = { cuda: provideCuda, vulkan: provideVulkan, metal: provideMetal };
export const BACKENDS = Object.keys(TOOLKITS);

/** The environment to build in, or why there is none. */
export function provide(backend) {
  const { env, missing, libraries } = TOOLKITS[backend]();
  if (missing) return { missing };
  return { env: { ...(backend === 'cuda' && CUDA_SETTINGS), ...env }, libraries };
}

const CUDA_SETTINGS = {
  // Without flash attention none of its kernels is called, and they are most of what is compiled.
  GGML_CUDA_FA: 'OFF',
  // Turing to Hopper, and by the last of them as PTX whatever comes after.
  CMAKE_CUDA_ARCHITECTURES:
    process.env.CMAKE_CUDA_ARCHITECTURES ?? '75-real;80-real;86-real;89-real;90',
};

function provideMetal() {
  return process.platform === 'darwin' ? { env: {} } : { missing: 'Metal is of macOS' };
}
