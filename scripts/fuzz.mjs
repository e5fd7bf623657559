// Fuzzes what reads foreign bytes. Needs a nightly Rust and cargo-fuzz; not part of the tests.
//
//     node scripts/fuzz.mjs                     every target, 30 minutes each
//     node scripts/fuzz.mjs webm --seconds 60   one target, a minute

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cargo, root } from './tools.mjs';

/** What each target starts from, by the ends of the fixtures' names. */
const SEEDS = {
  packets: ['.packets'],
  framing: ['.packets'],
  ogg: ['.ogg'],
  webm: ['.webm', '.mkv'],
  files: ['.wav', '.flac', '.mp3', '.m4a', '.mp4', '.aac'],
  pcm: ['.wav'],
};
/** More than any of it needs, far less than a header can claim. */
const MEMORY_MB = 512;
const SEED_BYTES = 24_000;
/** What AddressSanitizer keeps of freed memory counts too, and is 256 MB unless told. */
process.env.ASAN_OPTIONS ??= 'quarantine_size_mb=64';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '1800' } },
});

for (const target of positionals.length > 0 ? positionals : Object.keys(SEEDS)) {
  const corpus = join(root, 'fuzz', 'corpus', target);
  plantSeeds(target, corpus);
  cargo([
    '+nightly',
    'fuzz',
    'run',
    target,
    corpus,
    '--',
    `-max_total_time=${values.seconds}`,
    `-rss_limit_mb=${MEMORY_MB}`,
    '-timeout=10',
    `-max_len=${SEED_BYTES}`,
    '-print_final_stats=1',
  ]);
}

/** The real fixtures, cut to a size that is quick to change. */
function plantSeeds(target, corpus) {
  mkdirSync(corpus, { recursive: true });
  const fixtures = join(root, '__test__', 'fixtures');
  for (const folder of [fixtures, join(fixtures, 'media')]) {
    for (const name of readdirSync(folder)) {
      if (!SEEDS[target].some((end) => name.endsWith(end))) continue;
      const bytes = readFileSync(join(folder, name)).subarray(0, SEED_BYTES);
      // The framing target reads its framing from the first byte, here: nothing but lengths.
      const seed = target === 'framing' ? Buffer.concat([Buffer.from([16]), bytes]) : bytes;
      writeFileSync(join(corpus, name), seed);
    }
  }
}
