import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import {
  type BaseTranscriber,
  listDevices,
  OpuscribeError,
  type TranscribeOptions,
  transcribe,
} from 'opuscribe';
import { packets } from './fixtures';
import { describeEach } from './kinds';

type Options = TranscribeOptions & { sampleRate?: number; channels?: number };

/** What a JavaScript caller can pass, whatever the types say. */
// biome-ignore lint/suspicious/noExplicitAny: that is the point
type Anything = any;

function coded(code: string, message: RegExp, index?: number) {
  return (error: unknown): true => {
    assert.ok(error instanceof OpuscribeError, String(error));
    assert.equal(error.name, 'OpuscribeError');
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.equal(error.index, index);
    return true;
  };
}

describeEach('opening', (kind) => {
  let folder: string;
  let model: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'opuscribe-test-'));
    const transcriber = await kind.open({ model: 'tiny.en' });
    model = transcriber.info.model;
    await transcriber.close();
  });
  after(() => rmSync(folder, { recursive: true }));

  const damaged = (name: string, bytes: Buffer) => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };
  const open = (options: Anything) => kind.open(options);

  it('tells a model that is not there', async () => {
    await assert.rejects(
      open({ model: '/no/such.bin' }),
      coded('ERR_MODEL_NOT_FOUND', /\/no\/such\.bin/),
    );
    await assert.rejects(
      open({ model: 'no-such-model' }),
      coded('ERR_MODEL_NOT_FOUND', /OPUSCRIBE_MODELS/),
    );
    await assert.rejects(
      transcribe(packets('jfk'), { model: 'no-such-model' }),
      coded('ERR_MODEL_NOT_FOUND', /no-such-model/),
    );
  });

  it('tells a model that is damaged, before whisper.cpp sees it', async () => {
    const whole = readFileSync(model);
    const truncated = damaged('truncated.bin', whole.subarray(0, whole.length / 2));
    await assert.rejects(open({ model: truncated }), coded('ERR_MODEL_INVALID', /truncated/));
    const short = damaged('short.bin', whole);
    truncateSync(short, whole.length - 1);
    await assert.rejects(open({ model: short }), coded('ERR_MODEL_INVALID', /truncated/));
    const magic = damaged('magic.bin', Buffer.concat([Buffer.from('GGUF'), whole.subarray(4)]));
    await assert.rejects(open({ model: magic }), coded('ERR_MODEL_INVALID', /begins with/));
    const empty = damaged('empty.bin', Buffer.alloc(0));
    await assert.rejects(open({ model: empty }), coded('ERR_MODEL_INVALID', /truncated/));
    await assert.rejects(
      open({ model: `${folder}/` }),
      coded('ERR_MODEL_INVALID', /not a regular file/),
    );
  });

  it('tells a device that cannot be had', async () => {
    await assert.rejects(
      open({ model, device: 'gpu' }),
      coded('ERR_DEVICE_UNAVAILABLE', /no addon for a GPU is installed.*listDevices/),
    );
    await assert.rejects(
      open({ model, device: { backend: 'cuda' } }),
      coded('ERR_DEVICE_UNAVAILABLE', /cuda: its addon is not installed/),
    );
    assert.deepEqual(await listDevices(), []);
  });

  it('tells options of a wrong type or range', async () => {
    const cases: [Anything, RegExp][] = [
      [undefined, /options is undefined/],
      [{}, /model is undefined/],
      [{ model: 7 }, /model is a number/],
      [{ model, threads: 0 }, /threads is 0/],
      [{ model, threads: 1.5 }, /threads is 1.5; expected a whole number/],
      [{ model, threads: 'four' }, /threads/],
      [{ model, maxQueue: -1 }, /maxQueue is -1/],
      [{ model, device: 'tpu' }, /device is 'tpu'/],
      [{ model, device: { backend: 'abacus' } }, /device.backend is 'abacus'/],
      [{ model, device: 1 }, /device is a number/],
      [{ model, device: null }, /device is null/],
      [{ model, device: { backend: 'vulkan', name: '' } }, /device.name is empty/],
      [{ model, device: { backend: 'vulkan', index: -1 } }, /device.index is -1/],
      [{ model, device: { backend: 'vulkan', index: '0' } }, /device.index is a string/],
      [{ model, device: { backend: 'vulkan', name: 1 } }, /device.name is a number/],
      [{ model, lanes: 0 }, /lanes is 0/],
      [{ model, lanes: 65 }, /lanes is 65/],
      [{ model, lanes: 1.5 }, /lanes is 1.5; expected a whole number/],
      [{ model, vad: { threshold: 2 } }, /vad.threshold is 2/],
      [{ model, vad: { threshold: Number.NaN } }, /vad.threshold is NaN/],
      [{ model, vad: 'yes' }, /vad is a string/],
      [{ model, vad: false }, /vad is a boolean/],
      [{ model, onLog: 'console' }, /onLog is a string/],
    ];
    for (const [options, message] of cases) {
      await assert.rejects(
        open(options),
        coded('ERR_INVALID_ARGUMENT', message),
        JSON.stringify(options),
      );
    }
  });
});

describeEach('a transcriber', (kind) => {
  let transcriber: BaseTranscriber;
  before(async () => {
    transcriber = await kind.open({ model: 'tiny.en', maxQueue: 4 });
  });
  after(() => transcriber.close());

  const good = packets('libri_waiting');
  const opus = (input: Anything, options?: Options) => transcriber.transcribe(input, options);
  const pcm = (input: Anything, options?: Options) => transcriber.transcribePcm(input, options);

  /** After each refusal the same transcriber transcribes. */
  async function refused(call: Promise<unknown>, check: (error: unknown) => true): Promise<void> {
    await assert.rejects(call, check);
    const { text } = await transcriber.transcribe(good);
    assert.match(text, /For a full hour he had paced up and down/);
  }

  it('tells values that are no packets by their index', async () => {
    const cases: [Anything, RegExp, number?][] = [
      ['packets', /opusPackets is a string/],
      [new Uint8Array(10), /opusPackets is a Uint8Array; expected an array/],
      [[good[0], 'text'], /opusPackets\[1\] is a string/, 1],
      [[good[0], null, undefined], /opusPackets\[2\] is undefined/, 2],
      [[new Int16Array(4)], /opusPackets\[0\] is an Int16Array/, 0],
      [[good[0], new Uint8Array(70_000)], /opusPackets\[1\] has 70000 bytes/, 1],
    ];
    const detached = new Uint8Array(8);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    cases.push([[good[0], detached], /opusPackets\[1\] cannot be read.*detached/, 1]);
    cases.push([[Object.create(Uint8Array.prototype)], /opusPackets\[0\] is a Uint8Array/, 0]);
    for (const [input, message, index] of cases) {
      await refused(opus(input), coded('ERR_INVALID_ARGUMENT', message, index));
    }
  });

  it('tells input that cannot be Opus', async () => {
    const noOpus = [Uint8Array.of(0x0b), Uint8Array.of(0x0b, 0x00)];
    await refused(
      opus(noOpus),
      coded('ERR_INVALID_PACKET', /none of the 2 packets.*packet 0: a frame reaches past/, 0),
    );
    await refused(
      opus([null, Uint8Array.of(0x09, 1, 2, 3)]),
      coded('ERR_INVALID_PACKET', /packet 1/, 1),
    );
  });

  it('tells samples that are no numbers by their index', async () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const samples = new Float32Array(16_000);
      samples[1234] = bad;
      await refused(
        pcm(samples),
        coded('ERR_INVALID_ARGUMENT', /pcm\[1234\] is (NaN|-?inf)/, 1234),
      );
    }
    const integers = Float32Array.of(0, 12_000);
    await refused(pcm(integers), coded('ERR_INVALID_ARGUMENT', /divide them by 32768/, 1));
    await refused(pcm([0, 0]), coded('ERR_INVALID_ARGUMENT', /pcm is an Array/));
    await refused(pcm(new Float64Array(9)), coded('ERR_INVALID_ARGUMENT', /pcm is a Float64Array/));
    await refused(
      pcm(new Int16Array(9), { channels: 2 }),
      coded('ERR_INVALID_ARGUMENT', /9 samples.*2 interleaved channels/),
    );
    await refused(
      pcm(new Int16Array(9), { sampleRate: 0 }),
      coded('ERR_INVALID_ARGUMENT', /sampleRate is 0/),
    );
    await refused(
      pcm(new Int16Array(9), { channels: 99 }),
      coded('ERR_INVALID_ARGUMENT', /channels is 99/),
    );
  });

  it('tells options that the model or the engine has not', async () => {
    const cases: [Anything, RegExp][] = [
      [null, /options is null/],
      [{ language: 'de' }, /knows English only/],
      [{ language: 'klingon' }, /English only/],
      [{ translate: true }, /multilingual/],
      [{ beamSize: 0 }, /beamSize is 0/],
      [{ beamSize: 2.5 }, /beamSize is 2.5/],
      [{ beamSize: 9 }, /beamSize is 9/],
      [{ temperature: 2 }, /temperature is 2/],
      [{ temperature: [] }, /temperature.length is 0/],
      [{ priority: 'urgent' }, /priority is 'urgent'/],
      [{ timeoutMs: 0 }, /timeoutMs is 0/],
      [{ timeoutMs: Number.NaN }, /timeoutMs is NaN/],
      [{ vad: true }, /vad is a boolean/],
      [{ vad: 'yes' }, /vad is a string/],
      [{ vad: { threshold: 'high' } }, /vad/],
      [{ temperature: 'warm' }, /temperature/],
      [{ language: 7 }, /language/],
      [{ initialPrompt: {} }, /initialPrompt|initial_prompt/],
      [{ vad: { negThreshold: 0.9 } }, /vad.negThreshold/],
      [{ vad: { speechPadMs: -1 } }, /vad.speechPadMs is -1/],
      [{ wordTimestamps: 'yes' }, /wordTimestamps|word_timestamps/],
      [{ initialPrompt: 'a\0b' }, /NUL/],
      [{ signal: 'stop' }, /signal is a string/],
      [{ onProgress: true }, /onProgress is a boolean/],
      [{ id: 7 }, /id/],
    ];
    for (const [options, message] of cases) {
      await assert.rejects(
        opus(good, options),
        coded('ERR_INVALID_ARGUMENT', message),
        JSON.stringify(options),
      );
    }
    await refused(opus(good, { language: 'xx' }), coded('ERR_INVALID_ARGUMENT', /'xx'/));
  });

  it('an unknown language is told by a multilingual model too', async () => {
    const base = await kind.open({ model: 'base' });
    await assert.rejects(
      base.transcribe(good, { language: 'xx' }),
      coded(
        'ERR_INVALID_ARGUMENT',
        /language 'xx' is unknown; expected 'auto' or an ISO 639-1 code/,
      ),
    );
    await base.close();
  });

  it('a full queue refuses at once and says when to try again', async () => {
    const jobs = Array.from({ length: 9 }, () => opus(good));
    const settled = await Promise.allSettled(jobs);
    const reasons = settled.filter((job) => job.status === 'rejected').map((job) => job.reason);
    assert.equal(reasons.length, 5);
    for (const reason of reasons) {
      coded('ERR_QUEUE_FULL', /4 jobs are in the queue/)(reason);
      assert.ok(reason.retryAfterMs > 0);
    }
    assert.equal(transcriber.stats().failed.ERR_QUEUE_FULL, undefined, 'a refusal is no job');
  });

  it('more bytes of waiting input than allowed are refused, and a file by its path is not', async () => {
    const small = await kind.open({ model: 'tiny.en', maxQueuedBytes: 100_000 });
    const wav = readFileSync(join(__dirname, 'fixtures', 'jfk.wav'));
    const speech = Float32Array.from(
      { length: 32_000 },
      (_, at) => wav.readInt16LE(44 + 2 * at) / 32_768,
    );
    const first = small.transcribePcm(speech, { vad: false });
    await assert.rejects(small.transcribePcm(new Float32Array(16_000)), (error: Anything) => {
      coded('ERR_QUEUE_FULL', /92000 bytes of input more than maxQueuedBytes, 100000/)(error);
      return error.retryAfterMs > 0;
    });
    const file = small.transcribeFile(join(__dirname, 'fixtures', 'jfk.wav'));
    assert.match((await first).text, /my fellow/);
    assert.match((await file).text, /your country/);
    await small.close();
    const wrong = kind.open({ model: 'tiny.en', maxQueuedBytes: 0 });
    await assert.rejects(wrong, coded('ERR_INVALID_ARGUMENT', /maxQueuedBytes is 0/));
  });

  it('a job that is out of time rejects, and its work stops', async () => {
    await refused(
      opus(packets('libri_moses'), { timeoutMs: 50 }),
      coded('ERR_TIMEOUT', /ran out of time/),
    );
    await refused(
      transcribe(good, { timeoutMs: 0 }),
      coded('ERR_INVALID_ARGUMENT', /timeoutMs is 0/),
    );
    await refused(
      transcribe(good, { timeoutMs: 1 }),
      coded('ERR_TIMEOUT', /not loaded in time|ran out of time/),
    );
    await transcribe.close();
  });

  it('no audio and no speech are not errors', async () => {
    for (const input of [[], [null], [null, new Uint8Array(0), null]]) {
      const { text, emptyReason, durationMs, packets: counts } = await opus(input);
      assert.deepEqual(
        { text, emptyReason, durationMs },
        { text: '', emptyReason: 'no-audio', durationMs: 0 },
      );
      assert.deepEqual(counts, {
        received: input.length,
        lost: input.length,
        corrupt: 0,
        corruptIndexes: [],
        concealedMs: 0,
      });
    }
    assert.equal((await pcm(new Float32Array(0))).emptyReason, 'no-audio');
    assert.equal((await pcm(new Float32Array(16_000))).emptyReason, 'no-speech');
    assert.equal((await pcm(new Float32Array(1))).emptyReason, 'no-speech');
  });

  it('a closed one refuses', async () => {
    const closed = await kind.open({ model: 'tiny.en' });
    const wrong = closed.close({ drain: 1 } as Anything);
    await assert.rejects(wrong, coded('ERR_INVALID_ARGUMENT', /drain is a number/));
    await closed.close();
    await assert.rejects(closed.transcribe(good), coded('ERR_CLOSED', /closed/));
    await assert.rejects(closed.transcribePcm(new Float32Array(9)), coded('ERR_CLOSED', /closed/));
    assert.equal(closed.stats().queued, 0);
    assert.equal(closed.info.backend, 'cpu');
  });
});
