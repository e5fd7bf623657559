// The recordings of a bench: what is said in them, and the files that the peers get.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, parse, resolve } from 'node:path';
import { fail, root, run } from '../../scripts/tools.mjs';
import { folder as benchFolder, venvPython } from './list.mjs';
import { choose, classOf } from './statistics.mjs';

const FIXTURES = join(root, '__test__', 'fixtures');
const WAV_HEADER_BYTES = 44;
const WAV_BYTES_PER_SECOND = 32_000;

/**
 * `speech` is a folder with a manifest.json, whose entries have `file`, `kind`, `language` and
 * `transcript`; without it the committed fixtures are taken, which are Opus packets.
 */
export function recordings({ model, speech, classes, limit }) {
  const from = speech === undefined ? FIXTURES : resolve(speech);
  const manifest = join(from, 'manifest.json');
  if (!existsSync(manifest)) fail(`${manifest} is not there`);
  const into = join(benchFolder, 'recordings', hash(from));
  const english = model.endsWith('.en');
  const suited = JSON.parse(readFileSync(manifest, 'utf8'))
    .map((entry) => described(entry, from, into))
    .filter(({ kind, language }) => kind !== 'speech' || language === 'en' || !english)
    // Some peers would have a model of English alone detect one where nobody speaks.
    .map((one) => (english ? { ...one, language: 'en' } : one))
    .filter(({ seconds }) => classes?.includes(classOf(seconds)) ?? true);
  const chosen = choose(suited, limit);
  if (chosen.length === 0) fail(`no recording is left for ${model}`);
  prepare(chosen, into);
  return chosen.map((one) => {
    // What was prepared is what counts.
    const seconds = (statSync(one.wav).size - WAV_HEADER_BYTES) / WAV_BYTES_PER_SECOND;
    return { ...one, seconds, class: classOf(seconds) };
  });
}

function described({ kind, language, transcript, ...entry }, from, into) {
  const file = entry.file ?? `${entry.name}.packets`;
  const { dir, name } = parse(file);
  const path = join(into, dir, name);
  return {
    ...{ name, kind, language, transcript },
    seconds: entry.seconds ?? entry.durationMs / 1000,
    source: join(from, file),
    wav: `${path}.wav`,
    packets: `${path}.packets`,
  };
}

/** Each folder of recordings has a place of its own. */
function hash(text) {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}

/** Once: later benches find the files there. */
function prepare(chosen, into) {
  if (!existsSync(venvPython)) fail('the recordings are prepared with PyAV: npm run bench:setup');
  mkdirSync(into, { recursive: true });
  const list = join(into, 'list.json');
  writeFileSync(
    list,
    JSON.stringify(chosen.map(({ source, wav, packets }) => ({ source, wav, packets }))),
  );
  run(venvPython, [join(import.meta.dirname, 'recordings.py'), list]);
}
