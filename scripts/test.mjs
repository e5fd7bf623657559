// The Rust tests, then the JavaScript tests against the built addon, then those that need faults on
// purpose against an addon that has them. Expects what setup brings.
//
//     npm test                              everything
//     npm test -- __test__/errors.spec.ts   one file of the JavaScript tests

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { cargo, install, library, root, run } from './tools.mjs';

const FAULTS = join('__test__', 'faults.spec.ts');
/** Far more than any needs: what waits for ever is to fail with its name. */
const TIMEOUT = `--test-timeout=${15 * 60_000}`;
const chosen = process.argv.slice(2);
const all = readdirSync(join(root, '__test__'))
  .filter((name) => name.endsWith('.spec.ts'))
  .map((name) => join('__test__', name));
const specs = (chosen.length > 0 ? chosen : all).filter((spec) => spec !== FAULTS);

if (chosen.length === 0) {
  // Without the binding: these tests need neither napi nor Node.
  cargo(['test', '--no-default-features']);
  cargo(['test', '--release', '--manifest-path', join('loom', 'Cargo.toml')]);
}
if (specs.length > 0) test(specs);
if (chosen.length === 0 || chosen.includes(FAULTS)) test([FAULTS], withFaults());

function test(files, env = process.env) {
  const flags = ['--import', 'tsx', '--test', '--test-reporter', 'spec', TIMEOUT];
  run(process.execPath, [...flags, ...files], { env });
}

/** The same addon with the feature `faults`; only this crate is compiled again. */
function withFaults() {
  cargo(['build', '--quiet', '--release', '--lib', '--features', 'faults']);
  const addon = join(root, 'target', 'faults', 'opuscribe.node');
  install(join(root, 'target', 'release', library), addon);
  return {
    ...process.env,
    NAPI_RS_NATIVE_LIBRARY_PATH: addon,
    OPUSCRIBE_CPU_LEVEL: 'x86-64-v3',
    OPUSCRIBE_FAULTS: 'yes',
  };
}
