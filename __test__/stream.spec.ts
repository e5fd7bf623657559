import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { after, before, it } from 'node:test';
import { setInterval, setTimeout } from 'node:timers/promises';
import {
  type BaseTranscriber,
  type OpuscribeError,
  OpusDemuxer,
  type StreamEvent,
  type StreamOptions,
  type TranscriptionStream,
} from 'opuscribe';
import { english, noise, packets, recording, wav } from './fixtures';
import { describeEach } from './kinds';
import { normalize, wordErrorRate } from './wer';

type Chunk = Uint8Array | Float32Array | null;

async function events(stream: TranscriptionStream): Promise<StreamEvent[]> {
  const told: StreamEvent[] = [];
  for await (const event of stream) told.push(event);
  return told;
}

/** Waits where the stream asks for it. */
async function write(stream: TranscriptionStream, chunks: Iterable<Chunk>): Promise<void> {
  for (const chunk of chunks) if (!stream.write(chunk)) await once(stream, 'drain');
}

/** As fast as somebody speaks. */
async function speak(stream: TranscriptionStream, list: Uint8Array[]): Promise<void> {
  for await (const _ of setInterval(20)) {
    const packet = list.shift();
    if (packet === undefined) return;
    stream.write(packet);
  }
}

function detached(): Float32Array {
  const samples = new Float32Array(160);
  structuredClone(samples.buffer, { transfer: [samples.buffer] });
  return samples;
}

const finals = (told: StreamEvent[]) =>
  told.flatMap((event) => (event.type === 'final' ? [event.transcript] : []));
const texts = (told: StreamEvent[]) => finals(told).map(({ text }) => text);

/** What was committed is how all of the utterance begins that comes later. */
function assertCommittedOnlyGrows(told: StreamEvent[]): void {
  const committed = new Map<number, string>();
  for (const event of told) {
    if (event.type !== 'interim' && event.type !== 'final') continue;
    const before = committed.get(event.utterance) ?? '';
    const now = event.type === 'interim' ? event.committed : event.transcript.text;
    assert.ok(now.startsWith(before), `${JSON.stringify(before)} became ${JSON.stringify(now)}`);
    committed.set(event.utterance, now);
  }
}

describeEach('live streams with tiny.en', (kind) => {
  let transcriber: BaseTranscriber;
  before(async () => {
    transcriber = await kind.open({ model: 'tiny.en' });
  });
  after(() => transcriber.close());

  async function told(chunks: Iterable<Chunk>, options?: StreamOptions): Promise<StreamEvent[]> {
    const stream = transcriber.createStream(options);
    const all = events(stream);
    await write(stream, chunks);
    stream.end();
    return all;
  }

  /** At once, or as soon as the process has told that looks at the options. */
  async function refusal(options: StreamOptions): Promise<OpuscribeError> {
    try {
      const stream = transcriber.createStream(options);
      assert.ok(kind.isolated, `${JSON.stringify(options)} was taken`);
      return (await once(stream, 'error'))[0];
    } catch (error) {
      return error as OpuscribeError;
    }
  }

  const fails = async (stream: TranscriptionStream, code: string) =>
    assert.rejects(events(stream), { name: 'OpuscribeError', code });

  it('final texts are within 0.5 points of the word error rate of whole recordings', async (t) => {
    const pairs = await Promise.all(
      english.map(async ({ name, transcript }) => {
        const whole = await transcriber.transcribe(packets(name));
        const live = texts(await told(packets(name))).join(' ');
        return { said: transcript, whole: whole.text, live };
      }),
    );
    const whole = wordErrorRate(pairs.map(({ said, whole: heard }) => ({ said, heard })));
    const live = wordErrorRate(pairs.map(({ said, live: heard }) => ({ said, heard })));
    t.diagnostic(`word error rate: live ${live.toFixed(2)} %, whole ${whole.toFixed(2)} %`);
    assert.ok(live <= whole + 0.5, `${live} against ${whole}`);
  });

  it('interim text comes while somebody speaks, and what is committed stays', async () => {
    const stream = transcriber.createStream();
    const all = events(stream);
    await speak(stream, packets('libri_stew'));
    stream.end();
    const live = await all;
    assertCommittedOnlyGrows(live);
    const interims = live.filter((event) => event.type === 'interim');
    assert.ok(interims.length >= 3, `${interims.length} interim events`);
    assert.ok(interims.some(({ committed }) => committed.split(' ').length >= 5));
    const order = live.map(({ type }) => type);
    assert.equal(order[0], 'speech-start');
    assert.equal(order.at(-1), 'final');
    assert.ok(order.lastIndexOf('speech-end') < order.lastIndexOf('final'));
  });

  it('times lie on the timeline of the stream', async () => {
    const live = await told(packets('libri_moses'));
    // Utterances begin about here, after a second of digital silence each (seconds).
    const starts = [1, 6.49, 12.375, 24.12, 28.48, 47.61, 55.115, 66.67, 87.58, 95.69];
    const begun = live.flatMap((event) => (event.type === 'speech-start' ? [event.atMs] : []));
    for (const start of starts) {
      const near = begun.some((atMs) => Math.abs(atMs - start * 1000) < 800);
      assert.ok(near, `no speech begins near ${start} s: ${begun}`);
    }
    let last = 0;
    for (const { segments, speech, durationMs, speechDurationMs, packets: counts } of finals(
      live,
    )) {
      const [{ startMs, endMs } = { startMs: 0, endMs: 0 }] = speech;
      assert.ok(startMs >= last, 'two utterances share audio');
      last = endMs;
      assert.equal(durationMs, speechDurationMs);
      for (const segment of segments) {
        assert.ok(segment.startMs >= startMs - 1 && segment.endMs <= endMs + 1);
      }
      assert.ok((counts?.received ?? 0) > 0);
    }
  });

  it('noise is no utterance', async () => {
    for (const { name } of noise) assert.deepEqual(await told(packets(name)), []);
  });

  it('streams that run at once say what each says alone', async () => {
    // Those of at most 12 s.
    const names = english.flatMap(({ name, durationMs }) => (durationMs < 12_000 ? [name] : []));
    const alone: string[][] = [];
    for (const name of names) alone.push(texts(await told(packets(name), { interim: false })));
    const together = await Promise.all(
      [...names, ...names].map((name) => told(packets(name), { interim: false })),
    );
    for (const [index, live] of together.entries()) {
      assert.deepEqual(texts(live), alone[index % names.length]);
    }
  });

  it('samples are taken as well as packets, at any rate', async () => {
    const pcm = Float32Array.from(wav('jfk'), (sample) => sample / 32768);
    const blocks = [];
    for (let at = 0; at < pcm.length; at += 1000) blocks.push(pcm.slice(at, at + 1000));
    const said = normalize(recording('jfk').transcript);
    assert.deepEqual(normalize(texts(await told(blocks)).join(' ')), said);
    // Two channels of 48 kHz, as an AudioWorklet gives them.
    const wide = blocks.map((block) =>
      Float32Array.from(
        { length: 6 * block.length },
        (_, at) => block[Math.floor(at / 6)] as number,
      ),
    );
    const live = await told(wide, { sampleRate: 48_000, channels: 2 });
    assert.deepEqual(normalize(texts(live).join(' ')), said);
  });

  it('lost packets are null or empty, and counted', async () => {
    const list: Chunk[] = packets('jfk');
    list[100] = null;
    list[300] = Buffer.alloc(0);
    const live = await told(list);
    const lost = finals(live).map((transcript) => transcript.packets?.lost ?? 0);
    assert.equal(
      lost.reduce((sum, count) => sum + count),
      2,
    );
    const burst = await told([...packets('jfk'), ...new Array<null>(20_000).fill(null)]);
    const said = normalize(recording('jfk').transcript);
    assert.deepEqual(normalize(texts(burst).join(' ')), said);
    // Whoever joins without a voice takes the time that this takes.
    const late = await told([...new Array<null>(500).fill(null), ...packets('jfk')]);
    assert.ok((finals(late)[0]?.speech[0]?.startMs ?? 0) >= 9_500);
  });

  it('what was written may be used again at once, also while it waits', async () => {
    const alone = texts(await told(packets('jfk'), { interim: false }));
    const stream = transcriber.createStream({ interim: false });
    const all = events(stream);
    stream.cork();
    const list = packets('jfk').map((packet) => Buffer.from(packet));
    const last = list.pop() as Buffer;
    for (const packet of list) {
      stream.write(packet);
      packet.fill(0xff);
    }
    stream.end(last);
    last.fill(0xff);
    assert.deepEqual(texts(await all), alone);
  });

  it('a live WebM stream is piped through the demuxer', async () => {
    const file = readFileSync(join(__dirname, 'fixtures', 'chromium_timeslice.webm'));
    const blobs = Array.from({ length: Math.ceil(file.length / 900) }, (_, index) =>
      file.subarray(index * 900, (index + 1) * 900),
    );
    const live: StreamEvent[] = [];
    const list: Uint8Array[] = [];
    const into = (array: unknown[]) =>
      new Writable({
        objectMode: true,
        write: (chunk, _, done) => {
          array.push(chunk);
          done();
        },
      });
    const stream = transcriber.createStream({ interim: false });
    const read = async (told: AsyncIterable<StreamEvent>) => {
      for await (const event of told) live.push(event);
    };
    await pipeline(Readable.from(blobs), new OpusDemuxer(), stream, read);
    await pipeline(Readable.from(blobs), new OpusDemuxer(), into(list));
    assert.deepEqual(texts(live), texts(await told(list, { interim: false })));
    assert.ok(texts(live).length > 0);
  });

  it('a reader who is slow makes the writer wait, and loses nothing', async () => {
    const stream = transcriber.createStream({ interim: false });
    const rounds = 20;
    const list = new Array(rounds).fill(packets('jfk')).flat();
    let written = 0;
    const writing = (async () => {
      for (const packet of list) {
        if (!stream.write(packet)) await once(stream, 'drain');
        written += 1;
      }
      stream.end();
    })();
    // Nobody reads: after as many events as may wait, what is written stays where it is.
    for (let before = -1; before !== written || stream.lagMs > 0; await setTimeout(300)) {
      before = written;
    }
    assert.ok(stream.writableNeedDrain);
    assert.ok(written < list.length, 'everything was taken');
    assert.ok(stream.readableLength <= 16);
    const live = await events(stream);
    await writing;
    const utterances = live.flatMap((event) => (event.type === 'final' ? [event.utterance] : []));
    assert.deepEqual(utterances, [...utterances.keys()]);
    assert.ok(utterances.length >= rounds, `${utterances.length} utterances`);
    const ends = texts(live).filter((text) => /for your country/i.test(text));
    assert.equal(ends.length, rounds);
  });

  it('what is being said is not behind, until its speaker has ended', async () => {
    const stream = transcriber.createStream({ interim: false });
    await write(stream, packets('jfk').slice(0, 100));
    const started = (await once(stream, 'data')) as [StreamEvent];
    assert.equal(started[0].type, 'speech-start');
    let isOver = false;
    stream.on('data', ({ type }: StreamEvent) => {
      isOver ||= type === 'speech-end';
    });
    while (stream.lagMs > 0) {
      assert.ok(!isOver, 'behind as long as somebody spoke');
      await setTimeout(20);
    }
    stream.end();
    await once(stream, 'end');
    assert.ok(isOver);
  });

  it('a pause in which nothing is written ends the utterance', async () => {
    const stream = transcriber.createStream();
    await write(stream, packets('jfk').slice(0, 100));
    const live: StreamEvent[] = [];
    for await (const event of stream) {
      live.push(event);
      if (event.type === 'final') break;
    }
    assert.match(texts(live)[0] as string, /my fellow American/);
    assert.ok(stream.destroyed);
  });

  it('speech that goes on after such a pause is told to begin and to end, too', async () => {
    const stream = transcriber.createStream({ interim: false });
    const list = packets('jfk');
    await write(stream, list.slice(0, 100));
    const live: string[] = [];
    let finals = 0;
    for await (const { type } of stream) {
      if (type !== 'final') live.push(type);
      else if (++finals === 2) break;
      else await write(stream, list.slice(100, 200));
    }
    assert.ok(live.length > 2, live.join());
    live.forEach((type, index) => {
      assert.equal(type, index % 2 === 0 ? 'speech-start' : 'speech-end', live.join());
    });
  });

  it('abort, destroy and close end a stream, each with its reason', async () => {
    const controller = new AbortController();
    const aborted = transcriber.createStream({ signal: controller.signal });
    await write(aborted, packets('jfk').slice(0, 200));
    controller.abort(new Error('enough'));
    await assert.rejects(events(aborted), /enough/);
    const without = AbortSignal.abort(0);
    const stopped = transcriber.createStream({ signal: without });
    await assert.rejects(events(stopped), { name: 'AbortError' });
    const before = AbortSignal.abort();
    await assert.rejects(events(transcriber.createStream({ signal: before })), {
      name: 'AbortError',
    });
    const destroyed = transcriber.createStream();
    destroyed.destroy(new Error('no more'));
    await assert.rejects(events(destroyed), /no more/);

    const own = await kind.open({ model: 'tiny.en' });
    const open = own.createStream();
    const error = once(open, 'error');
    await write(open, packets('jfk').slice(0, 200));
    await own.close();
    assert.equal(((await error)[0] as OpuscribeError).code, 'ERR_CLOSED');
    assert.throws(() => own.createStream(), { code: 'ERR_CLOSED' });
  });

  it('draining finishes what was written, and the stream ends as any does', async () => {
    const own = await kind.open({ model: 'tiny.en' });
    const stream = own.createStream();
    await write(stream, packets('jfk'));
    await own.close({ drain: true });
    // Refused, but not before everything has been read.
    const refused = new Promise((resolve) => stream.write(packets('jfk')[0], resolve));
    const failed = once(stream, 'error');
    const told: StreamEvent[] = [];
    stream.on('data', (event) => told.push(event));
    assert.equal(((await refused) as OpuscribeError).code, 'ERR_CLOSED');
    await failed;
    assert.match(texts(told).join(' '), /your country can do for you/i);

    // More than the engine takes at once: the rest waits in the stream.
    const behind = await kind.open({ model: 'tiny.en' });
    const full = behind.createStream({ interim: false });
    const ends = events(full);
    for (let round = 0; round < 5; round += 1) {
      for (const packet of packets('jfk')) full.write(packet);
    }
    assert.ok(full.writableNeedDrain);
    await behind.close({ drain: true });
    const said = texts(await ends).filter((text) => /for your country/i.test(text));
    assert.equal(said.length, 5);

    const other = await kind.open({ model: 'tiny.en' });
    const ended = other.createStream();
    await write(ended, packets('libri_waiting'));
    await other.close({ drain: true });
    const all: StreamEvent[] = [];
    ended.on('data', (event) => all.push(event));
    await once(ended, 'close');
    assert.match(texts(all).join(' '), /full hour/);
    assert.equal(other.stats().streams, 0);
  });

  it('what was told before a failure is read before it', async () => {
    const own = await kind.open({ model: 'tiny.en' });
    const stream = own.createStream({ interim: false });
    await write(stream, packets('jfk').slice(0, 100));
    const live: StreamEvent[] = [];
    const reading = (async () => {
      for await (const event of stream) {
        live.push(event);
        if (event.type !== 'speech-end') continue;
        // Then the text has been told, and waits here.
        for await (const _ of setInterval(10)) if (stream.lagMs === 0) break;
        await own.close();
      }
    })();
    await assert.rejects(reading, { code: 'ERR_CLOSED' });
    assert.deepEqual(
      live.map(({ type }) => type),
      ['speech-start', 'speech-end', 'final'],
    );
  });

  it('ends where nothing is given to end with, as other streams do', async () => {
    const stream = transcriber.createStream();
    const all = events(stream);
    stream.write(new Float32Array(1600));
    stream.end(null);
    assert.deepEqual(await all, []);
  });

  it('a write that waits is told when the stream is destroyed', async () => {
    const stream = transcriber.createStream({ interim: false });
    const minutes = new Array(10).fill(packets('jfk')).flat();
    const callbacks = minutes.map(
      (packet) => new Promise((resolve) => stream.write(packet, resolve)),
    );
    stream.destroy();
    await Promise.all(callbacks);
  });

  it('what is recorded a second at a time is heard as one', async () => {
    const list = packets('libri_waiting');
    const alone = texts(await told(list, { interim: false }));
    const stream = transcriber.createStream({ interim: false });
    const all = events(stream);
    for (let at = 0; at < list.length; at += 75) {
      for (const packet of list.slice(at, at + 75)) stream.write(packet);
      // 1.5 s, and late.
      await setTimeout(1600);
    }
    stream.end();
    assert.deepEqual(texts(await all), alone);
  });

  it('what is wrong with one stream is told there, and no other hears of it', async () => {
    const good = transcriber.createStream();
    const all = events(good);
    const spoiled: Array<[string, unknown[]]> = [
      ['ERR_INVALID_ARGUMENT', ['a string']],
      ['ERR_INVALID_ARGUMENT', [{}]],
      ['ERR_INVALID_ARGUMENT', [detached()]],
      ['ERR_INVALID_ARGUMENT', [new Float32Array([Number.NaN])]],
      ['ERR_INVALID_ARGUMENT', [packets('jfk')[0], new Float32Array(160)]],
      ['ERR_INVALID_ARGUMENT', [new Uint8Array(100_000)]],
      ['ERR_INVALID_ARGUMENT', [new Float32Array(161)]],
      ['ERR_INVALID_PACKET', new Array(300).fill(Buffer.from([0xff, 0x00]))],
    ];
    for (const [code, chunks] of spoiled) {
      const stream = transcriber.createStream({ channels: 2 });
      const failed = fails(stream, code);
      for (const chunk of chunks) stream.write(chunk);
      await failed;
    }
    await write(good, packets('jfk'));
    good.end();
    assert.match(texts(await all).join(' '), /your country can do for you/i);
  });

  it('options that cannot be are refused with a code', async () => {
    const refused: unknown[] = [
      null,
      'fast',
      { vad: false },
      { vad: { threshold: 2 } },
      { vad: { maxSpeechDurationS: 0 } },
      { sampleRate: 1 },
      { channels: 0 },
      { channels: 1.5 },
      { beamSize: 99 },
      { language: 'de' },
      { signal: 'stop' },
      { interim: 'yes' },
    ];
    for (const options of refused) {
      const { name, code } = await refusal(options as StreamOptions);
      assert.deepEqual(
        [name, code],
        ['OpuscribeError', 'ERR_INVALID_ARGUMENT'],
        JSON.stringify(options),
      );
    }
  });

  it('stats tell how many streams are open and how far behind they are', async () => {
    const before = transcriber.stats().streams;
    const stream = transcriber.createStream();
    const all = events(stream);
    await write(stream, packets('jfk'));
    assert.equal(transcriber.stats().streams, before + 1);
    // Another process tells of it a little later.
    for await (const _ of setInterval(10)) if (transcriber.stats().streamLagMs > 1000) break;
    assert.ok(transcriber.stats().streamLagMs <= 31_000);
    stream.end();
    await all;
    assert.deepEqual([transcriber.stats().streams, transcriber.stats().streamLagMs], [before, 0]);
  });

  it('an empty stream ends, and words have times when they are asked for', async () => {
    assert.deepEqual(await told([]), []);
    const live = finals(await told(packets('jfk'), { wordTimestamps: true }));
    const words = live.flatMap(({ segments }) => segments.flatMap(({ words }) => words ?? []));
    const last = words.at(-1);
    assert.match(last?.text ?? '', /country/);
    assert.ok((last?.startMs ?? 0) > 9500 && (last?.endMs ?? 0) < 11_000, JSON.stringify(last));
  });
});
