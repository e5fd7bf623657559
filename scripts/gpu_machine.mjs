// All that is to be done on a machine with a GPU, in one command: the addon is built, the JavaScript
// tests, soak and chaos run on it in short form, and the bench writes its tables into docs/. Expects
// what setup brings.
//
//     npm run gpu -- cuda                    all of it
//     npm run gpu -- cuda --step bench       one step: build, devices, tests, soak, chaos, bench
//     npm run gpu -- cuda --minutes 10       of soak and chaos, default 2
//
// What follows the backend's options behind -- goes to the bench: -- --model base --speech FOLDER

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BACKENDS, provide } from './toolkits/backends.mjs';
import { fail, root, run } from './tools.mjs';

/** What the CPU alone is asked for is left out: the shape of the API, errors, faults. */
const SPECS = [
  'accuracy',
  'belief',
  'concurrency',
  'lifecycle',
  'predecessor',
  'stream',
  'isolated',
];
const STEPS = ['build', 'devices', 'tests', 'soak', 'chaos', 'bench'];
const NOTHING_BUILT = 2;

const split = process.argv.indexOf('--', 2);
const end = split < 0 ? process.argv.length : split;
const forBench = process.argv.slice(end + 1);
const { values, positionals } = parseArgs({
  args: process.argv.slice(2, end),
  allowPositionals: true,
  options: { step: { type: 'string' }, minutes: { type: 'string', default: '2' } },
});
const [backend] = positionals;
if (!BACKENDS.includes(backend)) fail(`backend is ${backend}; expected ${BACKENDS.join(', ')}`);
if (values.step !== undefined && !STEPS.includes(values.step)) {
  fail(`--step is ${values.step}; expected ${STEPS.join(', ')}`);
}
const script = (...path) => join(root, ...path);
const minutes = ['--minutes', values.minutes];
let env;

const steps = {
  build() {
    const { status } = spawnSync(process.execPath, [script('scripts', 'gpu.mjs'), backend], {
      stdio: 'inherit',
    });
    if (status === NOTHING_BUILT) process.exit(0);
    if (status !== 0) fail(`the addon for ${backend} was not built`);
  },
  devices() {
    const list = `require('opuscribe').listDevices({ model: 'tiny.en' }).then((all) => {
      console.log(all);
      process.exitCode = all.some((one) => one.backend === '${backend}' && one.verdict.works) ? 0 : 1;
    })`;
    run(process.execPath, ['-e', list], { env });
  },
  tests: () =>
    run(
      process.execPath,
      [script('scripts', 'test.mjs'), ...SPECS.map((name) => join('__test__', `${name}.spec.ts`))],
      { env },
    ),
  soak: () => run(process.execPath, [script('benches', 'soak', 'soak.mjs'), ...minutes], { env }),
  chaos: () =>
    run(process.execPath, [script('benches', 'chaos', 'chaos.mjs'), ...minutes], { env }),
  bench: () =>
    run(process.execPath, [script('benches', 'gpu', 'gpu.mjs'), backend, '--write', ...forBench], {
      env,
    }),
};

for (const name of values.step === undefined ? STEPS : [values.step]) {
  env ??= environment();
  console.log(`\n== ${name}, on ${backend}`);
  steps[name]();
}
console.log(`\nall done on ${backend}`);

/** Every transcriber that does not say otherwise is on this backend. */
function environment() {
  const { libraries, missing } = provide(backend);
  if (missing) {
    console.log(`skipped: nothing for ${backend} can be built: ${missing}`);
    process.exit(0);
  }
  const paths = [process.env.LD_LIBRARY_PATH, libraries].filter(Boolean).join(':');
  return {
    ...process.env,
    OPUSCRIBE_DEVICE: backend,
    OPUSCRIBE_ADDONS: root,
    ...(paths && { LD_LIBRARY_PATH: paths }),
  };
}
