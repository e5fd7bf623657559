import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type LogRecord, Transcriber, type Transcript } from 'opuscribe';
import { english, json, noise, packets, recording } from './fixtures';
import { normalize, wordErrorRate } from './wer';

/** What whisper.cpp itself writes, greedy with its own defaults; see examples/whisper_cpp_greedy.rs. */
const greedy =
  json<Record<'packets' | 'original', Record<string, string>>>('whisper_cpp_greedy.json');

describe('accuracy with tiny.en', () => {
  let transcriber: Transcriber;
  const heard = new Map<string, Transcript>();

  before(async () => {
    transcriber = await Transcriber.open({ model: 'tiny.en' });
    for (const { name } of [...english, ...noise]) {
      heard.set(name, await transcriber.transcribe(packets(name)));
    }
  });
  after(() => transcriber.close());

  const of = (name: string) => heard.get(name) as Transcript;

  // One word is 0.36 points, and one unsure window of the hardest speaker can be four words.
  for (const source of ['packets', 'original'] as const) {
    it(`has a word error rate within 1.5 points of whisper.cpp greedy on the ${source}`, (t) => {
      const ours = wordErrorRate(
        english.map(({ name, transcript }) => ({ said: transcript, heard: of(name).text })),
      );
      const theirs = wordErrorRate(
        english.map(({ name, transcript }) => ({
          said: transcript,
          heard: greedy[source][name] as string,
        })),
      );
      t.diagnostic(
        `word error rate: opuscribe ${ours.toFixed(2)} %, whisper.cpp ${theirs.toFixed(2)} %`,
      );
      assert.ok(ours <= theirs + 1.5, `${ours} against ${theirs}`);
    });
  }

  it('writes the known sentence', () => {
    const { transcript } = recording('jfk');
    assert.deepEqual(normalize(of('jfk').text), normalize(transcript));
  });

  it('writes nothing for noise, and says that there was no speech', () => {
    for (const { name } of noise) {
      const { text, emptyReason, segments, speech, timings } = of(name);
      assert.deepEqual(
        { text, emptyReason, segments, speech },
        {
          text: '',
          emptyReason: 'no-speech',
          segments: [],
          speech: [],
        },
      );
      assert.equal(timings.inferenceMs, 0, 'Whisper was asked');
    }
  });

  it('cuts off nothing of audio over 30 s', () => {
    const { text, segments, durationMs } = of('libri_moses');
    const words = normalize(text);
    assert.deepEqual(words.slice(-2), ['the', 'period']);
    for (const word of ['moses', 'hebrews', 'benjamin']) assert.ok(words.includes(word), text);
    assert.ok((segments.at(-1)?.endMs ?? 0) > durationMs - 5000);
  });

  it('gives times that lie on the input and in the speech that the labels name', () => {
    // Utterances begin about here, after a second of digital silence each (seconds).
    const starts = [1, 6.49, 12.375, 24.12, 28.48, 47.61, 55.115, 66.67, 87.58, 95.69];
    const { speech, segments, durationMs } = of('libri_moses');
    for (const start of starts) {
      const near = speech.some((segment) => Math.abs(segment.startMs - start * 1000) < 500);
      assert.ok(near, `no speech begins near ${start} s`);
    }
    let last = 0;
    for (const { startMs, endMs } of segments) {
      assert.ok(
        startMs >= last - 1 && endMs >= startMs && endMs <= durationMs,
        `${startMs}–${endMs}`,
      );
      last = startMs;
    }
  });
});

describe('languages with base', () => {
  let transcriber: Transcriber;
  before(async () => {
    transcriber = await Transcriber.open({ model: 'base' });
  });
  after(() => transcriber.close());

  for (const name of ['fleurs_de', 'fleurs_fr']) {
    it(`detects the language of ${name} and writes it`, async (t) => {
      const { language, transcript } = recording(name);
      const heard = await transcriber.transcribe(packets(name));
      assert.equal(heard.language, language);
      assert.ok(heard.languageProbability > 0.5 && heard.languageProbability <= 1);
      const rate = wordErrorRate([{ said: transcript, heard: heard.text, language }]);
      t.diagnostic(`${rate.toFixed(1)} % of the words wrong: ${heard.text}`);
      assert.ok(rate < 45, heard.text);
      const told = await transcriber.transcribe(packets(name), { language: language as string });
      assert.equal(told.text, heard.text);
      assert.equal(told.languageProbability, 1);
    });
  }

  it('reports no error of what it stops on purpose', async () => {
    const errors: LogRecord[] = [];
    const controller = new AbortController();
    const own = await Transcriber.open({
      model: 'base',
      onLog: (record) => {
        if (record.level === 'error') errors.push(record);
        if (record.id === 'abort' && record.message === 'recognizing') controller.abort();
      },
    });
    // whisper.cpp is stopped before it encodes to detect the language, and in the encoder.
    await own.transcribe(packets('fleurs_de'));
    const { signal } = controller;
    const job = own.transcribe(packets('fleurs_de'), { id: 'abort', signal, language: 'de' });
    await assert.rejects(job, { name: 'AbortError' });
    await own.close({ drain: true });
    assert.deepEqual(errors, []);
  });

  it('translates when it is asked to', async () => {
    const { text } = await transcriber.transcribe(packets('fleurs_de'), { translate: true });
    assert.match(text.toLowerCase(), /\b(water|big|great|large)\b/);
  });
});
