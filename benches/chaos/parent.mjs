// A process with an isolated transcriber, started and killed by orphans.mjs.
//
//     node benches/chaos/parent.mjs FOLDER serve      works until it is killed
//     node benches/chaos/parent.mjs FOLDER finish     some jobs, after which it must end by itself
//
// Prints a line of JSON for each thing that happens.

import { IsolatedTranscriber } from 'opuscribe/isolated';
import { packets, samples } from './cases.mjs';

const JOBS = 12;
const AT_ONCE = 4;
const [, , folder, mode, model] = process.argv;

const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const inputs = [
  ['transcribe', packets('jfk')],
  ['transcribePcm', samples('jfk')],
  ['transcribe', packets('libri_stew')],
];
const outcomes = {};
let begun = 0;
let settled = 0;

try {
  const transcriber = await IsolatedTranscriber.open({
    model,
    threads: 1,
    workers: mode === 'serve' ? 2 : 1,
    // A lack of memory does not pass here, so that it is no use to try for long.
    circuit: { maxCrashes: 4, cooldownMs: 60_000 },
    crashReports: { folder },
  });
  tell({ open: true });
  if (mode === 'serve') for (;;) await some(transcriber, AT_ONCE);
  for (let left = JOBS; left > 0; left -= AT_ONCE) await some(transcriber, AT_ONCE);
  await transcriber.close();
  tell({ begun, settled, outcomes });
} catch (error) {
  tell({ begun, settled, outcomes, failed: error.code ?? error.stack });
}

async function some(transcriber, count) {
  const jobs = Array.from({ length: count }, async () => {
    const [method, input] = inputs[begun % inputs.length];
    begun += 1;
    let outcome = 'transcript';
    try {
      await transcriber[method](input);
    } catch (error) {
      outcome = error.code ?? error.stack;
    }
    settled += 1;
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  });
  await Promise.all(jobs);
}
