// The JavaScript tests in which bytes come out of the addon, where buffers on foreign memory are
// forbidden, as Electron does it: there
// napi's two functions that make them fail with napi_no_external_buffers_allowed.
//
//     node scripts/no_external_buffers.mjs                            those tests
//     node scripts/no_external_buffers.mjs __test__/framing.spec.ts   one file
//
// The addons look napi's functions up by name. In copies of them the two names are replaced by
// those of functions that refuse, from a library that is preloaded. Needs what setup brings, and a
// C compiler. The copies stand in a copy of the package, so that tests and the processes they
// start load them as always.

import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fail, root, run, works } from './tools.mjs';

const NAMES = ['napi_create_external_buffer', 'napi_create_external_arraybuffer'];
const replacement = (name) => name.replace('napi_', 'nope_');

/** Packets, transcripts, errors and streams, and processes that hand them on. */
const SPECS = [
  'api.spec.ts',
  'captions.spec.ts',
  'electron.spec.ts',
  'errors.spec.ts',
  'framing.spec.ts',
  'media.spec.ts',
];

const FOLDER = join(root, '.tools', 'no_external_buffers');
const copy = join(FOLDER, 'package');
const library = join(FOLDER, 'no_external_buffers.so');
const calls = join(FOLDER, 'calls');

const compiler = ['gcc', 'cc', 'clang'].find((name) => works(name));
if (process.platform !== 'linux') skip('preloading and its trace are those of Linux');
if (compiler === undefined) skip('no C compiler (gcc, cc, clang)');

rmSync(FOLDER, { recursive: true, force: true });
mkdirSync(FOLDER, { recursive: true });
copyPackage();
const source = join(root, 'scripts', 'no_external_buffers.c');
run(compiler, ['-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-O2', '-o', library, source]);

const { NAPI_RS_NATIVE_LIBRARY_PATH: _, ...outer } = process.env;
const preloaded = [library, outer.LD_PRELOAD].filter(Boolean).join(':');
const env = { ...outer, LD_PRELOAD: preloaded, NO_EXTERNAL_BUFFERS_CALLS: calls };
control();
rmSync(calls);
const failed = test();
const counted = count();
for (const name of NAMES) console.log(`${name}: refused ${counted[name]} times in the tests`);
if (failed) fail('the tests fail without external buffers');

function skip(reason) {
  console.log(`skipped: ${reason}`);
  process.exit(0);
}

function copyPackage() {
  const described = ['package.json', 'tsconfig.json', 'index.js', 'index.d.ts'];
  const kept = [...described, 'dist', '__test__', 'examples', 'scripts'];
  for (const name of kept) cpSync(join(root, name), join(copy, name), { recursive: true });
  const addons = readdirSync(root).filter((name) => /^opuscribe\.linux-.*\.node$/.test(name));
  if (addons.length === 0) fail('no addon is built: run npm run build');
  for (const name of addons) {
    writeFileSync(join(copy, name), rebound(readFileSync(join(root, name)), name));
    console.log(`${name}: ${NAMES.join(' and ')} rebound`);
  }
}

/** The names are followed by a zero, unlike in napi's messages about them. */
function rebound(addon, file) {
  for (const name of NAMES) {
    const at = addon.indexOf(`${name}\0`);
    if (at < 0) fail(`${file} does not look ${name} up`);
    if (addon.indexOf(`${name}\0`, at + 1) >= 0) fail(`${file} has ${name} twice`);
    addon.write(replacement(name), at, 'latin1');
  }
  return addon;
}

/**
 * Nothing would be tested if the addons still had napi's own functions, or never called them. The
 * dynamic loader is asked what each name was bound to, and a real call is made.
 */
function control() {
  const trace = join(FOLDER, 'trace');
  const script = `
    const { OpusDemuxer, splitPackets } = require('opuscribe');
    const { readFileSync } = require('node:fs');
    const packets = splitPackets(readFileSync('__test__/fixtures/jfk.packets'));
    const known = JSON.parse(readFileSync('__test__/fixtures/manifest.json'));
    if (packets.length !== known.find(({ name }) => name === 'jfk').packets) process.exit(1);
    const demuxer = new OpusDemuxer();
    demuxer.on('data', () => {});
    demuxer.end(readFileSync('__test__/fixtures/chromium_timeslice.webm'));
  `;
  run(process.execPath, ['-e', script], {
    cwd: copy,
    env: { ...env, LD_DEBUG: 'bindings', LD_DEBUG_OUTPUT: trace },
  });
  const traced = readdirSync(FOLDER).filter((name) => name.startsWith('trace.'));
  const lines = traced.flatMap((name) => readFileSync(join(FOLDER, name), 'utf8').split('\n'));
  for (const name of traced) rmSync(join(FOLDER, name));
  for (const name of NAMES) {
    const bound = lines.filter((line) => line.includes(`\`${replacement(name)}'`));
    if (bound.length === 0 || !bound.every((line) => line.includes(` to ${library} `))) {
      fail(`${replacement(name)} is not bound to ${library}:\n${bound.join('\n')}`);
    }
    if (lines.some((line) => line.includes(`\`${name}'`))) fail(`${name} is still looked up`);
    console.log(
      `control: ${bound.length} addons have ${name} from ${library.slice(root.length + 1)}`,
    );
  }
  const made = count();
  const total = NAMES.reduce((sum, name) => sum + made[name], 0);
  if (total === 0) fail('control: packets reach JavaScript without the two functions');
  console.log(`control: refused ${total} times in one process, and its packets are right`);
}

function test() {
  const chosen = process.argv.slice(2);
  const specs = chosen.length > 0 ? chosen : SPECS.map((name) => join('__test__', name));
  const flags = ['--import', 'tsx', '--test', '--test-reporter', 'spec'];
  const { status, error } = spawnSync(process.execPath, [...flags, ...specs], {
    cwd: copy,
    env,
    stdio: 'inherit',
  });
  if (error) fail(`cannot run the tests: ${error.message}`);
  return status !== 0;
}

function count() {
  const letters = existsSync(calls) ? readFileSync(calls, 'latin1') : '';
  const of = (letter) => letters.split(letter).length - 1;
  return { [NAMES[0]]: of('b'), [NAMES[1]]: of('a') };
}
