// What the predecessor died of, on real speech with the built package. Each test bears the
// failure's name; what only fake models can show is in tests/predecessor.rs, and what needs a fault
// on purpose in faults.spec.ts.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { Transcriber, type Transcript, transcribe } from 'opuscribe';
import { english, noise, packets, recording } from './fixtures';
import { wordErrors } from './wer';

const PACKETS_PER_SECOND = 50;

describe('what the predecessor died of', () => {
  let transcriber: Transcriber;
  before(async () => {
    transcriber = await Transcriber.open({ model: 'tiny.en' });
  });
  after(() => transcriber.close());

  /** What came of the audio, without times of the clock. */
  const result = ({ text, segments, speech, packets: counts }: Transcript) => ({
    text,
    segments,
    speech,
    counts,
  });
  const alone = async (list: Array<Uint8Array | null>) =>
    result(await transcriber.transcribe(list));

  it('shared decoder across requests', async () => {
    // A decoder carries sound over from packet to packet: with one for all, concealment and text
    // of interleaved requests would depend on each other.
    const lists = english
      .slice(0, 4)
      .map(({ name }) => packets(name).map((packet, index) => (index % 9 === 4 ? null : packet)));
    const expected: Awaited<ReturnType<typeof alone>>[] = [];
    for (const list of lists) expected.push(await alone(list));
    const many = [0, 1, 2].flatMap(() => lists.map(alone));
    const found = await Promise.all(many);
    found.forEach((each, index) => {
      assert.deepEqual(each, expected[index % lists.length]);
    });
  });

  it('decoder rebuilt while in use', async () => {
    // What a job full of garbage does to its decoder is nothing to the jobs beside it.
    const garbage = packets('libri_stew').map((packet, index) =>
      index % 3 === 0 ? packet : Buffer.of(0x0b, 0x00),
    );
    const good = packets('jfk');
    const [expected, damaged] = [await alone(good), await alone(garbage)];
    assert.ok((damaged.counts?.corrupt ?? 0) > 100);
    const found = await Promise.all(
      [0, 1, 2, 3].flatMap(() => [alone(good), alone(garbage), alone(garbage)]),
    );
    found.forEach((each, index) => {
      assert.deepEqual(each, index % 3 === 0 ? expected : damaged);
    });
  });

  it('concurrent use of one Whisper context', async () => {
    const names = ['jfk', 'libri_waiting', 'lj050', 'libri_stew'];
    const expected: Awaited<ReturnType<typeof alone>>[] = [];
    for (const name of names) expected.push(await alone(packets(name)));
    const found = await Promise.all(
      Array.from({ length: 24 }, (_, job) => alone(packets(names[job % 4] as string))),
    );
    found.forEach((each, job) => {
      assert.deepEqual(each, expected[job % 4]);
    });
    assert.equal(transcriber.stats().restarts, 0);
  });

  it('lazy segments evaluated outside the owner', async () => {
    const own = await Transcriber.open({ model: 'tiny.en' });
    const transcript = await own.transcribe(packets('jfk'));
    const kept = JSON.stringify(transcript);
    await own.close();
    // Plain data that needs nobody: no getters, and the same after its maker is gone.
    for (const segment of transcript.segments) {
      for (const property of Object.values(Object.getOwnPropertyDescriptors(segment))) {
        assert.equal(property.get, undefined);
      }
    }
    assert.equal(JSON.stringify(structuredClone(transcript)), kept);
    assert.ok(transcript.segments.length > 0);
  });

  it('VAD lock held across inference', async () => {
    // A recording without speech is answered by the detector while Whisper is busy with another.
    const finished: string[] = [];
    const busy = transcriber
      .transcribe(packets('libri_moses'))
      .then(() => finished.push('inference'));
    const silent = packets(noise[0]?.name as string).slice(0, 2 * PACKETS_PER_SECOND);
    for (let round = 0; round < 3; round += 1) {
      const { emptyReason } = await transcriber.transcribe(silent);
      assert.equal(emptyReason, 'no-speech');
      finished.push('detection');
    }
    await busy;
    assert.deepEqual(finished, ['detection', 'detection', 'detection', 'inference']);
  });

  it('VAD state shared between sessions', async () => {
    // Two speakers, longer than one piece of work, so that their pieces alternate.
    const speakers = [
      packets('libri_moses').slice(0, 70 * PACKETS_PER_SECOND),
      [...packets('libri_stew'), ...packets('jfk'), ...packets('libri_stew'), ...packets('jfk')],
    ];
    const speech = async (list: Uint8Array[]) => (await transcriber.transcribe(list)).speech;
    const expected: Transcript['speech'][] = [];
    for (const list of speakers) expected.push(await speech(list));
    assert.ok(expected.every((segments) => segments.length > 1));
    const found = await Promise.all([0, 1, 2].flatMap(() => speakers.map(speech)));
    found.forEach((each, index) => {
      assert.deepEqual(each, expected[index % 2]);
    });
  });

  it('VAD without context', async () => {
    // Without the samples before each window speech and noise look alike.
    for (const { name, durationMs } of [recording('jfk'), recording('libri_stew')]) {
      const { speechDurationMs } = await transcriber.transcribe(packets(name));
      assert.ok(speechDurationMs > 0.6 * durationMs, `${name}: ${speechDurationMs}`);
    }
    for (const { name } of noise) {
      const { speech, emptyReason } = await transcriber.transcribe(packets(name));
      assert.deepEqual([speech, emptyReason], [[], 'no-speech'], name);
    }
  });

  it('timed-out work that keeps running', async () => {
    const list = packets('libri_moses');
    const { timings } = await transcriber.transcribe(list);
    const spentBefore = transcriber.stats().inferenceMs;
    await assert.rejects(transcriber.transcribe(list, { timeoutMs: 300 }), { code: 'ERR_TIMEOUT' });
    // Its turn comes when the thread is free.
    const next = await transcriber.transcribe(packets('libri_waiting'));
    const spent = transcriber.stats().inferenceMs - spentBefore - next.timings.inferenceMs;
    assert.ok(spent < timings.inferenceMs / 2, `${spent} of ${timings.inferenceMs} ms`);
    assert.deepEqual([transcriber.stats().queued, transcriber.stats().running], [0, 0]);
  });

  it('aborted work that ends with the encoder only', async (t) => {
    // whisper.cpp itself asks when the encoder is done, which of such a window is nearly all.
    const silence = new Float32Array(22 * 16_000);
    const once = { vad: false, temperature: 0 } as const;
    const controller = new AbortController();
    const own = await Transcriber.open({
      model: 'tiny.en',
      onLog: ({ id, message }) => id === 'abort' && message === 'recognizing' && controller.abort(),
    });
    const whole = (await own.transcribePcm(silence, once)).timings.inferenceMs;
    const before = own.stats().inferenceMs;
    const { signal } = controller;
    const job = own.transcribePcm(silence, { ...once, id: 'abort', signal });
    await assert.rejects(job, { name: 'AbortError' });
    const next = await own.transcribe(packets('libri_waiting'));
    const spent = own.stats().inferenceMs - before - next.timings.inferenceMs;
    t.diagnostic(`${spent.toFixed(1)} of ${whole.toFixed()} ms`);
    assert.ok(spent > 0 && spent < whole / 2, `${spent} of ${whole} ms`);
    await own.close();
  });

  it('audio over 30 s cut off', async () => {
    const { name, transcript, durationMs } = recording('libri_moses');
    const found = await transcriber.transcribe(packets(name));
    assert.equal(found.durationMs, durationMs);
    const last = found.segments.at(-1);
    assert.ok(last && last.endMs > durationMs - 3000, `the last segment ends at ${last?.endMs}`);
    // Were anything after 30 s missing, two thirds of the words would be wrong.
    const { errors, words } = wordErrors(transcript, found.text);
    assert.ok(errors / words < 0.35, `${errors} of ${words} words`);
  });

  it('right sentence deleted by a text filter', async () => {
    // Whatever is said is written, also when it is said again and again.
    const once = packets('libri_waiting');
    const { text } = await transcriber.transcribe([...once, ...once, ...once, ...once]);
    assert.equal(text.match(/full hour/g)?.length, 4, text);
  });

  it('times that do not map to the input', async () => {
    const list = packets('libri_waiting');
    const expected = (await transcriber.transcribe(list)).speech[0];
    assert.ok(expected);
    for (const seconds of [3, 45]) {
      const lost = Array<null>(seconds * PACKETS_PER_SECOND).fill(null);
      const { durationMs, segments, speech } = await transcriber.transcribe([...lost, ...list]);
      assert.equal(durationMs, (lost.length + list.length) * 20);
      const [first, segment] = [speech[0], segments[0]];
      assert.ok(first && segment);
      // The detector works in windows of 32 ms, and the gap itself shifts where they fall.
      const off = first.endMs - seconds * 1000 - expected.endMs;
      assert.ok(Math.abs(off) <= 64, `off by ${off} ms after ${seconds} s`);
      assert.ok(segment.startMs >= first.startMs && segment.startMs < first.endMs);
    }
  });

  it('model loaded more than once', async (t) => {
    const loads: string[] = [];
    const own = await Transcriber.open({
      model: 'tiny.en',
      onLog: ({ message }) => /loading model from/.test(message) && loads.push(message),
    });
    await Promise.all([0, 1, 2, 3].map(() => own.transcribe(packets('libri_waiting'))));
    await own.close({ drain: true });
    assert.equal(loads.length, 1, loads.join('\n'));

    await Promise.all([0, 1, 2, 3].map(() => transcribe(packets('libri_waiting'))));
    if (process.platform === 'linux') {
      const isGpuThread = (task: string) => {
        try {
          return readFileSync(`/proc/self/task/${task}/comm`, 'utf8').trim() === 'opuscribe-gpu';
        } catch {
          return false; // It has just ended: one of ggml's.
        }
      };
      // This suite's own, and one for all calls of the one-liner.
      assert.equal(readdirSync('/proc/self/task').filter(isGpuThread).length, 2);
    } else t.diagnostic('skipped: threads are counted on Linux only');
    await transcribe.close();
  });

  it('"ready" before the model is', async () => {
    const messages: string[] = [];
    const own = await Transcriber.open({
      model: 'tiny.en',
      onLog: ({ message }) => messages.push(message),
    });
    // Loaded, run once, and never again: the first job finds everything there.
    const { timings } = await own.transcribe(packets('libri_waiting'));
    assert.ok(messages.some((message) => /model size/.test(message)));
    assert.ok(timings.queueMs + timings.waitMs < timings.totalMs);
    await own.close();
    const truncated = Transcriber.open({ model: '__test__/fixtures/jfk.wav' });
    await assert.rejects(truncated, { code: 'ERR_MODEL_INVALID' });
  });
});
