// Runs the programs that the other scripts need, and says what to do when one is missing.

import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const windows = process.platform === 'win32';
/** The last release that the CMake files of whisper.cpp and libopus were tried with. */
const CMAKE_VERSION = '4.1.2';
const cmakeFolder = join(root, '.tools', `cmake-${CMAKE_VERSION}`);

/** What cargo names the addon. */
export const library = {
  linux: 'libopuscribe.so',
  darwin: 'libopuscribe.dylib',
  win32: 'opuscribe.dll',
}[process.platform];

/** What napi names this platform in the names of addons. */
export function platform() {
  const { platform, arch } = process;
  return (
    { linux: `linux-${arch}-gnu`, win32: `win32-${arch}-msvc` }[platform] ?? `${platform}-${arch}`
  );
}

/** Ends the script with a message for people, not with a stack. */
export function fail(message) {
  process.stderr.write(`\n${message}\n`);
  process.exit(1);
}

export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (error) fail(`cannot run ${command}: ${error.message}`);
  if (status !== 0) fail(`${command} ${args.join(' ')} failed`);
}

/** Whether a program ran and succeeded. */
export function attempt(command, args, options = {}) {
  return spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options }).status === 0;
}

export function works(command, args = ['--version']) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/** What a program prints. */
export function output(command, args, options = {}) {
  return execFileSync(command, args, { cwd: root, encoding: 'utf8', ...options }).trim();
}

/** npm's own launcher is a script, which Windows starts only through a shell. */
export function npm(args) {
  run('npm', args, { shell: windows });
}

/** A program of node_modules/.bin. */
export function bin(name, args, options = {}) {
  run(join(root, 'node_modules', '.bin', windows ? `${name}.cmd` : name), args, {
    shell: windows,
    ...options,
  });
}

export function python() {
  const found = ['python3', 'python'].find((name) => works(name));
  if (found === undefined) fail('Python 3 is missing: install it, with pip');
  return found;
}

export function cargo(args, options = {}) {
  if (!works('cargo')) fail('Rust is missing: install it from https://rustup.rs');
  run('cargo', args, { env: buildEnvironment(), ...options });
}

/** Copies what cargo built, by rename: a process that has the old one loaded keeps it. */
export function install(from, to) {
  if (!existsSync(from)) fail(`the build left no ${from}`);
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, `${to}.new`);
  renameSync(`${to}.new`, to);
}

/** What the compiler includes before every file of the bundled C and C++; native/ says what it is for. */
const HEADERS = { CFLAGS: ['relax.h', 'product.h'], CXXFLAGS: ['exceptions.h'] };

/**
 * The environment in which the bundled C libraries build: cmake from PATH, or our own, and the
 * headers of ours. Exceptions pass through ggml's C. Cargo does not watch these flags: what was built
 * without them stays until `cargo clean`.
 */
export function buildEnvironment() {
  const env = { ...process.env };
  if (!works('cmake')) env.CMAKE ??= ownCmake();
  // Flags are parted by spaces, and nothing quotes them.
  if (windows || root.includes(' ')) return env;
  for (const [name, headers] of Object.entries(HEADERS)) {
    const included = headers.map((header) => `-include ${join(root, 'native', header)}`);
    const flags = ['-fexceptions', ...included].join(' ');
    if (!env[name]?.includes(flags)) env[name] = `${env[name] ?? ''} ${flags}`.trim();
  }
  return env;
}

/** Without cmake on PATH, brings the one that PyPI has, into the project. */
export function provideCmake() {
  if (works('cmake') || existsSync(ownCmake())) return;
  console.log(`cmake is not on PATH: installing ${CMAKE_VERSION} into .tools`);
  pipInstall(cmakeFolder, [`cmake==${CMAKE_VERSION}`]);
}

/** Packages that need no compiling, into a folder of their own. */
export function pipInstall(folder, packages) {
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check'];
  run(python(), [...pip, '--only-binary=:all:', '--no-deps', '--target', folder, ...packages]);
}

function ownCmake() {
  return join(cmakeFolder, 'cmake', 'data', 'bin', windows ? 'cmake.exe' : 'cmake');
}
