// What only an isolated transcriber promises: its processes end in every way, and nobody notices.
// The API itself is tested with that of the other, see kinds.ts.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { IsolatedTranscriber } from 'opuscribe/isolated';
import { packets, recording } from './fixtures';
import { gone, kill, pids, started, Watched } from './watched';
import { wordErrorRate } from './wer';

const root = join(__dirname, '..');
const short = packets('libri_waiting');
const long = packets('libri_moses');
const windows = process.platform === 'win32' && 'Windows has no signals';

/** The worker that was started last by this process, as soon as there is one. */
async function starting(): Promise<number> {
  for (;;) {
    const all = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' });
    for (const line of all.split('\n')) {
      const [pid, parent] = line.trim().split(/ +/).map(Number);
      if (parent === process.pid && line.includes('worker_main')) return pid as number;
    }
    await setImmediate();
  }
}

describe('a worker process', () => {
  let texts: { short: string; long: string };
  before(async () => {
    const transcriber = await new Watched().open();
    texts = {
      short: (await transcriber.transcribe(short)).text,
      long: (await transcriber.transcribe(long)).text,
    };
    await transcriber.close();
    assert.ok(
      wordErrorRate([{ said: recording('libri_waiting').transcript, heard: texts.short }]) < 15,
    );
  });

  for (const signal of ['SIGKILL', 'SIGSEGV', 'SIGABRT'] as const) {
    it(`that ends by ${signal} is replaced, and its jobs run again`, {
      skip: windows,
    }, async () => {
      const watched = new Watched();
      const transcriber = await watched.open();
      const jobs = [long, short, short].map((list) => transcriber.transcribe(list));
      await started(transcriber);
      kill(transcriber, signal);
      const heard = (await Promise.all(jobs)).map(({ text }) => text);
      assert.deepEqual(heard, [texts.long, texts.short, texts.short]);
      await watched.until(() => watched.crashes.length === 1);
      const [crash] = watched.crashes;
      assert.deepEqual(
        [crash?.signal, crash?.exitCode, crash?.phase, crash?.hung],
        [signal, null, 'serving', false],
      );
      assert.match(crash?.explanation ?? '', new RegExp(signal));
      assert.ok(crash?.jobs.every(({ crashes, rejected }) => crashes === 1 && !rejected));
      assert.deepEqual(transcriber.stats().crashes, 1);
      await transcriber.close();
    });
  }

  it('that answers no more is killed and replaced', { skip: windows }, async () => {
    const watched = new Watched();
    const transcriber = await watched.open({ heartbeatTimeoutMs: 2000 });
    const job = transcriber.transcribe(short);
    await started(transcriber);
    const [pid] = pids(transcriber);
    kill(transcriber, 'SIGSTOP');
    assert.equal((await job).text, texts.short);
    await watched.until(() => watched.crashes.length === 1);
    assert.equal(watched.crashes[0]?.hung, true);
    await gone(pid as number);
    await transcriber.close();
  });

  it('tells every segment once, and progress that never falls, across a crash', async () => {
    const watched = new Watched();
    const transcriber = await watched.open();
    const segments: string[] = [];
    const progress: number[] = [];
    const transcript = await transcriber.transcribe(long, {
      onSegment: ({ text }) => segments.push(text),
      onProgress: (share) => {
        progress.push(share);
        if (watched.crashes.length === 0 && segments.length > 0) kill(transcriber);
      },
    });
    assert.equal(transcript.text, texts.long);
    assert.deepEqual(
      segments,
      transcript.segments.map(({ text }) => text),
    );
    assert.deepEqual(
      progress,
      [...progress].sort((a, b) => a - b),
    );
    assert.ok(transcriber.stats().crashes >= 1);
    await transcriber.close();
  });

  it('that crashes twice under a job is not given a third chance with it', async () => {
    const watched = new Watched();
    const transcriber = await watched.open();
    const poisonous = transcriber.transcribe(long, { id: 'unlucky', initialPrompt: 'Moses.' });
    const others = [short, short].map((list) => transcriber.transcribe(list));
    let killed = 0;
    const again = async () => {
      await started(transcriber);
      kill(transcriber);
      killed += 1;
      await watched.until(() => watched.crashes.length === killed);
    };
    await again();
    await again();
    const error = await poisonous.then(
      () => assert.fail('it was given a third chance'),
      (reason) => reason,
    );
    const crash = watched.crashes[1];
    assert.deepEqual(
      [error.name, error.code, error.signal, error.crashId],
      ['OpuscribeError', 'ERR_WORKER_CRASHED', 'SIGKILL', crash?.id],
    );
    assert.match(error.message, /it was running at 2 crashes of a worker process/);
    const jobs = crash?.jobs.map(({ id, crashes, rejected }) => ({ id, crashes, rejected }));
    assert.deepEqual(jobs, [{ id: 'unlucky', crashes: 2, rejected: true }], 'it was alone');
    assert.deepEqual(crash?.jobs[0]?.options, { initialPromptLength: 6 });
    for (const job of others) assert.equal((await job).text, texts.short);
    assert.equal(transcriber.stats().failed.ERR_WORKER_CRASHED, 1);
    await transcriber.close();
  });

  it('may end before it is ready', { skip: windows }, async () => {
    const watched = new Watched();
    const opening = watched.open();
    const pid = await starting();
    process.kill(pid, 'SIGKILL');
    const transcriber = await opening;
    assert.notEqual(pids(transcriber)[0], pid);
    await watched.until(() => watched.crashes.length === 1);
    assert.equal(watched.crashes[0]?.phase, 'starting');
    assert.equal((await transcriber.transcribe(short)).text, texts.short);
    await transcriber.close();
  });

  it('may end while it is being closed, or hang', { skip: windows }, async () => {
    for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
      const watched = new Watched();
      const transcriber = await watched.open({ heartbeatTimeoutMs: 2000 });
      const [pid] = pids(transcriber);
      const job = transcriber.transcribe(long);
      await started(transcriber);
      const rejected = assert.rejects(job, { code: 'ERR_CLOSED' });
      const closing = transcriber.close();
      process.kill(pid as number, signal);
      await rejected;
      await closing;
      await gone(pid as number);
      assert.deepEqual(watched.crashes, []);
    }
  });

  it('too many crashes are not repaired any more, until it is tried again', async () => {
    const watched = new Watched();
    const transcriber = await watched.open({ circuit: { maxCrashes: 2, cooldownMs: 100 } });
    const jobs = [long, short, short, short, short, short].map((list) =>
      transcriber.transcribe(list),
    );
    const stream = transcriber.createStream();
    const failed = once(stream, 'error');
    for (let crashes = 1; crashes <= 2; crashes += 1) {
      await started(transcriber);
      kill(transcriber);
      await watched.until(() => watched.crashes.length === crashes);
    }
    for (const { status, reason } of (await Promise.allSettled(jobs)) as PromiseRejectedResult[]) {
      assert.deepEqual([status, reason.code], ['rejected', 'ERR_WORKER_CRASHED']);
    }
    const [error] = await failed;
    assert.deepEqual([error.code, error.resumeFromMs], ['ERR_WORKER_CRASHED', 0]);
    const refused = await transcriber.transcribe(short).catch((reason) => reason);
    assert.equal(refused.code, 'ERR_WORKER_CRASHED');
    assert.match(refused.message, /too many worker processes crashed.*SIGKILL/);
    assert.ok(refused.retryAfterMs > 0 && refused.retryAfterMs <= 100);
    assert.throws(() => transcriber.createStream(), { code: 'ERR_WORKER_CRASHED' });
    // Nothing is started before somebody asks.
    assert.deepEqual(
      transcriber.stats().workers.map(({ state }) => state),
      ['waiting'],
    );
    let text: string | undefined;
    while (text === undefined) {
      text = await transcriber.transcribe(short).then(
        (transcript) => transcript.text,
        () => undefined,
      );
    }
    assert.equal(text, texts.short);
    await transcriber.close();
  });

  it('that has crashed too often leaves its work to the others, until it is tried again', async () => {
    const watched = new Watched();
    const circuit = { maxCrashes: 1, cooldownMs: 100 };
    const transcriber = await watched.open({ workers: 2, circuit });
    const states = () => transcriber.stats().workers.map(({ state }) => state);
    const stream = transcriber.createStream();
    const heard: string[] = [];
    stream.on('data', (event) => event.type === 'final' && heard.push(event.transcript.text));
    const ended = once(stream, 'end');
    for (const packet of short.slice(0, 100)) stream.write(packet);
    const at = transcriber.stats().workers.findIndex(({ streams }) => streams === 1);
    process.kill(transcriber.stats().workers[at]?.pid as number, 'SIGKILL');
    await watched.until(() => watched.crashes.length === 1);
    assert.deepEqual(states().sort(), ['serving', 'waiting']);
    for (const packet of short.slice(100)) stream.write(packet);
    stream.end();
    await ended;
    const said = recording('libri_waiting').transcript;
    assert.ok(wordErrorRate([{ said, heard: heard.join(' ') }]) < 15, heard.join(' '));
    while (states()[at] !== 'serving') await transcriber.transcribe(short);
    await transcriber.close();
  });

  it('is replaced after so many jobs, and when it has grown', async () => {
    for (const options of [{ recycleAfterJobs: 2 }, { recycleAboveRssMb: 1 }]) {
      const watched = new Watched();
      const transcriber = await watched.open(options);
      const [first] = pids(transcriber);
      const jobs = Array.from({ length: 5 }, () => transcriber.transcribe(short));
      for (const job of jobs) assert.equal((await job).text, texts.short);
      const restarts = () => transcriber.stats().workers[0]?.restarts ?? 0;
      await watched.until(() => restarts() >= 1);
      await watched.until(() => transcriber.stats().workers[0]?.state === 'serving');
      assert.notEqual(pids(transcriber)[0], first);
      assert.deepEqual(watched.crashes, []);
      assert.equal(transcriber.stats().completed, 5);
      await transcriber.close();
    }
  });

  it('shares the queue with others, and each of them may crash', async () => {
    const watched = new Watched();
    const transcriber = await watched.open({ workers: 2, threads: 1 });
    const jobs = Array.from({ length: 10 }, () => transcriber.transcribe(short));
    await started(transcriber);
    const running = transcriber.stats().workers.map((worker) => worker.jobs);
    assert.ok(
      running.every((jobs) => jobs > 0),
      `${running}`,
    );
    kill(transcriber);
    for (const job of jobs) assert.equal((await job).text, texts.short);
    await watched.until(() => watched.crashes.length === 2);
    await transcriber.close();
  });

  it('gets what the application gives it of its environment', async () => {
    const env = { OPUSCRIBE_CPU_LEVEL: 'x86-64-v3' };
    const transcriber = await new Watched().open({ env });
    assert.equal(
      process.arch !== 'x64' || /x86-64-v4/.test(transcriber.info.device),
      process.arch !== 'x64',
    );
    await transcriber.close();
  });

  it('an interactive job passes a batch file that is under way', async () => {
    const transcriber = await new Watched().open();
    const order: string[] = [];
    const batch = [long, long].map((list, index) =>
      transcriber.transcribe(list, { priority: 'batch' }).then(() => order.push(`batch ${index}`)),
    );
    await started(transcriber);
    await transcriber.transcribe(short).then(() => order.push('interactive'));
    await Promise.all(batch);
    assert.equal(order[0], 'interactive');
    await transcriber.close();
  });

  it('has room as soon as a job is given up, whatever its process still holds', async () => {
    const transcriber = await new Watched().open({ maxQueue: 1 });
    for (let round = 0; round < 5; round += 1) {
      const controller = new AbortController();
      const { signal } = controller;
      const job = assert.rejects(transcriber.transcribe(long, { signal }), { name: 'AbortError' });
      await started(transcriber);
      controller.abort();
      const next = transcriber.transcribe(short);
      await assert.rejects(transcriber.transcribe(short), { code: 'ERR_QUEUE_FULL' });
      await job;
      assert.equal((await next).text, texts.short);
    }
    await transcriber.close();
  });

  it('refuses options that cannot be', async () => {
    const cases: [object, RegExp][] = [
      [{ workers: 0 }, /workers is 0; expected a whole number from 1 to 16/],
      [{ workers: '2' }, /workers is a string/],
      [{ heartbeatTimeoutMs: 10 }, /heartbeatTimeoutMs is 10/],
      [{ recycleAfterJobs: 0 }, /recycleAfterJobs is 0/],
      [{ recycleAboveRssMb: 1.5 }, /recycleAboveRssMb is 1.5/],
      [{ circuit: 7 }, /circuit is a number/],
      [{ circuit: { maxCrashes: 0 } }, /circuit.maxCrashes is 0/],
      [{ env: { PORT: 80 } }, /env.PORT is a number/],
      [{ crashReports: true }, /crashReports is a boolean/],
      [{ crashReports: { keep: 0 } }, /crashReports.keep is 0/],
      [{ crashReports: { folder: '' } }, /crashReports.folder/],
      [{ onCrash: 'log' }, /onCrash is a string/],
    ];
    for (const [options, message] of cases) {
      const opening = IsolatedTranscriber.open({ model: 'tiny.en', ...options } as never);
      await assert.rejects(opening, { code: 'ERR_INVALID_ARGUMENT', message });
    }
  });

  it('two files of the package do not need the addon in this process', () => {
    const script = `
      const { IsolatedTranscriber } = require('opuscribe/isolated');
      const loaded = Object.keys(require.cache).filter((file) => file.endsWith('.node'));
      process.exit(loaded.length === 0 && IsolatedTranscriber ? 0 : 1);
    `;
    assert.equal(spawnSync(process.execPath, ['-e', script], { cwd: root }).status, 0);
  });
});
