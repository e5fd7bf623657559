// Whisper on Vulkan, as __test__/vulkan.spec.ts and vulkan_faults.spec.ts try it. Builds the addon for it and, where there is
// no GPU, uses Mesa's lavapipe, a GPU in software; says what is missing where that cannot be. Expects
// what setup brings.
//
//     npm run test:vulkan

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { provideVulkan } from './toolkits/vulkan.mjs';
import { attempt, fail, root, run, works } from './tools.mjs';

const DRIVERS = ['/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d'];
const LAVAPIPE = /^lvp_icd.*\.json$/;
const NOTHING_BUILT = 2;

const built = spawnSync(process.execPath, [join(root, 'scripts', 'gpu.mjs'), 'vulkan'], {
  stdio: 'inherit',
});
if (built.status === NOTHING_BUILT) process.exit(0);
if (built.status !== 0) fail('the addon for Vulkan was not built');
const driver = lavapipe();
if (driver === undefined) {
  console.log('skipped: Vulkan on lavapipe, which is not installed (mesa-vulkan-drivers)');
  process.exit(0);
}
const { env: sdk, libraries } = provideVulkan();
const flags = ['--import', 'tsx', '--test', '--test-reporter', 'spec', '--test-timeout=900000'];
// One after the other: lavapipe has the processor to itself.
const specs = ['vulkan', 'vulkan_faults'].map((name) => join('__test__', `${name}.spec.ts`));
run(process.execPath, [...flags, '--test-concurrency=1', ...specs], {
  env: {
    ...process.env,
    OPUSCRIBE_VULKAN: 'yes',
    OPUSCRIBE_FAULT_LAYER: faultLayer(),
    // It alone, and although it is no GPU.
    VK_DRIVER_FILES: driver,
    VK_ICD_FILENAMES: driver,
    GGML_VK_VISIBLE_DEVICES: '0',
    // The loader, where the system has none.
    ...(libraries && {
      LD_LIBRARY_PATH: [process.env.LD_LIBRARY_PATH, libraries].filter(Boolean).join(':'),
    }),
  },
});

/** The folder of a layer whose GPU fails when it is asked to. */
function faultLayer() {
  const folder = join(root, 'target', 'vulkan', 'fault_layer');
  mkdirSync(folder, { recursive: true });
  const library = 'libfault_layer.so';
  const { VULKAN_SDK } = { ...process.env, ...sdk };
  const include = VULKAN_SDK ? [`-I${join(VULKAN_SDK, 'include')}`] : [];
  const source = join(root, '__test__', 'vulkan', 'fault_layer.c');
  const flags = ['-shared', '-fPIC', '-Wall', '-Wextra', '-Werror', ...include];
  run('gcc', [...flags, source, '-o', join(folder, library)]);
  const layer = {
    name: 'VK_LAYER_OPUSCRIBE_fault',
    type: 'INSTANCE',
    library_path: `./${library}`,
    api_version: '1.3.0',
    implementation_version: '1',
    description: 'a GPU that fails on purpose',
  };
  const description = { file_format_version: '1.2.0', layer };
  writeFileSync(join(folder, 'fault_layer.json'), JSON.stringify(description));
  return folder;
}

/** Its description, brought by the system's own package manager on a machine that is CI's. */
function lavapipe() {
  const isOurs = process.env.CI !== undefined && process.getuid?.() === 0 && works('apt-get');
  if (find() === undefined && isOurs) {
    const install = ['install', '-y', '--no-install-recommends', 'mesa-vulkan-drivers'];
    const quiet = { stdio: 'ignore' };
    if (!attempt('apt-get', install, quiet)) {
      attempt('apt-get', ['update'], quiet);
      attempt('apt-get', install, quiet);
    }
  }
  return find();
}

function find() {
  for (const folder of DRIVERS.filter((folder) => existsSync(folder))) {
    const name = readdirSync(folder).find((name) => LAVAPIPE.test(name));
    if (name !== undefined) return join(folder, name);
  }
  return undefined;
}
