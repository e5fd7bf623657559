// Whisper on Vulkan, as __test__/vulkan.spec.ts tries it. Builds the addon for it and, where there is
// no GPU, uses Mesa's lavapipe, a GPU in software; says what is missing where that cannot be. Expects
// what setup brings.
//
//     npm run test:vulkan

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
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
const { libraries } = provideVulkan();
const flags = ['--import', 'tsx', '--test', '--test-reporter', 'spec', '--test-timeout=900000'];
run(process.execPath, [...flags, join('__test__', 'vulkan.spec.ts')], {
  env: {
    ...process.env,
    OPUSCRIBE_VULKAN: 'yes',
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
