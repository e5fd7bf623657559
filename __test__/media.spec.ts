import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { type BaseTranscriber, OpuscribeError, OpusDemuxer } from 'opuscribe';
import { json, packets, recording, wav } from './fixtures';
import { describeEach } from './kinds';
import { wordErrorRate } from './wer';

const FOLDER = join(__dirname, 'fixtures');
const file = (name: string) => readFileSync(join(FOLDER, name));

interface Chromium {
  transcript: string;
  recordings: { file: string; durationMs: number; blobLengths?: number[] }[];
}
const chromium = json<Chromium>('chromium.json');
const jfk = recording('jfk').transcript;

/** A header as most programs write it, for 16-bit or float samples. */
function wavFile(samples: Int16Array | Float32Array, rate: number, channels = 1): Buffer {
  const width = samples.BYTES_PER_ELEMENT;
  const data = Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength);
  const head = Buffer.alloc(44);
  head.write('RIFF', 0);
  head.writeUInt32LE(36 + data.length, 4);
  head.write('WAVEfmt ', 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(width === 2 ? 1 : 3, 20);
  head.writeUInt16LE(channels, 22);
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(rate * channels * width, 28);
  head.writeUInt16LE(channels * width, 32);
  head.writeUInt16LE(8 * width, 34);
  head.write('data', 36);
  head.writeUInt32LE(data.length, 40);
  return Buffer.concat([head, data]);
}

/** Three times the rate, by a windowed sinc of 8 zero crossings: not the package's resampler. */
function upsampled(samples: Int16Array): Float32Array {
  const result = new Float32Array(samples.length * 3);
  for (let at = 0; at < result.length; at += 1) {
    const centre = at / 3;
    let sum = 0;
    for (let from = Math.ceil(centre - 8); from <= centre + 8; from += 1) {
      const x = Math.PI * (centre - from);
      const weight = x === 0 ? 1 : (Math.sin(x) / x) * Math.cos(x / 16) ** 2;
      sum += (samples[from] ?? 0) * weight;
    }
    result[at] = sum / 32768;
  }
  return result;
}

function coded(code: string, message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof OpuscribeError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  };
}

describeEach('files', (kind) => {
  let transcriber: BaseTranscriber;
  before(async () => {
    transcriber = await kind.open({ model: 'tiny.en' });
  });
  after(() => transcriber.close());

  /** Word error rate in percent against what was said. */
  async function errors(source: string | URL | Uint8Array, said: string): Promise<number> {
    const { text, warnings } = await transcriber.transcribeFile(source);
    assert.equal(warnings, undefined);
    return wordErrorRate([{ said, heard: text }]);
  }

  for (const { file: name, durationMs } of chromium.recordings) {
    if (name.endsWith('.packets')) continue;
    it(`reads ${name}, as Chromium wrote it`, async () => {
      const path = join(FOLDER, name);
      const { text, durationMs: found, warnings } = await transcriber.transcribeFile(path);
      assert.ok(wordErrorRate([{ said: chromium.transcript, heard: text }]) <= 5, text);
      assert.equal(warnings, undefined);
      // MP4 trims what its header calls pre-skip, 80 ms.
      assert.ok(Math.abs(found - durationMs) <= 100, `${found}`);
    });
  }

  for (const { file: name } of chromium.recordings) {
    if (!name.endsWith('.packets')) continue;
    it(`hears ${name}, as WebCodecs made them`, async () => {
      const list = packets(name.replace('.packets', ''));
      const { text, packets: counts } = await transcriber.transcribe(list);
      assert.ok(wordErrorRate([{ said: chromium.transcript, heard: text }]) <= 5, text);
      assert.deepEqual([counts?.lost, counts?.corrupt], [0, 0]);
    });
  }

  for (const name of ['whole.ogg', 'whole.mp3', 'whole.m4a']) {
    it(`reads ${name} by path and by its bytes`, async () => {
      assert.ok((await errors(join(FOLDER, 'media', name), jfk)) <= 5);
      assert.ok((await errors(file(`media/${name}`), jfk)) <= 5);
    });
  }

  it('reads FLAC', async () => {
    const said = recording('libri_waiting').transcript;
    assert.ok((await errors(join(FOLDER, 'media', 'libri_waiting.flac'), said)) <= 12);
  });

  it('gives the same text for a 48 kHz and a 16 kHz copy of a recording', async () => {
    const low = wav('jfk');
    const high = upsampled(low);
    const stereo = new Float32Array(high.length * 2);
    for (let at = 0; at < high.length; at += 1) {
      stereo[2 * at] = stereo[2 * at + 1] = high[at] as number;
    }
    const { text } = await transcriber.transcribeFile(wavFile(low, 16_000));
    assert.ok(wordErrorRate([{ said: jfk, heard: text }]) <= 5, text);
    assert.equal((await transcriber.transcribeFile(wavFile(high, 48_000))).text, text);
    assert.equal((await transcriber.transcribeFile(wavFile(stereo, 48_000, 2))).text, text);
    assert.equal((await transcriber.transcribePcm(high, { sampleRate: 48_000 })).text, text);
  });

  it('takes a file URL', async () => {
    assert.ok((await errors(pathToFileURL(join(FOLDER, 'jfk.wav')), jfk)) <= 5);
  });

  it('a file by its bytes may be reused at once', async () => {
    const bytes = wavFile(wav('jfk'), 16_000);
    const promise = transcriber.transcribeFile(bytes);
    bytes.fill(0);
    assert.ok(wordErrorRate([{ said: jfk, heard: (await promise).text }]) <= 5);
  });

  it('says that a later blob of MediaRecorder needs the first', async () => {
    const slices = chromium.recordings.find((made) => (made.blobLengths?.length ?? 0) > 3);
    assert.ok(slices?.blobLengths);
    const bytes = file(slices.file);
    let at = 0;
    for (const length of slices.blobLengths) {
      if (at > 0) {
        await assert.rejects(
          transcriber.transcribeFile(bytes.subarray(at, at + length)),
          coded('ERR_UNSUPPORTED_MEDIA', /concatenate/i),
        );
      }
      at += length;
    }
  });

  it('a truncated file gives what is there and says what is not', async () => {
    const bytes = file('chromium_mediarecorder.webm');
    const half = await transcriber.transcribeFile(bytes.subarray(0, bytes.length / 2));
    assert.match(half.text, /my fellow Americans/);
    assert.match(half.warnings?.join() ?? '', /./);
    const ogg = file('media/whole.ogg');
    const cut = await transcriber.transcribeFile(ogg.subarray(0, ogg.length - 3000));
    assert.match(cut.warnings?.join() ?? '', /./);
    const { length } = file('media/whole.mp3');
    const mp3 = file('media/whole.mp3').subarray(0, length - 9000);
    assert.match((await transcriber.transcribeFile(mp3)).warnings?.join() ?? '', /./);
    const pcm = wavFile(wav('jfk'), 16_000);
    const short = await transcriber.transcribeFile(pcm.subarray(0, pcm.length - 64_000));
    assert.match(short.warnings?.join() ?? '', /./);
    assert.equal(short.durationMs, 9000);
    await assert.rejects(
      transcriber.transcribeFile(bytes.subarray(0, 200)),
      coded('ERR_UNSUPPORTED_MEDIA', /./),
    );
  });

  it('names what was found and what is supported', async () => {
    const refused: [string | Uint8Array, RegExp][] = [
      [file('media/vorbis.ogg'), /Vorbis/],
      [file('media/video_only.webm'), /video|VP/i],
      [file('media/speech.amr'), /AMR.*supported/s],
      [file('media/speech.wma'), /(ASF|WMA|Windows Media).*supported/s],
      [file('media/surround.ogg'), /channels|streams|surround/i],
      [Buffer.from('<!doctype html>'), /HTML.*supported/s],
      [Buffer.from('{"error": 404}'), /JSON.*supported/s],
      [new Uint8Array(0), /empty/],
      [new Uint8Array(5000), /zero/i],
      [file('jfk.packets'), /supported/],
    ];
    for (const [source, message] of refused) {
      await assert.rejects(
        transcriber.transcribeFile(source),
        coded('ERR_UNSUPPORTED_MEDIA', message),
      );
    }
  });

  it('refuses a path that is no file, and a source that is neither path nor bytes', async () => {
    for (const path of ['/nowhere/at/all.wav', FOLDER]) {
      await assert.rejects(
        transcriber.transcribeFile(path),
        coded('ERR_INVALID_ARGUMENT', /fixtures|nowhere/),
      );
    }
    for (const source of [undefined, null, 7, new Float32Array(9), ['a'], new URL('http://x/')]) {
      await assert.rejects(
        transcriber.transcribeFile(source as never),
        coded('ERR_INVALID_ARGUMENT', /a path, a file URL or a Uint8Array/),
      );
    }
  });

  it('a long file moves evenly, gives its segments as it goes, and can be given up', async () => {
    const moses = wav('libri_moses');
    const long = new Int16Array(moses.length * 6);
    for (let copy = 0; copy < 6; copy += 1) long.set(moses, copy * moses.length);
    const bytes = wavFile(long, 16_000);
    const progress: number[] = [];
    const starts: number[] = [];
    let seenAtFirstSegment = Number.NaN;
    const { segments, durationMs } = await transcriber.transcribeFile(bytes, {
      onProgress: (share) => progress.push(share),
      onSegment: ({ startMs }) => {
        if (starts.length === 0) seenAtFirstSegment = progress.at(-1) ?? 0;
        starts.push(startMs);
      },
    });
    assert.equal(durationMs, (long.length / 16_000) * 1000);
    assert.deepEqual(
      starts,
      segments.map(({ startMs }) => startMs),
    );
    assert.ok(seenAtFirstSegment < 0.15);
    assert.equal(progress.at(-1), 1);
    const steps = progress.map((share, index) => share - (progress[index - 1] ?? 0));
    assert.ok(progress.length > 10 && Math.max(...steps) < 0.15, progress.join());
    assert.ok(Math.min(...steps) >= 0);

    const controller = new AbortController();
    await assert.rejects(
      transcriber.transcribeFile(bytes, {
        signal: controller.signal,
        onSegment: () => controller.abort(),
      }),
      { name: 'AbortError' },
    );
  });

  it('longer input than allowed is refused, and the limit can be raised', async () => {
    const bytes = wavFile(wav('jfk'), 16_000);
    await assert.rejects(
      transcriber.transcribeFile(bytes, { maxDurationMs: 5000 }),
      coded('ERR_INVALID_ARGUMENT', /maxDurationMs/),
    );
    await assert.rejects(
      transcriber.transcribe(packets('jfk'), { maxDurationMs: 5000 }),
      coded('ERR_INVALID_ARGUMENT', /before packet 250.*maxDurationMs/),
    );
    const packet = packets('jfk')[0] as Buffer;
    const fiveHours = new Array<Uint8Array | null>(5 * 3600 * 50).fill(null);
    fiveHours[0] = packet;
    await assert.rejects(transcriber.transcribe(fiveHours), coded('ERR_INVALID_ARGUMENT', /14400/));
    // Taken in, and given up: five hours of silence take the detector a while.
    await assert.rejects(
      transcriber.transcribe(fiveHours, { maxDurationMs: 6 * 3_600_000, timeoutMs: 500 }),
      coded('ERR_TIMEOUT', /./),
    );
    await assert.rejects(
      transcriber.transcribe([packet], { maxDurationMs: 0 }),
      coded('ERR_INVALID_ARGUMENT', /maxDurationMs is 0/),
    );
  });

  describe('OpusDemuxer', () => {
    /** Demuxes bytes that come in pieces of a size. */
    async function demuxed(bytes: Uint8Array, size: number) {
      const demuxer = new OpusDemuxer();
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
        bytes.subarray(index * size, (index + 1) * size),
      );
      Readable.from(pieces).pipe(demuxer);
      const list: Uint8Array[] = [];
      for await (const packet of demuxer) list.push(packet);
      return { list, warnings: demuxer.warnings };
    }

    for (const name of ['chromium_timeslice.webm', 'chromium_stereo.webm', 'media/whole.ogg']) {
      it(`gives the packets of ${name}, however its bytes come`, async () => {
        const bytes = file(name);
        const { list, warnings } = await demuxed(bytes, 60_000);
        assert.deepEqual(warnings, []);
        for (const size of [97, 1024]) assert.deepEqual((await demuxed(bytes, size)).list, list);
        const { text, packets: counts } = await transcriber.transcribe(list);
        assert.ok(wordErrorRate([{ said: jfk, heard: text }]) <= 5, text);
        assert.deepEqual([counts?.lost, counts?.corrupt], [0, 0]);
      });
    }

    it('gives each packet as soon as its bytes are there', async () => {
      const bytes = file('chromium_timeslice.webm');
      const demuxer = new OpusDemuxer();
      demuxer.write(bytes.subarray(0, 8000));
      const [packet] = await once(demuxer, 'data');
      assert.ok(packet instanceof Uint8Array && packet.length > 0);
      demuxer.destroy();
    });

    it('a lost page is a gap of empty packets in its place', async () => {
      const bytes = file('media/whole.ogg');
      const pages: Buffer[] = [];
      for (let at = 0; at < bytes.length; ) {
        const next = bytes.indexOf('OggS', at + 4);
        pages.push(bytes.subarray(at, next < 0 ? bytes.length : next));
        at = next < 0 ? bytes.length : next;
      }
      assert.ok(pages.length > 5);
      const whole = await demuxed(bytes, 5000);
      pages.splice(4, 1);
      const { list, warnings } = await demuxed(Buffer.concat(pages), 5000);
      assert.equal(list.length, whole.list.length);
      const lost = list.filter((packet) => packet.length === 0).length;
      assert.ok(lost > 10 && warnings.length > 0);
      const { packets: counts, durationMs } = await transcriber.transcribe(list);
      assert.equal(counts?.lost, lost);
      assert.equal(durationMs, (await transcriber.transcribe(whole.list)).durationMs);
    });

    it('ends with a coded error for what is no such stream, and can be destroyed at any time', async () => {
      await assert.rejects(demuxed(file('jfk.wav'), 1000), coded('ERR_UNSUPPORTED_MEDIA', /WAV/));
      await assert.rejects(demuxed(Buffer.alloc(9000), 100), coded('ERR_UNSUPPORTED_MEDIA', /./));
      const blob = file('chromium_timeslice.webm').subarray(9000);
      await assert.rejects(
        demuxed(blob, 500),
        coded('ERR_UNSUPPORTED_MEDIA', /concatenate|first/i),
      );
      await assert.rejects(demuxed(new Uint8Array(0), 1), coded('ERR_UNSUPPORTED_MEDIA', /empty/));
      const destroyed = new OpusDemuxer();
      destroyed.write(file('chromium_timeslice.webm'));
      destroyed.destroy();
      await once(destroyed, 'close');
    });
  });
});
