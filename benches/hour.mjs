// Peak memory and evenness of a long file: an hour of speech as chained Ogg, against a minute of it.
//
//     node benches/hour.mjs             each in a process of its own
//     node benches/hour.mjs SECONDS     one length, here; prints JSON
//
// Expects what setup brings.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { output, root } from '../scripts/tools.mjs';

/** Eleven seconds of speech; chained Ogg is one file behind the other. */
const RECORDING = join(root, '__test__', 'fixtures', 'media', 'whole.ogg');
const RECORDING_S = 11;

const seconds = Number(process.argv[2]);
if (seconds > 0) {
  console.log(JSON.stringify(await measure(seconds)));
} else {
  console.log('| length | peak memory | time | largest step of onProgress | segments |');
  console.log('| --- | --- | --- | --- | --- |');
  for (const length of [60, 3600]) {
    const one = JSON.parse(output(process.execPath, [import.meta.filename, String(length)]));
    console.log(
      `| ${length} s | ${one.peakMb} MB | ${one.tookS.toFixed(1)} s | ` +
        `${(one.largestStep * 100).toFixed(1)} % | ${one.segments} |`,
    );
  }
}

async function measure(length) {
  const folder = mkdtempSync(join(tmpdir(), 'opuscribe-'));
  const file = join(folder, 'long.ogg');
  const copies = Math.round(length / RECORDING_S);
  writeFileSync(file, Buffer.concat(new Array(copies).fill(readFileSync(RECORDING))));
  const { Transcriber } = createRequire(import.meta.url)(root);
  const transcriber = await Transcriber.open({ model: 'tiny.en' });
  let behind = 0;
  let largestStep = 0;
  const started = performance.now();
  const { segments, warnings } = await transcriber.transcribeFile(file, {
    onProgress: (share) => {
      largestStep = Math.max(largestStep, share - behind);
      behind = share;
    },
  });
  const tookS = (performance.now() - started) / 1000;
  await transcriber.close();
  rmSync(folder, { recursive: true });
  if (warnings) throw new Error(warnings.join());
  const peakMb = Math.round(process.resourceUsage().maxRSS / 1024);
  return { peakMb, tookS, largestStep, segments: segments.length };
}
