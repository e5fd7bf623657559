import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type LogRecord, Transcriber } from 'opuscribe';
import { packets, wav } from './fixtures';
import { normalize } from './wer';

const PACKET_MS = 20;

/** A stretch of a recording in packets of 20 ms, cut where speech begins or ends. */
function cut(name: string, fromMs: number, toMs = Number.POSITIVE_INFINITY): Buffer[] {
  return packets(name).slice(fromMs / PACKET_MS, toMs / PACKET_MS);
}

describe('what is written, and what is not', () => {
  let transcriber: Transcriber;
  const logged: LogRecord[] = [];
  before(async () => {
    transcriber = await Transcriber.open({
      model: 'tiny.en',
      onLog: (record) => logged.push(record),
    });
  });
  after(() => transcriber.close());

  // Real sounds of 4 s which the detector takes for speech for a moment, and over which Whisper
  // writes "Thank you." and "♪♪♪".
  for (const name of ['boat', 'dishes', 'music_box']) {
    it(`writes nothing over a sound that passes for speech: ${name}`, async () => {
      const { text, segments, speech, emptyReason } = await transcriber.transcribePcm(
        wav(`belief/${name}`),
      );
      assert.ok(speech.length > 0, 'the detector heard no speech: this shows nothing');
      assert.deepEqual({ text, segments }, { text: '', segments: [] });
      assert.equal(emptyReason, 'low-confidence');
    });
  }

  it('writes nothing over sounds and silence where nobody looks for speech', async () => {
    const initialPrompt = 'Minutes of the meeting, thank you.';
    const sounds: [Float32Array | Int16Array, object][] = [
      [new Float32Array(5 * 16_000), { initialPrompt }],
      [wav('wind'), { initialPrompt }],
      [wav('wind'), {}],
      [wav('belief/boat'), {}],
    ];
    for (const [pcm, options] of sounds) {
      const { text, emptyReason } = await transcriber.transcribePcm(pcm, {
        vad: false,
        ...options,
      });
      assert.deepEqual({ text, emptyReason }, { text: '', emptyReason: 'low-confidence' });
    }
  });

  // 250, 430 and 480 ms long, nothing but the word.
  for (const [name, digit] of [
    ['one', '1'],
    ['eight', '8'],
    ['seven', '7'],
  ] as const) {
    it(`writes a word alone: ${name}`, async () => {
      for (const vad of [undefined, false] as const) {
        const pcm = wav(`belief/${name}`);
        const { text } = await transcriber.transcribePcm(pcm, vad === false ? { vad } : {});
        assert.match(text.toLowerCase(), new RegExp(`^(${digit}|${name})\\W*$`));
      }
    });
  }

  for (const name of ['computer', 'jarvis']) {
    it(`writes a word that was said once no more than once: ${name}`, async () => {
      const { text } = await transcriber.transcribePcm(wav(`belief/${name}`));
      assert.deepEqual(normalize(text), [name]);
    });
  }

  // Where the first word begins and the last one ends, by their waveforms.
  for (const [name, from, to, first, last] of [
    ['jfk', 320, 10_600, 'and', 'country'],
    ['libri_waiting', 400, 5000, 'for', 'longer'],
    ['lj050', 0, 7640, 'unless', 'regard'],
    ['libri_stew', 580, 10_000, 'he', 'sauce'],
  ] as const) {
    it(`keeps the first syllable and the last of a recording that is cut tight: ${name}`, async () => {
      const { text } = await transcriber.transcribe(cut(name, from, to));
      const words = normalize(text);
      assert.equal(words[0], first, text);
      assert.equal(words.at(-1), last, text);
    });
  }

  it('hears the rest when the text ends before the window does', async () => {
    // Two sentences with 1.9 s of silence between them, which is no detector's business here.
    const pcm = wav('jfk');
    const gap = new Int16Array(1.9 * 16_000);
    const twice = Int16Array.from([...pcm, ...gap, ...pcm]);
    const { text } = await transcriber.transcribePcm(twice, { vad: false });
    assert.equal(text.toLowerCase().split('fellow americans').length - 1, 2, text);
    assert.match(text, /for your country\W*$/);
  });

  it('keeps a word that is said again and again', async () => {
    // "country", cut out of the recording, six times with short pauses.
    const word = wav('jfk').slice(5.7 * 16_000, 6.4 * 16_000);
    const pause = new Int16Array(0.2 * 16_000);
    const again = Int16Array.from(Array.from({ length: 6 }, () => [...word, ...pause]).flat());
    const { text } = await transcriber.transcribePcm(again);
    const times = text.toLowerCase().split('country').length - 1;
    assert.ok(times >= 5 && times <= 7, text);
  });

  it('says in its log why a text is not believed', () => {
    assert.ok(logged.some(({ message }) => message === 'nobody seems to have said this'));
    assert.ok(logged.some(({ message }) => message === 'the text cannot be believed'));
  });
});

describe('wordTimestamps', () => {
  let transcriber: Transcriber;
  before(async () => {
    transcriber = await Transcriber.open({ model: 'tiny.en' });
  });
  after(() => transcriber.close());

  it('gives every word of the text, in order, within its segment', async () => {
    for (const name of ['jfk', 'libri_moses']) {
      const plain = await transcriber.transcribe(packets(name));
      const heard = await transcriber.transcribe(packets(name), { wordTimestamps: true });
      assert.equal(heard.text, plain.text);
      assert.ok(plain.segments.every(({ words }) => words === undefined));
      let last = 0;
      for (const { text, startMs, endMs, words = [] } of heard.segments) {
        assert.equal(words.map((word) => word.text).join(' '), text);
        assert.deepEqual([words[0]?.startMs, words.at(-1)?.endMs], [startMs, endMs]);
        for (const word of words) {
          assert.ok(word.startMs >= last && word.endMs >= word.startMs, JSON.stringify(word));
          assert.ok(word.probability > 0 && word.probability <= 1);
          last = word.endMs;
        }
        assert.ok(endMs <= heard.durationMs);
      }
    }
  });

  it('puts the words where they are in the recording', async (t) => {
    const { segments } = await transcriber.transcribe(packets('jfk'), { wordTimestamps: true });
    const words = segments.flatMap((segment) => segment.words ?? []);
    // Words before and behind the pauses: where the waveform begins and ends, to 10 ms.
    const edges: [string, 'startMs' | 'endMs', number][] = [
      ['and', 'startMs', 320],
      ['americans', 'endMs', 2240],
      ['ask', 'startMs', 3300],
      ['country', 'endMs', 6390],
      ['country', 'endMs', 10_550],
    ];
    let from = 0;
    for (const [text, edge, expected] of edges) {
      const at = words.findIndex(
        (word, index) => index >= from && normalize(word.text)[0] === text,
      );
      assert.ok(at >= 0, text);
      from = at + 1;
      const difference = (words[at]?.[edge] ?? 0) - expected;
      t.diagnostic(`${text} ${edge}: ${difference.toFixed(0)} ms`);
      assert.ok(Math.abs(difference) < 250, `${text}: ${difference}`);
    }
  });

  it('keeps the timeline across silence that is left out', async () => {
    const { speech, segments } = await transcriber.transcribe(packets('libri_moses'), {
      wordTimestamps: true,
    });
    for (const { startMs, endMs, text } of segments.flatMap((segment) => segment.words ?? [])) {
      const inside = speech.some((piece) => startMs < piece.endMs + 1 && endMs > piece.startMs - 1);
      assert.ok(inside, `${text} ${startMs}–${endMs}`);
      assert.ok(endMs - startMs < 2500, `${text} lasts ${endMs - startMs} ms`);
    }
  });

  it('works with beams, and at the smallest input', async () => {
    const beam = await transcriber.transcribe(packets('jfk'), {
      wordTimestamps: true,
      beamSize: 3,
    });
    assert.ok((beam.segments[0]?.words?.length ?? 0) > 5);
    const short = await transcriber.transcribePcm(wav('belief/one'), { wordTimestamps: true });
    assert.equal(short.segments[0]?.words?.length, 1);
    const none = await transcriber.transcribePcm(new Float32Array(160), {
      wordTimestamps: true,
      vad: false,
    });
    assert.equal(none.text, '');
  });

  it('stops when it is aborted while words are being placed, and the process lives', async () => {
    let onAligning = () => {};
    const own = await Transcriber.open({
      model: 'tiny.en',
      onLog: ({ message }) => {
        if (message === 'aligning') onAligning();
      },
    });
    for (let after = 0; after < 8; after += 1) {
      const controller = new AbortController();
      onAligning = () => {
        // Ever later in the work: so many turns of the event loop.
        let turns = after * 40;
        const wait = () => {
          if (turns === 0) return controller.abort();
          turns -= 1;
          setImmediate(wait);
        };
        wait();
      };
      const { signal } = controller;
      const job = own.transcribe(packets('lj050'), { wordTimestamps: true, signal });
      await job.catch((reason) => assert.equal(reason.name, 'AbortError'));
    }
    const again = await own.transcribe(packets('lj050'));
    assert.match(again.text, /formal review/);
    await own.close();
  });
});
