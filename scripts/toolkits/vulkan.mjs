// What the feature `vulkan` builds with: an SDK that is installed, or on Debian the packages of one,
// unpacked into the project. Nothing of the system is changed.

import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { attempt, output, root, run, works } from '../tools.mjs';

/** ggml's source needs headers from here on. */
const HEADERS = [1, 4];
/** The first release of Debian whose headers are new enough; an older one's compiler and loader do. */
const NEW_ENOUGH = 'trixie';
const folder = join(root, '.tools', 'vulkan');
const sdk = join(folder, 'sdk');

/** The environment to build in, or why there is none. */
export function provideVulkan() {
  const { VULKAN_SDK } = process.env;
  const include = VULKAN_SDK ? join(VULKAN_SDK, 'include') : '/usr/include';
  if (isNewEnough(include) && (VULKAN_SDK || works('glslc'))) return { env: {} };
  const what = `the Vulkan SDK is missing: headers ${HEADERS.join('.')} or later, glslc and the loader`;
  if (process.platform !== 'linux') return { missing: `${what}; set VULKAN_SDK to where it is` };
  if (!existsSync(join(sdk, 'complete'))) {
    if (!works('apt-get') || !works('dpkg-deb')) return { missing: what };
    const problem = unpack();
    if (problem) return { missing: `${what} (${problem})` };
  }
  const libraries = join(sdk, 'lib');
  return {
    env: {
      VULKAN_SDK: sdk,
      LIBRARY_PATH: [libraries, process.env.LIBRARY_PATH].filter(Boolean).join(':'),
      // glslc is linked with a library that lies beside it here.
      LD_LIBRARY_PATH: [libraries, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':'),
    },
    /** Where the loader is that the addon is loaded with, on a machine without one. */
    libraries,
  };
}

function isNewEnough(include) {
  const header = join(include, 'vulkan', 'vulkan_core.h');
  if (!existsSync(header) || !existsSync(join(include, 'vulkan', 'vulkan.hpp'))) return false;
  const found = /VK_HEADER_VERSION_COMPLETE VK_MAKE_API_VERSION\(0, (\d+), (\d+),/.exec(
    readFileSync(header, 'utf8'),
  );
  const [major, minor] = found ? found.slice(1).map(Number) : [0, 0];
  return major > HEADERS[0] || (major === HEADERS[0] && minor >= HEADERS[1]);
}

/** Says what went wrong, if something did. */
function unpack() {
  console.log('the Vulkan SDK is missing: unpacking that of Debian into .tools');
  const source = mirror();
  if (source === undefined) return 'apt names no mirror of Debian';
  const state = join(folder, 'apt');
  for (const part of ['lists/partial', 'cache/archives/partial']) {
    mkdirSync(join(state, part), { recursive: true });
  }
  const list = join(state, 'sources.list');
  writeFileSync(list, `deb ${source} ${NEW_ENOUGH} main\n`);
  const apart = Object.entries({
    'Dir::Etc::sourcelist': list,
    'Dir::Etc::sourceparts': '-',
    'Dir::State::lists': join(state, 'lists'),
    'Dir::Cache': join(state, 'cache'),
  }).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const packages = join(folder, 'packages');
  mkdirSync(packages, { recursive: true });
  const quiet = { cwd: packages, stdio: 'ignore' };
  const fetched =
    attempt('apt-get', [...apart, 'update'], quiet) &&
    attempt('apt-get', [...apart, 'download', 'libvulkan-dev'], quiet) &&
    // Those of this system, which its C library can run.
    (attempt('apt-get', ['download', 'glslc', 'libshaderc1', 'libvulkan1'], quiet) ||
      (attempt('apt-get', ['update'], quiet) &&
        attempt('apt-get', ['download', 'glslc', 'libshaderc1', 'libvulkan1'], quiet)));
  if (!fetched) return 'apt-get cannot fetch it';
  const unpacked = join(folder, 'unpacked');
  for (const name of readdirSync(packages)) {
    run('dpkg-deb', ['-x', join(packages, name), unpacked]);
  }
  const usr = join(unpacked, 'usr');
  const triplet = readdirSync(join(usr, 'lib')).find((name) => name.includes('linux'));
  mkdirSync(sdk, { recursive: true });
  link(join(usr, 'include'), join(sdk, 'include'));
  link(join(usr, 'bin'), join(sdk, 'bin'));
  link(join(usr, 'lib', triplet), join(sdk, 'lib'));
  if (!isNewEnough(join(sdk, 'include'))) return 'the headers are too old';
  writeFileSync(join(sdk, 'complete'), output('dpkg-deb', ['--version']));
  return undefined;
}

/** Where apt has this system's packages from. */
function mirror() {
  const listed = output('apt-get', ['indextargets', '--format', '$(SITE) $(RELEASE) $(COMPONENT)']);
  const main = listed
    .split('\n')
    .map((line) => line.split(' '))
    .find(([site, , component]) => /debian/.test(site) && component === 'main');
  return main?.[0];
}

function link(from, to) {
  if (!existsSync(to)) symlinkSync(from, to);
}
