// What opening and closing leaves behind: resident memory, threads and open files after every so many
// cycles. One in four closes after a job, one in the middle of one, the others at once.
//
//     node benches/cycles.mjs                     2000 cycles
//     node benches/cycles.mjs --count 100
//
// Expects what setup brings. Threads and files are counted on Linux.

import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../scripts/tools.mjs';

const { splitPackets, Transcriber } = createRequire(import.meta.url)(root);
const { values } = parseArgs({ options: { count: { type: 'string', default: '2000' } } });
const COUNT = Number(values.count);
const ROWS = 8;

const fixture = join(root, '__test__', 'fixtures', 'libri_waiting.packets');
const packets = splitPackets(readFileSync(fixture)).slice(0, 60);
console.log('| cycles | resident | threads | open files |\n| --- | --- | --- | --- |');
for (let cycle = 1; cycle <= COUNT; cycle += 1) {
  const transcriber = await Transcriber.open({ model: 'tiny.en' });
  const job = cycle % 2 === 0 ? transcriber.transcribe(packets) : undefined;
  if (cycle % 4 === 0) await job;
  const [closed] = await Promise.allSettled([transcriber.close(), job]);
  if (closed.status === 'rejected') throw closed.reason;
  if (cycle % Math.ceil(COUNT / ROWS) === 0 || cycle === COUNT) console.log(row(cycle));
}

function row(cycle) {
  const count = (folder) =>
    process.platform === 'linux' ? readdirSync(`/proc/self/${folder}`).length : '';
  const mb = (process.memoryUsage.rss() / 2 ** 20).toFixed();
  return `| ${cycle} | ${mb} MB | ${count('task')} | ${count('fd')} |`;
}
