// opuscribe in one process with the native packages that an application may hold beside it: other
// copies of ONNX Runtime, libopus and ggml, loaded before it and after it.
//
//     npm run neighbours
//
// Needs what setup brings. Installs the packages, pinned, into .tools/neighbours; what is there
// already is left alone. What cannot be had is skipped with its reason.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { tinyGguf } from './neighbours/tiny_gguf.mjs';
import { python, root } from './tools.mjs';

const FOLDER = join(root, '.tools', 'neighbours');
const SCRIPT = join(root, 'scripts', 'neighbours', 'process.mjs');
const INSTALL_LIMIT_MS = 300_000;
const PROCESS_LIMIT_MS = 180_000;

const system = { darwin: 'mac', win32: 'win' }[process.platform] ?? process.platform;
const { arch } = process;
const metal = process.platform === 'darwin' && arch === 'arm64' ? '-metal' : '';
const sherpaSystem = process.platform === 'win32' ? 'win' : process.platform;

// The programs of a package lie in a package for the platform. It is named, and the optional ones
// are left out, because among those are some hundred megabytes for CUDA.
const PACKAGES = {
  'onnxruntime-node': { 'onnxruntime-node': '1.24.3' },
  'sherpa-onnx-node': {
    'sherpa-onnx-node': '1.13.8',
    [`sherpa-onnx-${sherpaSystem}-${arch}`]: '1.13.8',
  },
  'node-llama-cpp': {
    'node-llama-cpp': '3.22.1',
    [`@node-llama-cpp/${system}-${arch}${metal}`]: '3.22.1',
  },
  '@discordjs/opus': { '@discordjs/opus': '0.10.0' },
  opusscript: { opusscript: '0.1.1' },
};
/** The package that carries the detector for sherpa-onnx, on PyPI. */
const SILERO = 'silero-vad==6.2.3';

const count = { passed: 0, failed: 0, skipped: 0 };
/** What the processes need to find the neighbours. */
const found = { folders: { own: root }, silero: undefined, gguf: join(FOLDER, 'alphabet.gguf') };

mkdirSync(FOLDER, { recursive: true });
writeFileSync(found.gguf, tinyGguf());
const together = install();
for (const neighbour of together) {
  for (const order of bothOrders(neighbour)) {
    check({ order });
    check({ order, end: 'exit' });
  }
}
if (together.length > 1) {
  for (const order of [
    ['opuscribe', ...together],
    [...together, 'opuscribe'],
  ]) {
    for (const end of ['return', 'exit', 'exit while running']) check({ order, end });
  }
}
checkOtherVersion();
const { passed, failed, skipped } = count;
console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
if (failed > 0) process.exitCode = 1;

function bothOrders(neighbour) {
  return [
    ['opuscribe', neighbour],
    [neighbour, 'opuscribe'],
  ];
}

/** Installs what is missing, and answers which neighbours are there. */
function install() {
  const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json');
  console.log(`onnxruntime-node ${version}: the copy whose library opuscribe uses`);
  const there = ['onnxruntime-node'];
  if (provide('@discordjs/opus', { scripts: true })) there.push('@discordjs/opus');
  else if (provide('opusscript')) there.push('opusscript');
  if (provideSilero() && provide('sherpa-onnx-node')) there.push('sherpa-onnx-node');
  if (provide('node-llama-cpp')) there.push('node-llama-cpp');
  return there;
}

/** Each has a folder of its own, so that one that cannot be had takes no other with it. */
function provide(name, { scripts = false } = {}) {
  const dependencies = PACKAGES[name];
  const folder = join(FOLDER, name.replace('/', '-'));
  const manifest = { private: true, dependencies };
  // npm asks for leave by name before it runs install scripts.
  if (scripts) manifest.allowScripts = { [name]: true };
  const failure = once(folder, manifest, () => {
    writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest, null, 2));
    const flags = ['--omit=optional', '--no-audit', '--no-fund', '--loglevel=error'];
    // Without a network, not long in saying so.
    flags.push('--fetch-retries=1', '--fetch-retry-mintimeout=2000');
    if (!scripts) flags.push('--ignore-scripts');
    // npm under `npm run` would take the project's folder for its own.
    const options = { cwd: folder, shell: process.platform === 'win32' };
    const missing = attempt('npm', ['install', '--prefix', '.', ...flags], options);
    return missing ?? (scripts ? unbuilt(name, folder) : undefined);
  });
  if (failure !== undefined) return skip(`${name} ${dependencies[name]}`, failure);
  found.folders[name] = folder;
  console.log(`${name} ${dependencies[name]}`);
  return true;
}

function provideSilero() {
  const folder = join(FOLDER, 'silero-vad');
  const failure = once(folder, SILERO, () =>
    attempt(python(), [
      ...['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps'],
      ...['--only-binary=:all:', '--target', folder, SILERO],
    ]),
  );
  if (failure !== undefined) return skip(`sherpa-onnx-node: its model ${SILERO}`, failure);
  found.silero = join(folder, 'silero_vad', 'data', 'silero_vad.onnx');
  return true;
}

/** Fills a folder, unless it was filled with the same for the same Node before. */
function once(folder, content, fill) {
  const { platform, versions } = process;
  const wanted = JSON.stringify([content, platform, arch, versions.modules]);
  const stamp = join(folder, '.complete');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return undefined;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const failure = fill();
  if (failure === undefined) writeFileSync(stamp, wanted);
  return failure;
}

/** Why a program failed, or undefined. */
function attempt(command, args, options) {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: INSTALL_LIMIT_MS,
    maxBuffer: 2 ** 28,
    ...options,
  });
  if (status === 0) return undefined;
  const lines = `${stdout ?? ''}${stderr ?? ''}`.trim().split('\n');
  // npm says what is wrong first, pip last.
  const said = [...lines.slice(0, 3), ...lines.slice(3).slice(-2)].join(' | ');
  return `${command} ${error?.message ?? `ended with ${status}`}: ${said}`;
}

/** npm reports success also where it was told to run no install scripts. */
function unbuilt(name, folder) {
  const source = `
    try { require(${JSON.stringify(name)}); }
    catch ({ message }) { console.log(message.split('\\n')[0]); process.exit(1); }
  `;
  return attempt(process.execPath, ['-e', source], { cwd: folder });
}

function skip(what, reason) {
  console.log(`skipped: ${what}: ${reason}`);
  count.skipped += 1;
  return false;
}

/**
 * An application may have another version of onnxruntime-node than opuscribe finds. Linux knows a
 * library by its SONAME, which all versions share, so that the second version's addon is given the
 * library of the first, and is refused because its symbols have another version's name.
 */
function checkOtherVersion() {
  const other = 'onnxruntime-node, another version';
  if (!provide('onnxruntime-node')) return;
  const [after, before] = bothOrders(other);
  // opuscribe asks for its library by path, and gets it.
  check({ order: before });
  check({ order: before, end: 'exit' });
  const library = otherLibrary();
  if (process.platform !== 'linux' || library === undefined) {
    skip(`${after.join(', then ')}`, 'whose library is given to whom is known for Linux only');
    return;
  }
  check({ order: after, refused: other });
  // It is so for any two versions, without opuscribe.
  check({ order: ['onnxruntime-node', other], refused: other });
  const note = ', both on the library that ORT_DYLIB_PATH names';
  check({ order: after, note, env: { ORT_DYLIB_PATH: library } });
  check({ order: after, note, end: 'exit', env: { ORT_DYLIB_PATH: library } });
}

function otherLibrary() {
  const bin = join(found.folders['onnxruntime-node'], 'node_modules', 'onnxruntime-node', 'bin');
  const library = join(bin, 'napi-v6', process.platform, arch, 'libonnxruntime.so.1');
  return existsSync(library) ? library : undefined;
}

/** Runs one process, and wants it to be right, silent and gone. */
function check({ order, end = 'return', refused, note = '', env = {} }) {
  const began = Date.now();
  const what = JSON.stringify({ order, end, refused, ...found });
  const { ORT_DYLIB_PATH: _, ...environment } = process.env;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, what], {
    cwd: root,
    env: { ...environment, ...env },
    encoding: 'utf8',
    timeout: PROCESS_LIMIT_MS,
    killSignal: 'SIGKILL',
  });
  const right = status === 0 && stdout === 'right\n' && stderr === '';
  const seconds = ((Date.now() - began) / 1000).toFixed(1);
  const ends = end === 'return' ? 'ends by itself' : `process.${end.replace('exit', 'exit()')}`;
  const refusal = refused === undefined ? '' : `, refused: ${refused}`;
  console.log(
    `${right ? 'right' : 'WRONG'}: ${order.join(', then ')}${note}${refusal}; ${ends} (${seconds} s)`,
  );
  count[right ? 'passed' : 'failed'] += 1;
  if (right) return;
  console.log(`  ended with ${signal ?? status}, within ${PROCESS_LIMIT_MS / 1000} s`);
  console.log(`  stdout: ${stdout}\n  stderr: ${stderr}`);
}
