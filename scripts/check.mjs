// Format, lints, types, and what a built addon must and must not be. Expects what setup brings.

import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { bin, cargo, fail, output, python, root, run, works } from './tools.mjs';

cargo(['fmt', '--check']);
for (const apart of ['benches/loss', 'fuzz', 'loom']) {
  cargo(['fmt', '--check', '--manifest-path', join(apart, 'Cargo.toml')]);
}
for (const features of [[], ['--no-default-features']]) {
  cargo(['clippy', '--quiet', '--all-targets', ...features, '--', '-D', 'warnings']);
}
bin('biome', ['ci', '--error-on-warnings', '.']);
bin('tsc', ['-p', '__test__']);
const scripts = readdirSync(join(root, 'scripts')).filter((name) => name.endsWith('.py'));
run(python(), ['-m', 'py_compile', ...scripts.map((name) => join('scripts', name))]);

checkDependencies();
checkGenerated();
if (process.platform === 'linux') checkAddons();
runIfThere('cargo-deny', ['deny', 'check']);
console.log('\nall checks passed');

/** The engine is a plain Rust library. */
function checkDependencies() {
  const tree = output('cargo', [
    'tree',
    '--no-default-features',
    '-e',
    'normal',
    '--prefix',
    'none',
  ]);
  if (/^napi/m.test(tree)) fail('napi is in the graph without its feature');
}

/** index.js and index.d.ts are what the build of this very source generates. */
function checkGenerated() {
  const changed = output('git', ['status', '--porcelain', '--', 'index.js', 'index.d.ts']);
  if (changed !== '') fail(`commit the generated files with their source:\n${changed}`);
}

/** What the loader of a host application sees, and what an older processor would trip over. */
function checkAddons() {
  const level = process.arch === 'x64' ? ['', '.x86-64-v4'] : [''];
  const platform = { x64: 'linux-x64-gnu', arm64: 'linux-arm64-gnu' }[process.arch];
  for (const suffix of level) {
    const file = join(root, `opuscribe.${platform}${suffix}.node`);
    const symbols = output('nm', ['-D', '--defined-only', file])
      .split('\n')
      .map((line) => line.split(' ').at(-1));
    const foreign = symbols.filter(
      (symbol) => !/^(napi_register_module_v1|node_api_module_get_api_version_v1)$/.test(symbol),
    );
    if (foreign.length > 0) fail(`${file} exports ${foreign.join(', ')}`);
    const megabytes = statSync(file).size / 1e6;
    console.log(
      `${file.slice(root.length + 1)}: ${megabytes.toFixed(2)} MB, stripped; exports ${symbols}`,
    );
    if (process.arch === 'x64') checkInstructions(file, suffix !== '');
  }
}

/**
 * The 512-bit registers. The baseline has a kernel of matrixmultiply for them, which asks the processor
 * first and uses them 800 times; the level that is named after them has twenty times as many.
 */
function checkInstructions(file, wanted) {
  const disassembly = output('objdump', ['-d', '--no-show-raw-insn', file], { maxBuffer: 2 ** 30 });
  const count = disassembly.match(/%zmm/g)?.length ?? 0;
  console.log(`  ${count} uses of 512-bit registers`);
  if (wanted !== count > 3000) fail(`${file} uses 512-bit registers ${count} times`);
}

function runIfThere(program, args) {
  if (works(program)) cargo(args);
  else console.log(`skipped: ${program} is not installed`);
}
