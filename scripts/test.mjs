// The Rust tests, then the JavaScript tests against the built addon, then those that need faults on
// purpose against an addon that has them. Expects what setup brings.
//
//     npm test                              everything
//     npm test -- __test__/errors.spec.ts   one file of the JavaScript tests

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { cargo, install, library, platform, root, run } from './tools.mjs';

const FAULTS = ['faults.spec.ts', 'device_faults.spec.ts'].map((name) => join('__test__', name));
/** Far more than any needs: what waits for ever is to fail with its name. */
const TIMEOUT = `--test-timeout=${15 * 60_000}`;
const chosen = process.argv.slice(2);
const all = readdirSync(join(root, '__test__'))
  .filter((name) => name.endsWith('.spec.ts'))
  .map((name) => join('__test__', name));
const specs = (chosen.length > 0 ? chosen : all).filter((spec) => !FAULTS.includes(spec));

if (chosen.length === 0) {
  // Without the binding: these tests need neither napi nor Node.
  cargo(['test', '--no-default-features']);
  cargo(['test', '--release', '--manifest-path', join('loom', 'Cargo.toml')]);
}
if (specs.length > 0) test(specs);
const faulty = FAULTS.filter((spec) => chosen.length === 0 || chosen.includes(spec));
if (faulty.length > 0) test(faulty, withFaults());

function test(files, more = {}) {
  // What is built here for a GPU has tests of its own, and would be tried out in all others.
  const env = { OPUSCRIBE_ADDONS: join(root, 'target', 'no-addons'), ...process.env, ...more };
  const flags = ['--import', 'tsx', '--test', '--test-reporter', 'spec', TIMEOUT];
  run(process.execPath, [...flags, ...files], { env });
}

/** The same addon with the feature `faults`; only this crate is compiled again. */
function withFaults() {
  cargo(['build', '--quiet', '--release', '--lib', '--features', 'faults']);
  const folder = join(root, 'target', 'faults');
  const addon = join(folder, 'opuscribe.node');
  for (const name of [addon, join(folder, `opuscribe.${platform()}.vulkan.node`)]) {
    install(join(root, 'target', 'release', library), name);
  }
  return {
    NAPI_RS_NATIVE_LIBRARY_PATH: addon,
    OPUSCRIBE_ADDONS: folder,
    OPUSCRIBE_CPU_LEVEL: 'x86-64-v3',
    OPUSCRIBE_FAULTS: 'yes',
    // For one that hangs on purpose; others take two seconds.
    OPUSCRIBE_PROBE_TIMEOUT_MS: '20000',
  };
}
