// Time from nothing to the first text, with the model's file in the page cache and without.
//
//     node benches/first.mjs [--model tiny.en] [--rounds 5]
//
// Linux: the file is dropped from the cache by posix_fadvise, which needs no rights. What the disk's own
// cache holds stays there.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { python, root } from '../scripts/tools.mjs';

const EVICT = `import os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
os.fsync(file)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)`;

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'tiny.en' },
    rounds: { type: 'string', default: '5' },
    once: { type: 'boolean', default: false },
  },
});
if (values.once) await once();
else compare();

/** In a process of its own. */
async function once() {
  const started = performance.now();
  const { splitPackets, Transcriber } = createRequire(import.meta.url)(root);
  const file = join(root, '__test__', 'fixtures', 'libri_waiting.packets');
  const packets = splitPackets(readFileSync(file)).slice(0, 150);
  const loaded = performance.now();
  const transcriber = await Transcriber.open({ model: values.model });
  const opened = performance.now();
  await transcriber.transcribe(packets);
  const done = performance.now();
  console.log(
    JSON.stringify({ load: loaded - started, open: opened - loaded, first: done - opened }),
  );
  await transcriber.close();
}

function compare() {
  const { resolveModel } = createRequire(import.meta.url)(join(root, 'dist', 'models.js'));
  const model = resolveModel(values.model);
  const found = { warm: [], cold: [] };
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const [state, runs] of Object.entries(found)) {
      if (state === 'cold') execFileSync(python(), ['-c', EVICT, model]);
      const self = [fileURLToPath(import.meta.url), '--once', '--model', values.model];
      runs.push(JSON.parse(execFileSync(process.execPath, self, { encoding: 'utf8' })));
    }
  }
  const median = (numbers) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
  console.log('| page cache | require | open | first text of 3 s | all |');
  console.log('| --- | --- | --- | --- | --- |');
  for (const [state, runs] of Object.entries(found)) {
    const of = (part) => median(runs.map(part)).toFixed(0);
    const all = of(({ load, open, first }) => load + open + first);
    console.log(
      `| ${state} | ${of((run) => run.load)} ms | ${of((run) => run.open)} ms | ${of((run) => run.first)} ms | ${all} ms |`,
    );
  }
}
