// Tables in docs/benchmarks.md that a bench writes stand between two comments with its name.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bin, fail, root } from '../scripts/tools.mjs';

export function writeBetween(name, text) {
  const file = join(root, 'docs', 'benchmarks.md');
  const old = readFileSync(file, 'utf8');
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  if (!old.includes(begin) || !old.includes(end)) fail(`${file} has no ${begin} and ${end}`);
  const before = old.slice(0, old.indexOf(begin) + begin.length);
  const after = old.slice(old.indexOf(end));
  writeFileSync(file, `${before}\n${text}\n${after}`);
  // Tables are aligned, as the checks want them.
  bin('biome', ['format', '--write', file]);
}
