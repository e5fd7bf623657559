// What the feature `cuda` builds with: a toolkit that is installed, or the parts of one that PyPI has,
// in the project. Runs nothing of it but the compiler.

import { existsSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { output, pipInstall, root, run, works } from '../tools.mjs';

/** The first release whose compiler is whole on PyPI; from CUDA 13 on any driver from 580 up runs it. */
const PARTS = {
  'nvidia-cuda-nvcc': '13.0.88',
  'nvidia-cuda-crt': '13.0.88',
  'nvidia-nvvm': '13.0.88',
  'nvidia-cuda-runtime': '13.0.96',
  'nvidia-cuda-cccl': '13.0.85',
  'nvidia-cublas': '13.0.2.14',
};
const folder = join(root, '.tools', 'cuda-13.0');
const toolkit = join(folder, 'nvidia', 'cu13');
/** Driver functions that ggml calls, for a linker on a machine without the driver. */
const DRIVER = [
  'cuDeviceGet',
  'cuDeviceGetAttribute',
  'cuGetErrorString',
  'cuMemAddressFree',
  'cuMemAddressReserve',
  'cuMemCreate',
  'cuMemGetAllocationGranularity',
  'cuMemMap',
  'cuMemRelease',
  'cuMemSetAccess',
  'cuMemUnmap',
];

/** The environment to build in, or why there is none. */
export function provideCuda() {
  if (works('nvcc')) return { env: {} };
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return { missing: 'no nvcc is on PATH: install the CUDA toolkit' };
  }
  if (!existsSync(join(toolkit, 'complete'))) install();
  const libraries = join(toolkit, 'lib');
  return {
    env: {
      CUDAToolkit_ROOT: toolkit,
      CMAKE_CUDA_COMPILER: join(toolkit, 'bin', 'nvcc'),
      LIBRARY_PATH: [libraries, process.env.LIBRARY_PATH].filter(Boolean).join(':'),
    },
    /** Where the libraries are that the addon is loaded with. */
    libraries,
  };
}

function install() {
  console.log('nvcc is not on PATH: installing the CUDA compiler and cuBLAS into .tools');
  pipInstall(
    folder,
    Object.entries(PARTS).map(([name, version]) => `${name}==${version}`),
  );
  const libraries = join(toolkit, 'lib');
  // The packages have the libraries under the names that programs load, not those that linkers ask for.
  for (const name of readdirSync(libraries)) {
    const link = join(libraries, name.replace(/\.so\..*$/, '.so'));
    if (/\.so\.\d+$/.test(name) && !existsSync(link)) symlinkSync(name, link);
  }
  const source = join(folder, 'driver.c');
  writeFileSync(source, DRIVER.map((name) => `int ${name}(void) { return 999; }\n`).join(''));
  const stub = [
    '-shared',
    '-fPIC',
    '-Wl,-soname,libcuda.so.1',
    '-o',
    join(libraries, 'libcuda.so'),
  ];
  run('gcc', [...stub, source]);
  // Of the static runtime alone, and named by the crate that links whisper.cpp.
  run('ar', ['rcs', join(libraries, 'libculibos.a')]);
  writeFileSync(join(toolkit, 'complete'), output(join(toolkit, 'bin', 'nvcc'), ['--version']));
}
