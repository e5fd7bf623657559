// What the jobs transcribe: the committed recordings, as they are, lost in part, joined, and silence.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { splitPackets } from 'opuscribe';
import { root } from '../../scripts/tools.mjs';
import { essence, essenceOfError } from '../soak/judge.mjs';

export const FIXTURES = join(root, '__test__', 'fixtures');
const WAV_HEADER_BYTES = 44;
const RATE_HZ = 16_000;
const PAUSE_S = 3;
/** Must be in no crash report, as the text of no transcript. */
export const PROMPT = 'Moses, Ephraim and Manasseh went down to the river; my fellow Americans.';

export function packets(name) {
  return splitPackets(readFileSync(join(FIXTURES, `${name}.packets`)));
}

export function samples(name) {
  const bytes = new Uint8Array(readFileSync(join(FIXTURES, `${name}.wav`)));
  return new Int16Array(bytes.slice(WAV_HEADER_BYTES).buffer);
}

export function floats(name) {
  return Float32Array.from(samples(name), (one) => one / 32_768);
}

/**
 * Of each case `method` names the transcriber's method, which takes `input` and `options`. For a slow
 * machine one of the long ones does.
 */
export function makeCases(isShort) {
  const fixture = (name) => join(FIXTURES, name);
  const every = (list, nth) => list.map((one, index) => (index % nth === nth - 1 ? null : one));
  const jfk = packets('jfk');
  const moses = floats('libri_moses');
  const short = [
    ['jfk', 'transcribe', jfk],
    ['lj050', 'transcribe', packets('lj050')],
    ['libri_stew', 'transcribe', packets('libri_stew')],
    ['libri_stew, every 7th packet lost', 'transcribe', every(packets('libri_stew'), 7)],
    ['libri_waiting, with words', 'transcribe', packets('libri_waiting'), { wordTimestamps: true }],
    ['mediarecorder', 'transcribe', packets('mediarecorder')],
    ['chromium_webcodecs_60ms', 'transcribe', packets('chromium_webcodecs_60ms')],
    ['jfk, a prompt', 'transcribe', jfk, { initialPrompt: PROMPT }],
    ['jfk, a beam', 'transcribe', jfk, { beamSize: 2 }],
    ['no packets', 'transcribe', []],
    ['jfk as integers', 'transcribePcm', samples('jfk')],
    ['15 s of libri_moses', 'transcribePcm', moses.subarray(20 * RATE_HZ, 35 * RATE_HZ)],
    ['silence', 'transcribePcm', new Float32Array(5 * RATE_HZ)],
    ['wind', 'transcribe', packets('wind')],
    ['fireplace', 'transcribe', packets('fireplace')],
    ['a path, MP3', 'transcribeFile', fixture('media/whole.mp3')],
    ['a path, Ogg', 'transcribeFile', fixture('media/opus_20ms.ogg')],
    ['a path, WebM', 'transcribeFile', fixture('chromium_mediarecorder.webm')],
    ['bytes, FLAC', 'transcribeFile', readFileSync(fixture('media/libri_waiting.flac'))],
    ['bytes, WebM', 'transcribeFile', readFileSync(fixture('media/opus.webm'))],
    ['bytes, AAC', 'transcribeFile', readFileSync(fixture('media/aac.m4a'))],
    ['bytes, no media', 'transcribeFile', Buffer.from('Ask not what your country can do. ')],
  ];
  const all = ['jfk', 'lj050', 'libri_stew', 'libri_waiting', 'libri_moses'].flatMap(packets);
  const long = [
    ['libri_moses', 'transcribe', packets('libri_moses')],
    ['all of the English recordings', 'transcribe', all],
    ['40 s of libri_moses, three times', 'transcribePcm', repeated(moses)],
    ['a path, WAV of 40 s', 'transcribeFile', fixture('libri_moses.wav')],
    ['bytes, WAV of 40 s', 'transcribeFile', readFileSync(fixture('libri_moses.wav'))],
  ];
  const made =
    (isLong) =>
    ([label, method, input, options]) => ({
      label,
      method,
      input,
      options,
      isLong,
    });
  const some = isShort ? long.slice(0, 1) : long;
  return [...short.map(made(false)), ...some.map(made(true))];
}

/** Three times, with pauses, as floats. */
export function repeated(speech) {
  const stride = speech.length + PAUSE_S * RATE_HZ;
  const whole = new Float32Array(3 * stride);
  for (const time of [0, 1, 2]) whole.set(speech, time * stride);
  return whole;
}

/** Notes what each case comes to where nothing disturbs it. */
export async function hearAlone(cases, transcriber) {
  for (const test of cases) {
    try {
      const transcript = await transcriber[test.method](test.input, test.options);
      test.solo = essence(transcript);
      test.text = transcript.text;
    } catch (error) {
      // Anything else is no property of the input.
      if (error.code !== 'ERR_UNSUPPORTED_MEDIA') throw error;
      test.solo = essenceOfError(error);
    }
  }
}
