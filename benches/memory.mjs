// Resident memory after many jobs, and what each job more that is under way adds.
//
//     node benches/memory.mjs [--model tiny.en] [--jobs 1000]

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../scripts/tools.mjs';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'tiny.en' },
    jobs: { type: 'string', default: '1000' },
  },
});
const { splitPackets, Transcriber } = createRequire(import.meta.url)(root);
const packets = (name) =>
  splitPackets(readFileSync(join(root, '__test__', 'fixtures', `${name}.packets`)));
const short = packets('libri_waiting').slice(0, 150);
const minute = packets('libri_moses').slice(0, 3000);
const megabytes = () => (process.memoryUsage.rss() / 1e6).toFixed(0);

const before = megabytes();
const opened = performance.now();
const transcriber = await Transcriber.open({ model: values.model, maxQueue: 64 });
const openMs = performance.now() - opened;
const first = performance.now();
await transcriber.transcribe(short);
console.log(
  `${values.model}: open ${openMs.toFixed(0)} ms, first job of 3 s ${(performance.now() - first).toFixed(0)} ms`,
);
const second = performance.now();
await transcriber.transcribe(short);
console.log(`second job ${(performance.now() - second).toFixed(0)} ms`);
console.log(`resident: ${before} MB before, ${megabytes()} MB after two jobs`);
for (let job = 2; job < Number(values.jobs); job += 1) {
  await transcriber.transcribe(job % 50 === 0 ? minute : short);
  if ([10, 100, 500].includes(job)) console.log(`${megabytes()} MB after ${job} jobs`);
}
console.log(`${megabytes()} MB after ${values.jobs} jobs`);
for (const count of [1, 16, 64]) {
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss());
  }, 20);
  await Promise.all(Array.from({ length: count }, () => transcriber.transcribe(short)));
  clearInterval(watch);
  console.log(`${(most / 1e6).toFixed(0)} MB with ${count} jobs of 3 s under way`);
}
await transcriber.close();
