import assert from 'node:assert/strict';
import { it } from 'node:test';
import { describeEach, type Kind } from './kinds';
import { clean, type Ended, runScript } from './script';

/** What every script begins with: `open()`, and a job that tells when Whisper is at work. */
const prelude = ({ isolated }: Kind) => `
  const { splitPackets, transcribe } = require('opuscribe');
  const { IsolatedTranscriber, Transcriber = IsolatedTranscriber } =
    require('${isolated ? 'opuscribe/isolated' : 'opuscribe'}');
  const { readFileSync } = require('node:fs');
  const packets = (name) => splitPackets(readFileSync('__test__/fixtures/' + name + '.packets'));
  const open = () => Transcriber.open({ model: 'tiny.en' });
  const whenRunning = (transcriber, then) => transcriber.transcribe(packets('libri_moses'), {
    onProgress: then,
  });
`;

/** Runs a script in a process of its own. */
function runAs(kind: Kind, body: string, flags: string[]): Promise<Ended> {
  return runScript(`${prelude(kind)}\n(async () => {${body}})();`, flags);
}

describeEach('a process ends as the program asked, without a word from native code', (kind) => {
  const run = (body: string, flags: string[] = []) => runAs(kind, body, flags);

  it('close, twice', async () => {
    const ended = await run(`
      const transcriber = await open();
      const [first, second] = [transcriber.close(), transcriber.close()];
      await Promise.all([first, second]);
      await transcriber.close();
      console.log('closed');
    `);
    assert.deepEqual(ended, clean('closed'));
  });

  it('close with jobs running: each rejects with ERR_CLOSED', async () => {
    const ended = await run(`
      const transcriber = await open();
      const jobs = Array.from({ length: 5 }, () => transcriber.transcribe(packets('jfk')));
      const running = whenRunning(transcriber, () => {});
      const all = Promise.allSettled([...jobs, running]);
      await transcriber.close();
      console.log((await all).map(({ reason }) => reason?.code).join());
    `);
    assert.deepEqual(ended, clean(Array(6).fill('ERR_CLOSED').join()));
  });

  it('close under full load, with a file, many jobs and one more than there is room for', async () => {
    const ended = await run(`
      const transcriber = await open();
      const running = whenRunning(transcriber, () => {});
      const list = packets('jfk');
      const jobs = Array.from({ length: 64 }, () => transcriber.transcribe(list));
      const all = Promise.allSettled([...jobs, running]);
      await transcriber.close();
      const codes = (await all).map(({ reason }) => reason?.code);
      const count = (code) => codes.filter((each) => each === code).length;
      console.log(count('ERR_CLOSED'), count('ERR_QUEUE_FULL'), transcriber.stats().queued);
    `);
    assert.deepEqual(ended, clean('64 1 0'));
  });

  it('open many at once, and close each as soon as it is there', async () => {
    const ended = await run(`
      const opened = await Promise.all(Array.from({ length: 6 }, open));
      await Promise.all(opened.map((transcriber) => transcriber.close()));
      const again = await Promise.all([open().then((t) => t.close()), open().then((t) => t.close())]);
      console.log(opened.length, again.length);
    `);
    assert.deepEqual(ended, clean('6 2'));
  });

  it('close while the model is still loading', async () => {
    const ended = await run(`
      const early = transcribe(packets('jfk')).catch(({ code }) => code);
      await transcribe.close();
      console.log(await early, /full hour/.test((await transcribe(packets('libri_waiting'))).text));
    `);
    assert.deepEqual(ended, clean('ERR_CLOSED true'));
  });

  it('a signal that is aborted after the job has settled, or before it began', async () => {
    const ended = await run(`
      const transcriber = await open();
      const late = new AbortController();
      const { text } = await transcriber.transcribe(packets('libri_waiting'), { signal: late.signal });
      late.abort();
      const early = transcriber.transcribe(packets('jfk'), { signal: late.signal });
      console.log(/full hour/.test(text), await early.catch(({ name }) => name));
      await transcriber.close();
      late.abort();
    `);
    assert.deepEqual(ended, clean('true AbortError'));
  });

  it('close({ drain: true }) finishes what it holds, and takes nothing in', async () => {
    const ended = await run(`
      const transcriber = await open();
      const jobs = Array.from({ length: 3 }, () => transcriber.transcribe(packets('libri_waiting')));
      const closing = transcriber.close({ drain: true });
      const late = await transcriber.transcribe([]).catch(({ code }) => code);
      const texts = await Promise.all(jobs);
      await closing;
      console.log(texts.filter(({ text }) => /full hour/.test(text)).length, late);
    `);
    assert.deepEqual(ended, clean('3 ERR_CLOSED'));
  });

  it('a draining close can be cut short by another', async () => {
    const ended = await run(`
      const transcriber = await open();
      const job = whenRunning(transcriber, () => transcriber.close());
      const closing = transcriber.close({ drain: true });
      console.log(await job.catch(({ code }) => code));
      await closing;
    `);
    assert.deepEqual(ended, clean('ERR_CLOSED'));
  });

  it('process.exit in the middle of an inference', async () => {
    const ended = await run(`
      const transcriber = await open();
      await whenRunning(transcriber, () => process.exit());
    `);
    assert.deepEqual(ended, clean());
  });

  it('process.exit with a code, with many jobs waiting', async () => {
    const ended = await run(`
      const transcriber = await open();
      for (let job = 0; job < 20; job += 1) transcriber.transcribe(packets('jfk'));
      await whenRunning(transcriber, () => process.exit(7));
    `);
    assert.deepEqual(ended, { ...clean(), code: 7 });
  });

  it('process.exit while a model is loading', async () => {
    const ended = await run(`
      open();
      setImmediate(() => process.exit());
    `);
    assert.deepEqual(ended, clean());
  });

  it('opening in an exit handler, with a job running', async () => {
    const ended = await run(`
      const transcriber = await open();
      process.on('exit', () => { open(); });
      await whenRunning(transcriber, () => process.exit(7));
    `);
    assert.deepEqual(ended, { ...clean(), code: 7 });
  });

  it('a transcriber that is never closed does not keep the process alive', async () => {
    const ended = await run(`
      const transcriber = await open();
      const { text } = await transcriber.transcribe(packets('libri_waiting'));
      console.log(/full hour/.test(text));
    `);
    assert.deepEqual(ended, clean('true'));
  });

  it('the one-liner needs no close', async () => {
    const ended = await run(`
      console.log(/full hour/.test((await transcribe(packets('libri_waiting'))).text));
    `);
    assert.deepEqual(ended, clean('true'));
  });

  it('one signal for many jobs, which are all aborted by it', async () => {
    const ended = await run(`
      const transcriber = await open();
      const controller = new AbortController();
      const { signal } = controller;
      await transcriber.transcribe([], { signal });
      const jobs = Array.from({ length: 20 }, () => transcriber.transcribe(packets('jfk'), { signal }));
      jobs.push(transcribe(packets('jfk'), { signal }));
      controller.abort(new Error('over'));
      const settled = await Promise.allSettled(jobs);
      console.log(settled.filter(({ reason }) => reason === signal.reason).length);
    `);
    assert.deepEqual(ended, clean('21'));
  });

  it('jobs that are running keep the process alive until they are done', async () => {
    const ended = await run(`
      const transcriber = await open();
      transcriber.transcribe(packets('libri_waiting')).then(({ text }) => console.log(/full hour/.test(text)));
    `);
    assert.deepEqual(ended, clean('true'));
  });

  it('a transcriber that is garbage-collected, idle or after its job', async () => {
    const ended = await run(
      `
      let freed = 0;
      const registry = new FinalizationRegistry(() => { freed += 1; });
      const jobs = [];
      await (async () => {
        for (let count = 0; count < 3; count += 1) {
          const transcriber = await open();
          registry.register(transcriber);
          if (count > 0) jobs.push(transcriber.transcribe(packets('libri_waiting')));
        }
      })();
      // A running job holds its transcriber.
      await Promise.all(jobs);
      // A thread may end while it is looked at.
      const name = (task) => {
        try { return readFileSync('/proc/self/task/' + task + '/comm', 'utf8').trim(); } catch {}
      };
      const isOpen = () => process.platform === 'linux' &&
        require('node:fs').readdirSync('/proc/self/task')
          // A driver's own threads have the name of opuscribe-gpu, which starts them.
          .some((task) => /^opuscribe-(io|vad|close)$/.test(name(task)));
      while (freed < 3 || isOpen()) {
        gc();
        await new Promise(setImmediate);
      }
      console.log(freed);
    `,
      ['--expose-gc'],
    );
    assert.deepEqual(ended, clean('3'));
  });

  it('an uncaught exception in the middle of an inference', async () => {
    const { code, signal, stderr } = await run(`
      const transcriber = await open();
      await whenRunning(transcriber, () => { throw new Error('on purpose'); });
    `);
    assert.deepEqual([code, signal], [1, null]);
    assert.match(stderr, /on purpose/);
    assert.doesNotMatch(stderr, /terminate|abort|panicked|core dumped/i);
  });

  it('worker.terminate in the middle of an inference, and the main thread goes on', async () => {
    const ended = await run(`
      const { Worker } = require('node:worker_threads');
      const source = ${JSON.stringify(prelude(kind))} + \`
        open().then((transcriber) => whenRunning(transcriber, () => {
          require('node:worker_threads').parentPort.postMessage('running');
        }));\`;
      for (let round = 0; round < 3; round += 1) {
        const worker = new Worker(source, { eval: true });
        await new Promise((resolve) => worker.once('message', resolve));
        await worker.terminate();
      }
      const transcriber = await open();
      console.log(/full hour/.test((await transcriber.transcribe(packets('libri_waiting'))).text));
    `);
    assert.deepEqual(ended, clean('true'));
  });

  it('process.exit while a worker is in the middle of an inference', async () => {
    const ended = await run(`
      const { Worker } = require('node:worker_threads');
      const source = ${JSON.stringify(prelude(kind))} + \`
        open().then((transcriber) => whenRunning(transcriber, () => {
          require('node:worker_threads').parentPort.postMessage('running');
        }));\`;
      const worker = new Worker(source, { eval: true });
      worker.once('message', () => process.exit());
    `);
    assert.deepEqual(ended, clean());
  });

  it('a stream that nobody ends: its texts come, and then the process ends', async () => {
    const ended = await run(`
      const stream = (await open()).createStream({ interim: false });
      for (const packet of packets('libri_waiting')) stream.write(packet);
      stream.on('data', ({ type, transcript }) => {
        if (type === 'final') console.log(/full hour/.test(transcript.text));
      });
    `);
    assert.deepEqual(ended, clean('true'));
  });

  it('a stream of silence, and one that nobody reads', async () => {
    const ended = await run(`
      const transcriber = await open();
      transcriber.createStream().write(new Float32Array(16000));
      const unread = transcriber.createStream();
      for (const packet of packets('jfk')) unread.write(packet);
    `);
    assert.deepEqual(ended, clean());
  });

  it('exit, and closing, in the middle of a stream', async () => {
    const ended = await run(`
      const transcriber = await open();
      const stream = transcriber.createStream();
      for (let round = 0; round < 3; round += 1) {
        for (const packet of packets('jfk')) stream.write(packet);
      }
      stream.once('data', () => process.exit(7));
    `);
    assert.deepEqual(ended, { ...clean(), code: 7 });
    const closed = await run(`
      const transcriber = await open();
      const stream = transcriber.createStream();
      for (const packet of packets('jfk')) stream.write(packet);
      stream.on('error', ({ code }) => console.log(code));
      stream.once('data', () => transcriber.close());
    `);
    assert.deepEqual(closed, clean('ERR_CLOSED'));
  });

  it('SIGTERM in the middle of an inference', {
    skip: process.platform === 'win32' && 'no signals',
  }, async () => {
    const { code, signal, stderr } = await run(`
      const transcriber = await open();
      await whenRunning(transcriber, () => process.kill(process.pid, 'SIGTERM'));
    `);
    assert.deepEqual([code, signal, stderr], [null, 'SIGTERM', '']);
  });

  it('opening and closing again and again', async () => {
    const ended = await run(`
      for (let round = 0; round < 10; round += 1) {
        const transcriber = await open();
        if (round % 2) transcriber.transcribe(packets('libri_waiting')).catch(() => {});
        await transcriber.close();
      }
      console.log('done');
    `);
    assert.deepEqual(ended, clean('done'));
  });

  it('nothing is sent or kept: ONNX Runtime has its telemetry switched off, in a worker too', async () => {
    const ended = await run(`
      const { mkdtempSync, readdirSync } = require('node:fs');
      const { dirname, join } = require('node:path');
      // It would leave a device id and a database here, were it not switched off; on CI it is.
      const script = () => \`
        const { Transcriber } = require('opuscribe');
        Transcriber.open({ model: 'tiny.en' }).then((transcriber) => transcriber.close())\`;
      const inWorker = "new (require('node:worker_threads').Worker)(" + JSON.stringify(script()) + ', { eval: true })';
      for (const source of [script(), inWorker]) {
        const cache = mkdtempSync(join(require('node:os').tmpdir(), 'opuscribe-test-'));
        const { CI, ORT_DISABLE_TELEMETRY, ...env } = process.env;
        const models = dirname((await open()).info.model);
        const { status } = require('node:child_process').spawnSync(process.execPath, ['-e', source], {
          env: { ...env, XDG_CACHE_HOME: cache, OPUSCRIBE_MODELS: models },
        });
        console.log(status, readdirSync(cache).join());
        require('node:fs').rmSync(cache, { recursive: true });
      }
    `);
    assert.deepEqual(ended, clean('0 \n0'));
  });

  it('a missing ONNX Runtime is an error, never a hang', async () => {
    const ended = await run(`
      process.env.ORT_DYLIB_PATH = '/no/such/libonnxruntime.so';
      for (let round = 0; round < 2; round += 1) console.log(await open().catch(({ code }) => code));
      process.env.ORT_DYLIB_PATH = __filename;
      console.log(await open().catch(({ code }) => code));
      delete process.env.ORT_DYLIB_PATH;
      const transcriber = await open();
      console.log(transcriber.info.backend);
    `);
    assert.deepEqual(ended, clean(`${'ERR_DEVICE_UNAVAILABLE\n'.repeat(3)}cpu`));
  });
});
