// Runs the Rust code under what finds data races, misused memory and leaks. Linux only; needs a
// nightly Rust with rust-src, and valgrind; expects what setup brings. Not part of the tests.
//
//     node scripts/sanitize.mjs            all three
//     node scripts/sanitize.mjs thread     ThreadSanitizer: the stages with fake models
//     node scripts/sanitize.mjs address    AddressSanitizer: all tests, then the real models
//     node scripts/sanitize.mjs valgrind   memcheck: the real models

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { buildEnvironment, cargo, fail, output, root, run, works } from './tools.mjs';

const MODES = { thread, address, valgrind };
const LIBRARY = '--no-default-features';
const EXAMPLE = ['--example', 'real_models'];

const chosen = process.argv.slice(2);
for (const name of chosen.length > 0 ? chosen : Object.keys(MODES)) {
  if (!(name in MODES)) fail(`no mode '${name}'; there are ${Object.keys(MODES).join(', ')}`);
  MODES[name]();
  console.log(`\n${name}: no finding`);
}

/** What the tests with real models exercise is one thread at a time, by construction. */
function thread() {
  const fakes = ['engine', 'failing', 'giving_up', 'predecessor'];
  const tests = fakes.flatMap((name) => ['--test', name]);
  sanitized('thread', ['test', '--no-fail-fast', '--lib', ...tests]);
}

function address() {
  sanitized('address', ['test', '--no-fail-fast', '--lib', '--tests']);
  sanitized('address', ['run', ...EXAMPLE, '--', model()]);
}

function valgrind() {
  if (!works('valgrind')) fail('valgrind is missing');
  // Valgrind computes each fused multiply-add in a function of its own: without them the run takes
  // minutes, not an hour. ggml's AVX2 code does not compile without.
  const folder = join(root, 'target', 'sanitize', 'valgrind');
  const env = { GGML_AVX2: 'OFF', GGML_FMA: 'OFF', CARGO_TARGET_DIR: folder };
  cargo(['build', LIBRARY, ...EXAMPLE], { env: { ...buildEnvironment(), ...env } });
  run('valgrind', [
    '--error-exitcode=9',
    '--leak-check=full',
    '--show-leak-kinds=definite',
    '--errors-for-leak-kinds=definite',
    '--num-callers=40',
    `--suppressions=${join(root, 'scripts', 'memcheck.supp')}`,
    join(folder, 'debug', 'examples', 'real_models'),
    model(),
  ]);
}

/** Cargo with one of rustc's sanitizers in everything but ONNX Runtime, the standard library too. */
function sanitized(sanitizer, [command, ...args]) {
  const target = output('rustc', ['+nightly', '--print', 'host-tuple']);
  // gcc's instrumentation calls the same functions as LLVM's, and rustc links LLVM's runtime.
  const flags = `-fsanitize=${sanitizer} -fno-omit-frame-pointer -g1`;
  const environment = buildEnvironment();
  const env = {
    RUSTFLAGS: `-Zsanitizer=${sanitizer}`,
    CFLAGS: `${environment.CFLAGS ?? ''} ${flags}`,
    CXXFLAGS: `${environment.CXXFLAGS ?? ''} ${flags}`,
    CARGO_TARGET_DIR: join(root, 'target', 'sanitize', sanitizer),
  };
  cargo(['+nightly', command, '-Zbuild-std', '--target', target, LIBRARY, ...args], {
    env: { ...environment, ...env },
  });
}

function model() {
  const { modelsFolder } = createRequire(import.meta.url)('../dist/models.js');
  const path = join(modelsFolder(), 'ggml-tiny.en.bin');
  if (!existsSync(path)) fail(`no model '${path}': run npm run setup`);
  return path;
}
