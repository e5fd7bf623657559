// What a fault in a stage does to the built addon. Needs an addon with the feature `faults`, which
// `npm test` builds; a job whose id is `fault:decode`, `fault:vad` or `fault:gpu` panics there.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type LogRecord, Transcriber } from 'opuscribe';
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
