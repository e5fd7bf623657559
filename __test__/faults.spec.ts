// What a fault in a stage does to the built addon. Needs an addon with the feature `faults`, which
// `npm test` builds: a job whose id is `fault:decode`, `fault:vad` or `fault:gpu` panics there, and
// one whose id is `fault:abort` or `fault:segfault` ends the process as native code does.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type LogRecord, splitPackets, Transcriber } from 'opuscribe';
import { type CrashReport, IsolatedTranscriber } from 'opuscribe/isolated';
import { packets } from './fixtures';

const list = packets('libri_waiting');
const skip = process.env.OPUSCRIBE_FAULTS === undefined && 'the addon has no faults on purpose';

describe('a fault in a stage', { skip }, () => {
  for (const stage of ['decode', 'vad', 'gpu']) {
    it(`fails exactly the job that the ${stage} stage held, and is logged with its place`, async () => {
      const records: LogRecord[] = [];
      const transcriber = await Transcriber.open({
        model: 'tiny.en',
        onLog: (record) => records.push(record),
      });
      const { text } = await transcriber.transcribe(list);
      const id = `fault:${stage}`;
      const settled = await Promise.allSettled([
        transcriber.transcribe(list),
        transcriber.transcribe(list, { id }),
        transcriber.transcribe(list),
        transcriber.transcribe(list, { id }),
        transcriber.transcribe(list),
      ]);
      const outcomes = settled.map((job) =>
        job.status === 'fulfilled' ? job.value.text : job.reason.code,
      );
      assert.deepEqual(outcomes, [text, 'ERR_WORKER_FAILED', text, 'ERR_WORKER_FAILED', text]);
      const told = records.find(({ message }) => /fault\.rs:\d+/.test(message));
      assert.equal(told?.level, 'error');
      assert.equal(told?.id, id);
      // A model is rebuilt for the next job, and decoding has none.
      assert.equal((await transcriber.transcribe(list)).text, text);
      assert.equal(transcriber.stats().restarts, stage === 'decode' ? 0 : 2);
      assert.equal(transcriber.stats().failed.ERR_WORKER_FAILED, 2);
      await transcriber.close({ drain: true });
    });
  }

  it('caller left waiting after a worker died', async () => {
    const transcriber = await Transcriber.open({ model: 'tiny.en' });
    const ids = ['fault:gpu', 'fault:vad', 'fault:decode'];
    const jobs = Array.from({ length: 12 }, (_, job) =>
      transcriber.transcribe(list, { id: ids[job % 4] ?? `good-${job}` }),
    );
    const settled = await Promise.allSettled(jobs);
    settled.forEach(({ status }, job) => {
      assert.equal(status, job % 4 === 3 ? 'fulfilled' : 'rejected', `job ${job}`);
    });
    await transcriber.close();
  });

  it('that happens every time closes the transcriber, which says why', async () => {
    const records: LogRecord[] = [];
    const transcriber = await Transcriber.open({
      model: 'tiny.en',
      onLog: (record) => records.push(record),
    });
    const jobs = Array.from({ length: 8 }, () => transcriber.transcribe(list, { id: 'fault:gpu' }));
    for (const { status, reason } of (await Promise.allSettled(jobs)) as PromiseRejectedResult[]) {
      assert.deepEqual([status, reason.code], ['rejected', 'ERR_WORKER_FAILED']);
    }
    await assert.rejects(transcriber.transcribe(list), {
      code: 'ERR_CLOSED',
      message: /closed itself: the stage opuscribe-gpu failed 5 times in a row/,
    });
    assert.ok(records.some(({ message }) => /closes itself/.test(message)));
    await transcriber.close();
    assert.deepEqual([transcriber.stats().queued, transcriber.stats().running], [0, 0]);
  });
});

describe('an engine that closes itself in a worker process', { skip }, () => {
  it('costs the jobs that broke it, and the next process serves the others', async () => {
    const crashes: CrashReport[] = [];
    const transcriber = await IsolatedTranscriber.open({
      model: 'tiny.en',
      crashReports: false,
      onCrash: (report) => crashes.push(report),
    });
    const ids = [...Array.from({ length: 7 }, () => 'fault:gpu'), 'sound'];
    const settled = await Promise.allSettled(ids.map((id) => transcriber.transcribe(list, { id })));
    const outcomes = settled.map((job) =>
      job.status === 'fulfilled' ? job.value.id : job.reason.code,
    );
    assert.deepEqual(outcomes, [...Array.from({ length: 7 }, () => 'ERR_WORKER_FAILED'), 'sound']);
    assert.deepEqual((await transcriber.transcribe(list, { id: 'another' })).id, 'another');
    await transcriber.close({ drain: true });
    assert.equal(crashes.length, 1);
    assert.match(crashes[0]?.explanation as string, /closed itself.*opuscribe-gpu failed 5 times/);
  });
});

describe('a fault in native code', { skip }, () => {
  const ends = [
    ['abort', 'SIGABRT'],
    ['segfault', 'SIGSEGV'],
  ] as const;
  const isWindows = process.platform === 'win32' && 'Windows has no signals';
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'opuscribe-test-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  for (const [fault, signal] of ends) {
    it(`(${fault}) costs the job that has it, and no other`, { skip: isWindows }, async () => {
      const crashes: CrashReport[] = [];
      const transcriber = await IsolatedTranscriber.open({
        model: 'tiny.en',
        crashReports: { folder, saveInput: true },
        onCrash: (report) => crashes.push(report),
      });
      const { text } = await transcriber.transcribe(list);
      const id = `fault:${fault}`;
      const ids = ['one', 'two', id, 'four', `${id} again`, 'six', 'seven'];
      const poisoned: (Buffer | null)[] = [...list];
      poisoned[7] = null;
      const settled = await Promise.allSettled(
        ids.map((id) => transcriber.transcribe(id.startsWith('fault') ? poisoned : list, { id })),
      );
      const outcomes = settled.map((job) =>
        job.status === 'fulfilled' ? job.value.text : `${job.reason.code} ${job.reason.signal}`,
      );
      const poison = `ERR_WORKER_CRASHED ${signal}`;
      assert.deepEqual(outcomes, [text, text, poison, text, poison, text, text]);
      assert.equal((await transcriber.transcribe(list)).text, text);
      const { crashes: counted, failed } = transcriber.stats();
      // Once with others, and then each of the two alone.
      assert.equal(counted, 3);
      assert.equal(failed.ERR_WORKER_CRASHED, 2);
      await transcriber.close({ drain: true });
      const alone = crashes.filter(({ jobs }) => jobs.some(({ rejected }) => rejected));
      assert.deepEqual(
        alone.map(({ jobs }) => jobs.map((job) => job.id)),
        [[id], [`${id} again`]],
      );
      // What is saved is the input, to try again with.
      const saved = readFileSync(alone[0]?.jobs[0]?.input as string);
      const again = splitPackets(saved, { lengthBytes: 4, sequence: 'before' });
      assert.deepEqual(again, poisoned);
      assert.ok(readdirSync(folder).length > 0);
    });
  }

  it('in a live stream ends that stream, with what is to be written again', {
    skip: isWindows,
  }, async () => {
    const transcriber = await IsolatedTranscriber.open({ model: 'tiny.en', crashReports: false });
    const [poisoned, good] = ['fault:segfault', 'good'].map((id) =>
      transcriber.createStream({ id }),
    );
    assert.ok(poisoned && good);
    const failed = once(poisoned, 'error');
    const texts: string[] = [];
    good.on('data', (event) => {
      if (event.type === 'final') texts.push(event.transcript.text);
    });
    for (const packet of list) {
      poisoned.write(packet);
      good.write(packet);
    }
    poisoned.end();
    good.end();
    const [error] = await failed;
    assert.deepEqual([error.code, error.signal], ['ERR_WORKER_CRASHED', 'SIGSEGV']);
    assert.ok(error.resumeFromMs >= 0);
    assert.match((await transcriber.transcribe(list)).text, /full hour/);
    await transcriber.close({ drain: true });
  });
});
