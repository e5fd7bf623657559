// Records the committed Chromium fixtures in __test__/fixtures. Run once, by hand:
//
//   apt-get install chromium
//   node scripts/record_chromium.mjs [--speech FILE.wav] [--browser PATH] [--out DIR]
//
// FILE is 16-bit mono PCM; its entry in manifest.json, found by its name, gives the transcript.
// Nothing but Node.js and Chromium is needed: the browser is driven through its DevTools pipe, and
// plays FILE as its microphone. It takes about two minutes of real time and wants an idle machine,
// because a browser that gets no CPU drops audio. What is written:
//
// - chromium_*.webm, .mp4: what MediaRecorder gives, its blobs joined, whose lengths chromium.json
//   has. A blob can end inside an element: Chromium cuts where it likes.
// - chromium_webcodecs_*.packets: what AudioEncoder gives, in the format of make_fixtures.py: each
//   packet behind its length as uint16 little-endian.
// - chromium.json: how each file was made, by which browser, and what it contains.

import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { startBrowser } from './chromium.mjs';
import { fail, root } from './tools.mjs';

const FIXTURES = join(root, '__test__', 'fixtures');
/** The microphone is silent this long before and after the speech. */
const LEAD_MS = 500;
/** A quiet moment of jfk.wav, for the recording that pauses. */
const PAUSE_AT_MS = 5000;
const PAUSE_MS = 2000;
const MICROPHONE = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** What is recorded from the microphone, in real time. */
const RECORDINGS = [
  { name: 'mediarecorder.webm', type: 'audio/webm;codecs=opus' },
  { name: 'timeslice.webm', type: 'audio/webm;codecs=opus', timesliceMs: 1000 },
  { name: 'stereo.webm', type: 'audio/webm;codecs=opus', stereo: true },
  {
    name: 'paused.webm',
    type: 'audio/webm;codecs=opus',
    pauseAtMs: PAUSE_AT_MS,
    pauseMs: PAUSE_MS,
  },
  { name: 'video.webm', type: 'video/webm;codecs=vp8,opus', video: true, bitrate: 16_000 },
  { name: 'mediarecorder.mp4', type: 'audio/mp4;codecs=opus', bitrate: 16_000 },
].map((recording) => ({ bitrate: 24_000, ...recording }));

/**
 * What is encoded from samples, as fast as it goes. Keys of `opus` are those of OpusEncoderConfig,
 * with the frame duration in microseconds.
 */
const ENCODINGS = [
  { name: 'webcodecs_10ms.packets', opus: { frameDuration: 10_000 } },
  { name: 'webcodecs_20ms.packets', opus: { frameDuration: 20_000, application: 'voip' } },
  {
    name: 'webcodecs_40ms.packets',
    opus: { frameDuration: 40_000, application: 'voip', useinbandfec: true, packetlossperc: 20 },
  },
  { name: 'webcodecs_60ms.packets', opus: { frameDuration: 60_000, application: 'voip' } },
  {
    name: 'webcodecs_dtx.packets',
    bitrate: 16_000,
    opus: { frameDuration: 20_000, application: 'voip', usedtx: true },
    silenceAtMs: PAUSE_AT_MS,
    silenceMs: PAUSE_MS,
  },
].map((encoding) => ({ bitrate: 24_000, ...encoding }));

const { values: options } = parseArgs({
  options: {
    speech: { type: 'string', default: join(FIXTURES, 'jfk.wav') },
    browser: { type: 'string', default: 'chromium' },
    out: { type: 'string', default: FIXTURES },
  },
});

const speechName = basename(options.speech, '.wav');
const manifest = JSON.parse(readFileSync(join(FIXTURES, 'manifest.json'), 'utf8'));
const source = manifest.find((entry) => entry.name === speechName);
if (source === undefined) fail(`${speechName} is not in manifest.json`);

const work = mkdtempSync(join(tmpdir(), 'chromium-'));
const wav = readFileSync(options.speech);
const microphone = join(work, 'microphone.wav');
writeFileSync(microphone, withSilence(wav, LEAD_MS));
// Only localhost counts as secure without a certificate, and getUserMedia needs that.
const server = createServer((request, response) => {
  if (request.url === '/speech.wav') response.end(wav);
  else
    response.setHeader('content-type', 'text/html').end('<!doctype html><title>recorder</title>');
});
await once(server.listen(0, '127.0.0.1'), 'listening');

const browser = await startBrowser(options.browser, microphone, join(work, 'profile'));
try {
  const { product } = await browser.send('Browser.getVersion');
  const page = await browser.open(`http://localhost:${server.address().port}/`);
  const recordings = [];
  const speechMs = (wav.length - dataStart(wav)) / 2 / (wav.readUInt32LE(24) / 1000);
  const always = { microphone: MICROPHONE, speechMs, leadMs: LEAD_MS };
  for (const { name, ...how } of RECORDINGS) {
    const { blobs, ...facts } = await page.call(recordInPage, { ...always, ...how });
    const bytes = blobs.map((blob) => Buffer.from(blob, 'base64'));
    const blobLengths = bytes.map((blob) => blob.length);
    save(name, Buffer.concat(bytes), { api: 'MediaRecorder', ...how, ...facts, blobLengths });
  }
  for (const { name, ...how } of ENCODINGS) {
    const { packets, ...facts } = await page.call(encodeInPage, how);
    const bytes = packets.flatMap((packet) => {
      const body = Buffer.from(packet, 'base64');
      const length = Buffer.alloc(2);
      length.writeUInt16LE(body.length);
      return [length, body];
    });
    save(name, Buffer.concat(bytes), { api: 'AudioEncoder', ...how, ...facts });
  }
  const { transcript, language, source: from, licence } = source;
  writeFileSync(
    join(options.out, 'chromium.json'),
    `${JSON.stringify(
      {
        browser: product,
        speech: speechName,
        language,
        transcript,
        source: from,
        licence,
        leadMs: LEAD_MS,
        recordings,
      },
      undefined,
      1,
    )}\n`,
  );

  function save(name, bytes, entry) {
    const file = `chromium_${name}`;
    writeFileSync(join(options.out, file), bytes);
    recordings.push({ file, bytes: bytes.length, ...entry });
    console.log(`${file}: ${bytes.length} bytes, ${entry.durationMs} ms`);
  }
} finally {
  await browser.close();
  server.close();
  rmSync(work, { recursive: true, force: true, maxRetries: 5 });
}

/** Runs in the page: records the microphone once, from before the speech until after it. */
async function recordInPage(how) {
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  const context = new AudioContext({ sampleRate: 48_000 });
  let microphone;
  let stream;
  if (how.pauseAtMs !== undefined) {
    // The speech must wait while the recorder pauses, so it comes from a node instead.
    const answer = await fetch('/speech.wav');
    const speech = await context.decodeAudioData(await answer.arrayBuffer());
    const destination = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    // A destination without any running source gives no audio, not even silence.
    const silence = new ConstantSourceNode(context, { offset: 0 });
    silence.connect(destination);
    silence.start();
    stream = destination.stream;
    microphone = (fromMs, ms) => {
      const node = new AudioBufferSourceNode(context, { buffer: speech });
      node.connect(destination);
      node.start(0, fromMs / 1000, ms / 1000);
      return sleep(ms);
    };
  } else {
    stream = await navigator.mediaDevices.getUserMedia({ audio: how.microphone });
  }
  let recorded = stream;
  if (how.stereo) {
    const panner = new StereoPannerNode(context, { pan: -0.6 });
    const destination = new MediaStreamAudioDestinationNode(context, { channelCount: 2 });
    context.createMediaStreamSource(stream).connect(panner).connect(destination);
    recorded = destination.stream;
  }
  if (how.video) {
    const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 64 });
    const picture = canvas.getContext('2d');
    setInterval(() => picture.fillText(new Date().getSeconds(), 10, 30), 500);
    recorded = new MediaStream([...stream.getTracks(), ...canvas.captureStream(2).getTracks()]);
  }
  if (!MediaRecorder.isTypeSupported(how.type)) throw new Error(`no ${how.type} here`);
  const recorder = new MediaRecorder(recorded, {
    mimeType: how.type,
    audioBitsPerSecond: how.bitrate,
    videoBitsPerSecond: 4000,
  });
  const blobs = [];
  recorder.ondataavailable = (event) => blobs.push(event.data);
  const stopped = new Promise((done) => {
    recorder.onstop = done;
  });
  recorder.start(how.timesliceMs);
  if (microphone === undefined) {
    await sleep(how.leadMs + how.speechMs + how.leadMs);
  } else {
    await sleep(how.leadMs);
    await microphone(0, how.pauseAtMs);
    recorder.pause();
    await sleep(how.pauseMs);
    recorder.resume();
    await microphone(how.pauseAtMs, how.speechMs - how.pauseAtMs);
    await sleep(how.leadMs);
  }
  recorder.stop();
  await stopped;
  for (const track of stream.getTracks()) track.stop();
  // By the browser's own decoder: counted samples, less those the container says to skip.
  const whole = await new Blob(blobs).arrayBuffer();
  const audio = await context.decodeAudioData(whole);
  await context.close();
  return {
    mimeType: recorder.mimeType,
    channels: audio.numberOfChannels,
    durationMs: Math.round(audio.duration * 1000),
    blobs: await Promise.all(blobs.map(base64)),
  };

  async function base64(blob) {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
  }
}

/** Runs in the page: encodes the speech, with silence put into it where `how` says so. */
async function encodeInPage(how) {
  const rate = 48_000;
  const answer = await fetch('/speech.wav');
  const decoder = new OfflineAudioContext(1, 1, rate);
  const speech = await decoder.decodeAudioData(await answer.arrayBuffer());
  const samples = speech.getChannelData(0);
  const cut = how.silenceAtMs === undefined ? samples.length : (how.silenceAtMs * rate) / 1000;
  const gap = how.silenceMs === undefined ? 0 : (how.silenceMs * rate) / 1000;
  const pcm = new Float32Array(samples.length + gap);
  pcm.set(samples.subarray(0, cut));
  pcm.set(samples.subarray(cut), cut + gap);

  const chunks = [];
  let failure;
  const encoder = new AudioEncoder({
    output: (chunk) => chunks.push(chunk),
    error: (error) => {
      failure = error;
    },
  });
  const opus = { format: 'opus', ...how.opus };
  encoder.configure({
    codec: 'opus',
    sampleRate: rate,
    numberOfChannels: 1,
    bitrate: how.bitrate,
    opus,
  });
  const step = rate / 100;
  for (let at = 0; at < pcm.length; at += step) {
    const data = pcm.slice(at, at + step);
    const audio = new AudioData({
      format: 'f32-planar',
      sampleRate: rate,
      numberOfFrames: data.length,
      numberOfChannels: 1,
      timestamp: (at / rate) * 1e6,
      data,
    });
    encoder.encode(audio);
    audio.close();
  }
  await encoder.flush();
  if (failure) throw failure;
  const last = chunks.at(-1);
  return {
    // With DTX these differ: Chromium drops what need not be sent, and counts only what it gives.
    inputMs: Math.round((pcm.length / rate) * 1000),
    durationMs: Math.round((last.timestamp + last.duration) / 1000),
    packets: chunks.map((chunk) => {
      const bytes = new Uint8Array(chunk.byteLength);
      chunk.copyTo(bytes);
      return btoa(String.fromCharCode(...bytes));
    }),
  };
}

/** The same WAV file with silence around its samples. */
function withSilence(file, ms) {
  const start = dataStart(file);
  const silence = Buffer.alloc(((file.readUInt32LE(24) * ms) / 1000) * 2);
  const header = Buffer.from(file.subarray(0, start));
  const samples = file.subarray(start);
  header.writeUInt32LE(start - 8 + silence.length * 2 + samples.length, 4);
  header.writeUInt32LE(silence.length * 2 + samples.length, start - 4);
  return Buffer.concat([header, silence, samples, silence]);
}

/** Where the samples begin in a WAV file whose last chunk is `data`. */
function dataStart(file) {
  const [format, channels, bits] = [20, 22, 34].map((at) => file.readUInt16LE(at));
  const start = file.indexOf('data') + 8;
  if (format !== 1 || channels !== 1 || bits !== 16 || start < 44) {
    fail('the speech must be 16-bit mono PCM in a WAV file');
  }
  return start;
}
