// opuscribe as the bench's other peers are: through its public API, from Opus packets or from the
// samples that they get.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { samples, serve } from './serve.mjs';

const { splitPackets, Transcriber } = createRequire(import.meta.url)('../..');
const { version } = createRequire(import.meta.url)('../../package.json');
const VARIANTS = {
  packets: { load: ({ packets }) => splitPackets(readFileSync(packets)), method: 'transcribe' },
  pcm: { load: samples, method: 'transcribePcm' },
  beam5: { load: samples, method: 'transcribePcm', options: { beamSize: 5 } },
};
let transcriber;
let variant;

await serve({
  async open({ ggml, threads, device, lanes, variant: name }) {
    variant = VARIANTS[name];
    // On the CPU unless a device is asked for: the others are.
    transcriber = await Transcriber.open({
      model: ggml,
      threads,
      device: device ?? 'cpu',
      maxQueue: 1024,
      ...(lanes && { lanes }),
    });
    return { versions: { opuscribe: version }, system: JSON.stringify(transcriber.info) };
  },
  /** What somebody waits for, one at a time, while so many others are in flight all the time. */
  async loaded({ recordings, interactive, inFlight, seconds }) {
    const inputs = recordings.map((recording) => [variant.load(recording), recording]);
    const run = ([input, { language }], priority) =>
      transcriber[variant.method](input, { language: language ?? 'auto', priority });
    let isOver = false;
    const flood = async (_, worker) => {
      for (let next = worker; !isOver; next += 1) await run(inputs[next % inputs.length], 'batch');
    };
    const all = Promise.all(Array.from({ length: inFlight }, flood));
    const input = [variant.load(interactive), interactive];
    const ms = [];
    for (const until = performance.now() + 1000 * seconds; performance.now() < until; ) {
      const began = performance.now();
      await run(input, 'interactive');
      ms.push(performance.now() - began);
    }
    isOver = true;
    await all;
    return { ms };
  },
  load: (recording) => variant.load(recording),
  async run(input, language) {
    const options = { language: language ?? 'auto', ...variant.options };
    const { text, timings } = await transcriber[variant.method](input, options);
    return { text, timings };
  },
});
