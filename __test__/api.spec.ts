import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  type BaseTranscriber,
  type LogRecord,
  type Segment,
  Transcriber,
  type TranscriberOptions,
  transcribe,
} from 'opuscribe';
import { IsolatedTranscriber } from 'opuscribe/isolated';
import { packets, wav } from './fixtures';
import { describeEach } from './kinds';

const root = join(__dirname, '..');

describe('the package', () => {
  const inNode = (...args: string[]) =>
    execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' }).trim();

  it('is there for require and for import, as the same module', () => {
    const names =
      "'transcribe Transcriber OpuscribeError'.split(' ').map((name) => typeof api[name]).join()";
    const required = inNode('-e', `const api = require('opuscribe'); console.log(${names})`);
    const imported = inNode(
      '--input-type=module',
      '-e',
      `import * as api from 'opuscribe'; console.log(${names})`,
    );
    assert.equal(required, 'function,function,function');
    assert.equal(imported, required);
    const same = inNode(
      '--input-type=module',
      '-e',
      `import { createRequire } from 'node:module';
       import { Transcriber } from 'opuscribe';
       console.log(createRequire(import.meta.url)('opuscribe').Transcriber === Transcriber)`,
    );
    assert.equal(same, 'true');
  });
});

describe('transcribe', () => {
  after(() => transcribe.close());

  it('is one line, and loads its model once however many calls come at once', async () => {
    const texts = await Promise.all(
      Array.from({ length: 3 }, async () => (await transcribe(packets('jfk'))).text),
    );
    assert.equal(new Set(texts).size, 1);
    assert.match(texts[0] as string, /what you can do for your country/);
  });

  it('opens again after it was closed', async () => {
    await transcribe.close();
    assert.match((await transcribe(packets('libri_waiting'))).text, /full hour/);
  });
});

describeEach('a transcriber', (kind) => {
  let transcriber: BaseTranscriber;
  before(async () => {
    transcriber = await kind.open({ model: 'tiny.en' });
  });
  after(() => transcriber.close());

  it('copies the packets before it returns', async () => {
    const list = packets('jfk').map((packet) => Uint8Array.from(packet));
    const job = transcriber.transcribe(list);
    for (const packet of list) packet.fill(0xff);
    assert.match((await job).text, /what you can do for your country/);
    const pcm = wav('jfk');
    const other = transcriber.transcribePcm(pcm);
    pcm.fill(0);
    assert.match((await other).text, /what you can do for your country/);
  });

  it('takes PCM of either type, any rate and channel count', async () => {
    const mono = wav('jfk');
    const { text } = await transcriber.transcribePcm(mono);
    assert.match(text, /what you can do for your country/);
    const floats = Float32Array.from(mono, (sample) => sample / 32768);
    assert.equal((await transcriber.transcribePcm(floats)).text, text);
    const stereo = new Int16Array(mono.length * 2);
    for (const [at, sample] of mono.entries()) stereo.fill(sample, 2 * at, 2 * at + 2);
    assert.equal((await transcriber.transcribePcm(stereo, { channels: 2 })).text, text);
    const at48k = new Float32Array(floats.length * 3);
    for (let at = 0; at < at48k.length; at += 1) {
      const [low, high] = [Math.floor(at / 3), Math.min(Math.floor(at / 3) + 1, floats.length - 1)];
      const share = (at % 3) / 3;
      at48k[at] = (floats[low] as number) * (1 - share) + (floats[high] as number) * share;
    }
    const slow = await transcriber.transcribePcm(at48k, { sampleRate: 48_000 });
    assert.equal(slow.text.toLowerCase(), text.toLowerCase());
    assert.ok(Math.abs(slow.durationMs - 11_000) < 1);
  });

  it('tells what it is made of', () => {
    const { info } = transcriber;
    assert.deepEqual(info.languages, ['en']);
    assert.equal(info.backend, 'cpu');
    assert.match(info.device, /^cpu/);
    assert.match(info.model, /tiny\.en/);
    assert.match(info.versions.whisper, /^1\.\d/);
    assert.match(info.versions.opus, /libopus/);
  });

  it('counts what it does', async () => {
    const before = transcriber.stats();
    await transcriber.transcribe(packets('jfk'));
    await assert.rejects(transcriber.transcribe([Uint8Array.of(0x0b, 0)]));
    const after = transcriber.stats();
    assert.equal(after.completed, before.completed + 1);
    assert.equal(after.failed.ERR_INVALID_PACKET, (before.failed.ERR_INVALID_PACKET ?? 0) + 1);
    assert.equal(after.audioMs, before.audioMs + 11_020);
    assert.ok(after.inferenceMs > before.inferenceMs);
    assert.deepEqual([after.queued, after.running, after.queuedBytes], [0, 0, 0]);
    const { p50, p95, p99 } = after.timings.inferenceMs;
    assert.ok(p50 > 0 && p50 <= p95 && p95 <= p99 && p99 < after.inferenceMs * 1.05);
    assert.ok(after.realTimeFactor > 0 && after.realTimeFactor < 100);
    // Sizes of tiny.en: the weights are a part of what the process holds.
    assert.ok(after.modelBytes > 70e6 && after.rssBytes > after.modelBytes);
  });

  it('conceals lost and corrupt packets, counts them, and keeps the times', async () => {
    const list: (Buffer | null)[] = packets('jfk');
    list[100] = null;
    list[200] = Buffer.of(0x0b, 0);
    const { text, packets: counts, durationMs } = await transcriber.transcribe(list);
    assert.match(text, /what you can do for your country/);
    assert.deepEqual(counts, {
      received: 551,
      lost: 1,
      corrupt: 1,
      corruptIndexes: [200],
      concealedMs: 40,
    });
    assert.equal(durationMs, 11_020);
  });

  it('gives the id, the times spent, and the share of real time', async () => {
    const { id, timings, durationMs } = await transcriber.transcribe(packets('jfk'), {
      id: 'call-7',
    });
    assert.equal(id, 'call-7');
    const parts =
      timings.queueMs + timings.decodeMs + timings.vadMs + timings.waitMs + timings.inferenceMs;
    assert.ok(Math.abs(parts - timings.totalMs) < 1);
    assert.ok(Math.abs(timings.realTimeFactor - timings.totalMs / durationMs) < 1e-9);
    const other = await transcriber.transcribe([]);
    assert.match(other.id, /^job-\d+$/);
  });

  it('reports progress and every segment, in order, before it resolves', async () => {
    const progress: number[] = [];
    const segments: Segment[] = [];
    const transcript = await transcriber.transcribe(packets('libri_moses'), {
      onProgress: (fraction) => progress.push(fraction),
      onSegment: (segment) => segments.push(segment),
    });
    assert.deepEqual(segments, transcript.segments);
    assert.ok(progress.length >= 4);
    assert.deepEqual(
      progress,
      [...progress].sort((a, b) => a - b),
    );
    assert.equal(progress.at(-1), 1);
  });

  it('a beam, a prompt, one temperature and switching the VAD off all act', async () => {
    const jfk = packets('jfk');
    const { text } = await transcriber.transcribe(jfk);
    const beam = await transcriber.transcribe(packets('libri_moses'), { beamSize: 5 });
    const greedy = await transcriber.transcribe(packets('libri_moses'));
    assert.notEqual(beam.text, greedy.text);
    const shouted = await transcriber.transcribe(jfk, {
      initialPrompt: 'ASK NOT. AMERICANS! THE ANSWER IS IN CAPITAL LETTERS.',
    });
    assert.notEqual(shouted.text, text);
    const sampled = await transcriber.transcribe(packets('libri_moses'), { temperature: 1 });
    assert.notEqual(sampled.text, greedy.text);
    const again = await transcriber.transcribe(packets('libri_moses'), { temperature: 1 });
    assert.equal(again.text, sampled.text, 'sampling depends on what ran before');
    const unheard = await transcriber.transcribe(jfk, { vad: false });
    assert.deepEqual(unheard.speech, [{ startMs: 0, endMs: 11_020 }]);
    const deaf = await transcriber.transcribe(jfk, { vad: { minSpeechDurationMs: 60_000 } });
    assert.equal(deaf.emptyReason, 'no-speech');
  });

  it('a prompt of any length is cut to what counts', async () => {
    for (const initialPrompt of ['a'.repeat(60_000), 'wörter und mehr '.repeat(3000), '']) {
      const { text } = await transcriber.transcribe(packets('libri_waiting'), { initialPrompt });
      assert.notEqual(text, '');
    }
  });

  it('rejects with the reason of an aborted signal, and stops the work', async () => {
    const early = AbortSignal.abort(new Error('changed my mind'));
    await assert.rejects(
      transcriber.transcribe(packets('jfk'), { signal: early }),
      /changed my mind/,
    );

    const controller = new AbortController();
    const job = transcriber.transcribe(packets('libri_moses'), {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await assert.rejects(job, { name: 'AbortError' });
    const { failed } = transcriber.stats();
    assert.equal(failed.ERR_ABORTED, 1);

    const late = new AbortController();
    const done = await transcriber.transcribe(packets('libri_waiting'), { signal: late.signal });
    late.abort();
    assert.match(done.text, /full hour/);
  });

  it('stops inside a window: aborted work costs far less than the window would', async (t) => {
    // Two windows, in which most of the time goes into the beams and not into the encoder.
    const job = packets('libri_moses').slice(0, 44 * 50);
    const steps: number[] = [];
    const { timings } = await transcriber.transcribe(job, {
      beamSize: 8,
      onProgress: (share) => steps.push(share),
    });
    assert.ok(steps.length > 1);
    const before = transcriber.stats().inferenceMs;
    const controller = new AbortController();
    const aborted = transcriber.transcribe(job, {
      beamSize: 8,
      signal: controller.signal,
      // The first window is behind, and the second has begun.
      onProgress: () => controller.abort(),
    });
    await assert.rejects(aborted, { name: 'AbortError' });
    // Its turn comes when the aborted job has left the thread.
    const next = await transcriber.transcribe(packets('libri_waiting'));
    const spent = transcriber.stats().inferenceMs - before - next.timings.inferenceMs;
    t.diagnostic(`${spent.toFixed()} of ${timings.inferenceMs.toFixed()} ms`);
    assert.ok(spent < timings.inferenceMs * 0.85, `${spent} of ${timings.inferenceMs} ms`);
  });

  describe('onLog', () => {
    const logs = async (options: Partial<TranscriberOptions> = {}) => {
      const records: LogRecord[] = [];
      const logged = await kind.open({
        model: 'tiny.en',
        onLog: (record) => records.push(record),
        ...options,
      });
      const list = packets('libri_waiting');
      await logged.transcribe(list, { id: 'prompted', initialPrompt: 'hm '.repeat(5000) });
      await assert.rejects(logged.transcribe(list, { id: 'late', timeoutMs: 1 }));
      // Text that is left out is the user's too.
      await logged.transcribe(packets('wind'), { vad: false });
      await logged.close();
      return records;
    };

    it('gets what whisper.cpp and the engine report, with the id of the job it is about', async () => {
      const records = await logs();
      assert.ok(records.some(({ target, id }) => target.startsWith('whisper') && !id));
      const warning = records.find(({ message }) => /prompt is too long/.test(message));
      assert.deepEqual(
        [warning?.level, warning?.id, warning?.fields],
        ['warn', 'prompted', { kept: 223 }],
      );
      const done = records.find(({ message }) => message === 'transcribed');
      assert.equal(done?.id, 'prompted');
      assert.ok((done?.fields?.inference_ms as number) > 0);
      const late = records.find(({ message }) => message.startsWith('not transcribed'));
      assert.deepEqual([late?.id, late?.fields], ['late', { code: 'ERR_TIMEOUT' }]);
    });

    it('gets no text of a transcript unless asked', async () => {
      const mentions = (records: LogRecord[]) => /paced up and down/.test(JSON.stringify(records));
      const silent = await logs();
      assert.equal(mentions(silent), false);
      const left = silent.filter(({ message }) => /nobody seems/.test(message));
      assert.ok(left.length > 0);
      assert.ok(silent.every(({ fields }) => fields?.text === undefined));
      assert.equal(mentions(await logs({ logText: true })), true);
    });
  });

  it('is closed by `await using`', async () => {
    const opened = await kind.open({ model: 'tiny.en' });
    await opened[Symbol.asyncDispose]();
    await assert.rejects(opened.transcribe([]), { code: 'ERR_CLOSED' });
  });

  it('is made by open alone', () => {
    // @ts-expect-error: the constructor is not public
    assert.throws(() => new Transcriber(), { code: 'ERR_INVALID_ARGUMENT' });
    // @ts-expect-error: nor is this
    assert.throws(() => new IsolatedTranscriber(), { code: 'ERR_INVALID_ARGUMENT' });
  });
});
