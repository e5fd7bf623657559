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
  async open(options) {
    variant = VARIANTS[options.variant];
    transcriber = await Transcriber.open({ model: options.ggml, threads: options.threads });
    return { versions: { opuscribe: version }, system: JSON.stringify(transcriber.info) };
  },
  load: (recording) => variant.load(recording),
  async run(input, language) {
    const options = { language: language ?? 'auto', ...variant.options };
    const { text, timings } = await transcriber[variant.method](input, options);
    return { text, timings };
  },
});
