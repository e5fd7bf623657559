import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { Transcriber } from 'opuscribe';
import { packets } from './fixtures';

const PACKETS_PER_SECOND = 50;

/** Thirty-two jobs of 1 to 40 s, cut out of real speech so that none is like another. */
function mixedJobs(): Buffer[][] {
  const long = packets('libri_moses');
  const cuts = Array.from({ length: 26 }, (_, index) => {
    const start = ((index * 37) % 90) * PACKETS_PER_SECOND;
    const seconds = [1, 2, 3, 5, 8, 13, 4, 2, 6, 1][index % 10] as number;
    return long.slice(start, start + seconds * PACKETS_PER_SECOND);
  });
  const whole = ['jfk', 'lj050', 'libri_stew', 'libri_waiting', 'wind'].map(packets);
  return [...cuts, ...whole, long.slice(0, 40 * PACKETS_PER_SECOND)];
}

/** Ways in which clients and networks damage a good list. */
const DAMAGE: ((list: Buffer[], seed: number) => Array<Uint8Array | null>)[] = [
  // Not Opus at all.
  (list) => list.map(() => Buffer.of(0x0b, 0x00)),
  // Some packets lost, in bursts.
  (list, seed) => list.map((packet, index) => ((index + seed) % 20 < 4 ? null : packet)),
  // Bits that flipped on the way.
  (list, seed) =>
    list.map((packet, index) => {
      const damaged = Buffer.from(packet);
      if (index % 5 === 0) {
        const at = (seed * 31 + index) % damaged.length;
        damaged.writeUInt8(damaged.readUInt8(at) ^ (1 << (seed % 8)), at);
      }
      return damaged;
    }),
  // Packets cut off.
  (list, seed) => list.map((packet) => packet.subarray(0, 1 + (seed % packet.length))),
  // Noise with a table of contents that could be anything.
  (list, seed) =>
    list.map((packet, index) =>
      Buffer.from(packet.map((_, at) => ((at + 1) * 7919 * (index + seed + 1)) >> 3)),
    ),
  // The longest packets there are.
  (list) => list.map(() => Buffer.alloc(61_000, 0xff)),
  // All lost, and nothing at all.
  (list) => list.map(() => null),
  () => [],
];

/** The same permutation in every run. */
function shuffled(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index).sort(
    (a, b) => ((a * 7919) % 101) - ((b * 7919) % 101),
  );
}

describe('many jobs at once', () => {
  let transcriber: Transcriber;
  before(async () => {
    transcriber = await Transcriber.open({ model: 'tiny.en' });
  });
  after(() => transcriber.close());

  it('text does not depend on what ran before: 32 at once, in any order, as one after another', async () => {
    const jobs = mixedJobs();
    const alone: string[] = [];
    for (const job of jobs) alone.push((await transcriber.transcribe(job)).text);
    assert.ok(alone.filter((text) => text !== '').length > 25);
    for (const order of [jobs.map((_, index) => index).reverse(), shuffled(jobs.length)]) {
      const texts = await Promise.all(
        order.map(async (index) => {
          const { text } = await transcriber.transcribe(jobs[index] as Buffer[]);
          return [index, text] as const;
        }),
      );
      for (const [index, text] of texts) assert.equal(text, alone[index], `job ${index}`);
    }
  });

  it('text does not depend on what ran before: beams and temperatures draw anew every time', async () => {
    // So short and so cut that what is drawn decides.
    const cut = packets('libri_waiting').slice(134, 198);
    for (const options of [{ beamSize: 4 }, { temperature: 1 }]) {
      const texts = new Set<string>();
      for (let round = 0; round < 4; round += 1) {
        texts.add((await transcriber.transcribe(cut, options)).text);
        await transcriber.transcribe(packets('libri_waiting'), options);
      }
      assert.equal(texts.size, 1, [...texts].join(' | '));
    }
  });

  it('200 at once, half of them damaged in different ways: all settle, and no good one is touched', async () => {
    const many = await Transcriber.open({ model: 'tiny.en', maxQueue: 200 });
    const good = mixedJobs().filter((job) => job.length <= 4 * PACKETS_PER_SECOND);
    const alone: string[] = [];
    for (const job of good) alone.push((await many.transcribe(job)).text);
    assert.ok(good.length >= 10);

    const short = packets('libri_waiting').slice(0, 2 * PACKETS_PER_SECOND);
    const jobs = shuffled(200).map(async (number) => {
      if (number % 2 === 0) {
        const which = (number / 2) % good.length;
        const { text } = await many.transcribe(good[which] as Buffer[]);
        assert.equal(text, alone[which], `good job ${number}`);
        return 'good';
      }
      const damage = DAMAGE[(number >> 1) % DAMAGE.length];
      assert.ok(damage);
      const ended = number % 3 === 0 ? { signal: AbortSignal.timeout(number * 5) } : {};
      const file = number % 5 === 0 ? Buffer.concat(short).subarray(number) : undefined;
      const list = damage(short, number);
      try {
        await (file ? many.transcribeFile(file, ended) : many.transcribe(list, ended));
        return 'transcript';
      } catch (error) {
        const { code, name } = error as { code?: string; name: string };
        return name === 'TimeoutError' ? name : code;
      }
    });
    const outcomes = new Map<string | undefined, number>();
    for (const outcome of await Promise.all(jobs)) {
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    const expected = ['good', 'transcript', 'ERR_INVALID_PACKET', 'ERR_UNSUPPORTED_MEDIA'];
    for (const outcome of expected) assert.ok(outcomes.has(outcome), outcome);
    for (const outcome of outcomes.keys()) {
      assert.ok([...expected, 'TimeoutError'].includes(outcome ?? ''), outcome);
    }
    assert.equal(outcomes.get('good'), 100);
    await many.close({ drain: true });
    assert.deepEqual([many.stats().queued, many.stats().running, many.stats().restarts], [0, 0, 0]);
  });

  it('an interactive job passes a batch file at a window boundary', async () => {
    const finished: string[] = [];
    let windowDone = () => {};
    const firstWindow = new Promise<void>((resolve) => {
      windowDone = resolve;
    });
    const batch = transcriber
      .transcribe(packets('libri_moses'), {
        priority: 'batch',
        // Others are left: the file has five.
        onProgress: (fraction) => fraction > 0.1 && windowDone(),
      })
      .then(() => finished.push('batch'));
    await firstWindow;
    await transcriber.transcribe(packets('libri_waiting')).then(() => finished.push('interactive'));
    await batch;
    assert.deepEqual(finished, ['interactive', 'batch']);
  });
});

describe('many engines at once', () => {
  it('two transcribers in one process work at once', async () => {
    const [one, two] = await Promise.all([
      Transcriber.open({ model: 'tiny.en', threads: 1 }),
      Transcriber.open({ model: 'tiny.en', threads: 1 }),
    ]);
    const [first, second] = await Promise.all([
      one.transcribe(packets('jfk')),
      two.transcribe(packets('libri_waiting')),
    ]);
    assert.match(first.text, /your country/);
    assert.match(second.text, /full hour/);
    await Promise.all([one.close(), two.close()]);
  });

  it('each of two worker threads has its own, beside the main thread', async () => {
    const own = await Transcriber.open({ model: 'tiny.en' });
    const texts = await Promise.all([
      inWorker('jfk'),
      inWorker('libri_waiting'),
      own.transcribe(packets('lj050')).then(({ text }) => text),
    ]);
    assert.match(texts[0] as string, /your country/);
    assert.match(texts[1] as string, /full hour/);
    assert.match(texts[2] as string, /formal review/);
    await own.close();
  });
});

describe('the event loop', () => {
  it('stays free while a model loads and ten jobs run', async (t) => {
    const free = await ticksDuring(async () => {
      const transcriber = await Transcriber.open({ model: 'tiny.en' });
      await Promise.all(
        Array.from({ length: 10 }, () => transcriber.transcribe(packets('libri_waiting'))),
      );
      await transcriber.close();
    });
    const blocked = await ticksDuring(async () => {
      const end = performance.now() + free.ms;
      while (performance.now() < end);
    });
    t.diagnostic(`${free.ticks} ticks in ${free.ms.toFixed()} ms, ${blocked.ticks} when blocked`);
    assert.ok(free.ticks > 20 * Math.max(1, blocked.ticks), `${free.ticks} ticks`);
  });
});

async function ticksDuring(work: () => Promise<void>): Promise<{ ticks: number; ms: number }> {
  let ticks = 0;
  const timer = setInterval(() => {
    ticks += 1;
  }, 2);
  const started = performance.now();
  await work();
  clearInterval(timer);
  return { ticks, ms: performance.now() - started };
}

function inWorker(name: string): Promise<string> {
  const source = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { Transcriber } = require('opuscribe');
    Transcriber.open({ model: 'tiny.en' }).then(async (transcriber) => {
      parentPort.postMessage((await transcriber.transcribe(workerData)).text);
      await transcriber.close();
    });`;
  return new Promise((resolve, reject) => {
    const worker = new Worker(source, { eval: true, workerData: packets(name), execArgv: [] });
    let text = '';
    worker.on('message', (message: string) => {
      text = message;
    });
    worker.on('error', reject);
    worker.on('exit', (code) => (code === 0 ? resolve(text) : reject(new Error(`exit ${code}`))));
  });
}
