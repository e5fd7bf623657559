// Transcribes a committed recording of real Opus speech and shows what the transcript holds.
//
//     npm run demo                    the committed recording
//     npm run demo -- FILE [MODEL]    Ogg, WebM, WAV, FLAC, MP3, M4A; or .packets, each behind its
//                                     length as uint16 little-endian

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { root } from './tools.mjs';

const { splitPackets, Transcriber } = createRequire(import.meta.url)(root);
const [file = join(root, '__test__', 'fixtures', 'jfk.packets'), model = 'tiny.en'] =
  process.argv.slice(2);

const transcriber = await Transcriber.open({ model });
const transcript = file.endsWith('.packets')
  ? await transcriber.transcribe(splitPackets(readFileSync(file)))
  : await transcriber.transcribeFile(file);
const { timings, packets } = transcript;
const ms = (value) => `${value.toFixed(0)} ms`;
const seconds = (value) => (value / 1000).toFixed(2).padStart(7);

const opus = packets ? `${packets.received} Opus packets, ` : '';
console.log(`\n${basename(file)}: ${opus}${ms(transcript.durationMs)}`);
console.log(`\n  ${transcript.text || `(${transcript.emptyReason})`}\n`);
console.log('segments, in seconds');
for (const { startMs, endMs, text, avgLogProb } of transcript.segments) {
  console.log(
    `${seconds(startMs)} –${seconds(endMs)}  ${text}  (log probability ${avgLogProb.toFixed(2)})`,
  );
}
console.log(`\nspeech found by the VAD, ${ms(transcript.speechDurationMs)} in all`);
for (const { startMs, endMs } of transcript.speech)
  console.log(`${seconds(startMs)} –${seconds(endMs)}`);
console.log(
  `\ntime: decode ${ms(timings.decodeMs)}, VAD ${ms(timings.vadMs)}, inference ` +
    `${ms(timings.inferenceMs)}, total ${ms(timings.totalMs)}, ` +
    `${(1 / timings.realTimeFactor).toFixed(1)} times as fast as real time`,
);
const { device, threads, model: path, versions } = transcriber.info;
console.log(`device: ${device}, ${threads} threads`);
console.log(`model: ${path}`);
console.log(`versions: whisper.cpp ${versions.whisper}, ${versions.opus}`);
await transcriber.close();
