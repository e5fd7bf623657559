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
