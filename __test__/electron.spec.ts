// The isolated transcriber in Electron, of which there is a double: see electron/electron.cjs.
// scripts/electron.mjs runs the same in Electron itself.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { output, run, start } from './electron/run';
import { recording } from './fixtures';
import { wordErrorRate } from './wer';

/** The double has POSIX's pipes and signals. */
const skip = process.platform === 'win32' && 'needs POSIX';
const READY = 'await app.whenReady();';

describe('the double of Electron', { skip }, () => {
  it('is as strict as Electron', async () => {
    const seen = await run(`
      const echo = './__test__/electron/echo.cjs';
      const thrown = (call) => {
        try { call(); } catch (error) { return error.message; }
      };
      const early = thrown(() => utilityProcess.fork(echo));
      ${READY}
      const env = thrown(() => utilityProcess.fork(echo, [], { env: { A: 1 } }));
      const child = utilityProcess.fork(echo, [], { stdio: 'pipe' });
      const before = [child.pid, child.kill()];
      const uncloneable = thrown(() => child.postMessage({ call() {} }));
      child.postMessage(Buffer.from(new ArrayBuffer(9), 2, 5));
      const [echoed] = await once(child, 'message');
      let within;
      child.once('exit', () => { within = child.pid; });
      process.kill(child.pid, 'SIGSEGV');
      const [code] = await once(child, 'exit');
      const after = [child.pid, child.stderr, child.kill()];
      answer({ early, env, before, uncloneable, echoed, within, code, after });
    `);
    assert.deepEqual(seen, {
      crashes: [],
      early: 'utilityProcess cannot be created before app is ready.',
      env: 'Invalid value for env',
      before: [null, false],
      uncloneable: 'call() {} could not be cloned.',
      echoed: {
        name: '[object Uint8Array]',
        isBuffer: false,
        lengths: [5, 9],
        send: 'undefined',
        type: 'utility',
      },
      code: 11,
      after: [null, null, false],
    });
  });
});

describe('in the main process of Electron', { skip }, () => {
  it('jobs of every kind run in a utility process, and the addon is loaded there alone', async () => {
    const { transcript: said } = recording('jfk');
    const seen = await run<Record<string, unknown> & { texts: string[] }>(`
      ${READY}
      process.env.REMOVED = 'yes';
      const transcriber = await open({ env: { ADDED: 'yes', REMOVED: undefined } });
      const file = require('node:fs').readFileSync(fixture('jfk.wav'));
      // With more around them, which Electron would send along.
      const room = new Int16Array(8_000_000);
      const samples = new Int16Array(file.buffer.slice(file.byteOffset + 44, file.byteOffset + file.length));
      room.set(samples, 4_000_000);
      const pcm = room.subarray(4_000_000, 4_000_000 + samples.length);
      const before = observed.postedBytes;
      const jobs = await Promise.all([
        transcriber.transcribe(packets('jfk')),
        transcriber.transcribePcm(pcm),
        transcriber.transcribePcm(Float32Array.from(pcm, (sample) => sample / 32768)),
        transcriber.transcribeFile(file),
        transcriber.transcribeFile(fixture('jfk.wav')),
      ]);
      const megabytes = (observed.postedBytes - before) / 1e6;
      const [{ options, child }] = observed.forks;
      const { ADDED, REMOVED } = options.env;
      const { pid } = child;
      const [worker] = transcriber.stats().workers;
      await transcriber.close();
      answer({
        texts: jobs.map(({ text }) => text),
        megabytes: Math.round(megabytes),
        forks: [observed.forks.length, observed.childForks, options.serviceName],
        heard: observed.received > jobs.length,
        env: [ADDED, REMOVED],
        samePid: worker.pid === pid,
        ended: child.pid === undefined,
        addons: Object.keys(require.cache).filter((file) => file.endsWith('.node')),
      });
    `);
    const { texts, ...rest } = seen;
    for (const heard of texts) assert.ok(wordErrorRate([{ said, heard }]) <= 10, heard);
    assert.deepEqual(rest, {
      crashes: [],
      // 0.03 of packets, 0.35 of integers, 0.7 of floats, 0.35 of the file.
      megabytes: 1,
      forks: [1, 0, 'opuscribe'],
      heard: true,
      env: ['yes', null],
      samePid: true,
      ended: true,
      addons: [],
    });
  });

  it('a stream goes on where it was when its process is killed', async () => {
    const { transcript: said } = recording('jfk');
    const { crashes, texts, utterances, forks } = await run<{
      texts: string[];
      utterances: number[];
      forks: number;
    }>(`
      ${READY}
      const transcriber = await open();
      const stream = transcriber.createStream();
      const later = packets('jfk');
      for (const packet of later.splice(0, 275)) stream.write(packet);
      const finals = [];
      for await (const event of stream) {
        if (event.type === 'final') finals.push(event);
        if (later.length === 0) continue;
        // Somebody has just begun to speak.
        const [{ child }] = observed.forks;
        process.kill(child.pid, 'SIGKILL');
        await once(child, 'exit');
        for (const packet of later.splice(0)) stream.write(packet);
        stream.end();
      }
      await transcriber.close();
      answer({
        texts: finals.map(({ transcript }) => transcript.text),
        utterances: finals.map(({ utterance }) => utterance),
        forks: observed.forks.length,
      });
    `);
    const heard = texts.join(' ');
    assert.ok(wordErrorRate([{ said, heard }]) <= 15, heard);
    assert.deepEqual(utterances, [...utterances.keys()]);
    assert.deepEqual([crashes.length, forks], [1, 2]);
  });

  it('of several jobs one is aborted', async () => {
    const { outcomes } = await run<{ outcomes: (string | boolean)[] }>(`
      ${READY}
      const transcriber = await open();
      const aborter = new AbortController();
      const reason = new Error('enough');
      const aborted = transcriber.transcribe(packets('libri_moses'), {
        signal: aborter.signal,
        onSegment: () => aborter.abort(reason),
      });
      const waiting = transcriber.transcribe(packets('jfk'), { signal: AbortSignal.abort(reason) });
      const others = ['jfk', 'lj050'].map((name) => transcriber.transcribe(packets(name)));
      const outcomes = await Promise.all([
        ...[aborted, waiting].map((job) => job.catch((error) => error === reason)),
        ...others.map((job) => job.then(({ text }) => text)),
      ]);
      await transcriber.close({ drain: true });
      answer({ outcomes });
    `);
    const [running, waiting, jfk, lj050] = outcomes;
    assert.deepEqual([running, waiting], [true, true]);
    assert.match(String(jfk), /fellow Americans/i);
    assert.match(String(lj050), /activities/i);
  });

  it('a job whose process is killed gives the same text', async () => {
    const { crashes, texts, forks, pid } = await run<Record<string, unknown>>(`
      ${READY}
      const transcriber = await open();
      const [{ pid }] = transcriber.stats().workers;
      const whole = await long(transcriber);
      const again = await long(transcriber, (pid) => process.kill(pid, 'SIGKILL'));
      await transcriber.close();
      answer({ pid, texts: [whole, again], forks: observed.forks.length });
    `);
    const [whole, again] = texts as string[];
    assert.ok(String(whole).length > 100, whole);
    assert.equal(again, whole);
    assert.equal(forks, 2);
    const [crash] = crashes;
    assert.equal(crashes.length, 1);
    assert.deepEqual([crash?.pid, crash?.signal], [pid, 'SIGKILL']);
    assert.match(String(crash?.explanation), /SIGKILL/);
  });

  it('a process that stops to answer is replaced', async () => {
    const { crashes, text } = await run<{ text: string }>(`
      ${READY}
      const transcriber = await open({ heartbeatTimeoutMs: 2000 });
      const text = await long(transcriber, (pid) => process.kill(pid, 'SIGSTOP'));
      await transcriber.close();
      answer({ text });
    `);
    assert.ok(text.length > 100, text);
    assert.deepEqual(
      crashes.map(({ hung, phase }) => [hung, phase]),
      [[true, 'serving']],
    );
  });

  it('a process that is killed before it is ready is replaced', async () => {
    const { crashes, forks, pid } = await run<{ forks: number; pid: number }>(`
      ${READY}
      let pid;
      observed.once('fork', (child) => child.once('spawn', () => {
        ({ pid } = child);
        process.kill(pid, 'SIGKILL');
      }));
      const transcriber = await open();
      await transcriber.close();
      answer({ forks: observed.forks.length, pid });
    `);
    assert.equal(forks, 2);
    assert.deepEqual(
      crashes.map((crash) => [crash.phase, crash.pid]),
      [['starting', pid]],
    );
  });

  it('what crashes is told from how it exits, and with what it printed', async () => {
    const { crashes } = await run(
      `
      ${READY}
      const env = { NODE_OPTIONS: '--require ./__test__/electron/last_words.cjs' };
      const transcriber = await open({ env });
      await long(transcriber, (pid) => process.kill(pid, 'SIGUSR2'));
      await transcriber.close();
      answer();
    `,
      { ELECTRON_DOUBLE_LATE_STDERR: 'yes' },
    );
    const [crash] = crashes;
    assert.match(String(crash?.explanation), /SIGABRT/);
    assert.match(String(crash?.printed), /these are the last words/);
  });

  it('close while the next process begins leaves none', async () => {
    const { forks } = await run<{ forks: number }>(`
      ${READY}
      const transcriber = await open();
      const [{ child }] = observed.forks;
      process.kill(child.pid, 'SIGKILL');
      await once(observed, 'fork');
      const [, { child: next }] = observed.forks;
      assert.equal(next.pid, undefined);
      await transcriber.close();
      answer({ forks: observed.forks.length });
    `);
    assert.equal(forks, 2);
  });

  it('a model that cannot be loaded leaves no process', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'opuscribe-electron-'));
    const model = join(folder, 'ggml-damaged.bin');
    writeFileSync(model, 'no model');
    try {
      const { code, forks } = await run<{ code: string; forks: number }>(`
        ${READY}
        const model = ${JSON.stringify(model)};
        const { code } = await open({ model, workers: 2 }).catch((error) => error);
        answer({ code, forks: observed.forks.length });
      `);
      assert.deepEqual([code, forks], ['ERR_MODEL_INVALID', 2]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('what cannot be sent is refused, and leaves nothing behind', async () => {
    const { codes, unknown, text } = await run<{ codes: string[]; unknown: string; text: string }>(`
      ${READY}
      const tell = (call) => call().then(() => 'none', ({ code }) => String(code));
      const call = () => {};
      const [lj050, jfk] = ['lj050', 'jfk'].map(packets);
      const codes = [await tell(() => open({ vad: { threshold: call } }))];
      const transcriber = await open();
      // So that another waits, which is sent when nobody can catch.
      const busy = [1, 2, 3, 4].map(() => transcriber.transcribe(jfk));
      const unknown = await tell(() => transcriber.transcribe(lj050, { unknown: call }));
      await Promise.all(busy);
      codes.push(await tell(() => transcriber.transcribe(lj050, { language: call })));
      const { once } = require('node:events');
      const refused = once(transcriber.createStream({ language: call }), 'error');
      codes.push(await tell(() => refused.then(([error]) => Promise.reject(error))));
      const { text } = await transcriber.transcribe(lj050);
      await transcriber.close({ drain: true });
      answer({ codes, unknown, text });
    `);
    assert.match(text, /activities/i);
    assert.deepEqual(codes, Array(3).fill('ERR_INVALID_ARGUMENT'));
    // A Transcriber ignores it.
    assert.match(unknown, /^(none|ERR_INVALID_ARGUMENT)$/);
  });

  it('before the app is ready nothing can be opened, which is said at once', async () => {
    const body = `
      const { code, message } = await open().catch((error) => error);
      answer({ code, message });
    `;
    const { crashes, code, message } = await run<{ code: string; message: string }>(body, {
      ELECTRON_DOUBLE_READY: 'never',
    });
    assert.match(code, /^ERR_/);
    assert.match(message, /ready/);
    assert.deepEqual(crashes, []);
  });

  it('an app that quits without closing it has no crash to report', async () => {
    const { crashes, forksAfterQuit } = await run<{ forksAfterQuit: number }>(`
      ${READY}
      const transcriber = await open();
      const stream = transcriber.createStream();
      stream.on('error', () => {});
      stream.write(packets('jfk')[0]);
      process.once('exit', () => answer({ forksAfterQuit: observed.forksAfterQuit }));
      app.quit();
    `);
    assert.deepEqual([crashes, forksAfterQuit], [[], 0]);
  });

  it('a parent that ends, or is killed, takes its processes with it', async () => {
    await run(`${READY} await open(); answer();`);
    const { child, ended } = start(`
      ${READY}
      const transcriber = await open();
      long(transcriber, () => answer());
    `);
    child.stdout?.once('data', () => child.kill('SIGKILL'));
    assert.equal((await ended).signal, 'SIGKILL');
  });

  it('the example', async () => {
    const { transcript: said } = recording('jfk');
    const heard = await output(`
      process.argv.push(fixture('jfk.wav'));
      require('./examples/electron/main.cjs');
    `);
    assert.ok(wordErrorRate([{ said, heard }]) <= 10, heard);
  });
});

describe('in other processes of Electron', { skip }, () => {
  for (const type of ['utility', 'renderer', '']) {
    it(`of type '${type}', child_process.fork is used`, async () => {
      const seen = await run<Record<string, unknown>>(
        `
        const transcriber = await open();
        const { text } = await transcriber.transcribe(packets('jfk'));
        await transcriber.close();
        answer({ text, forks: observed.forks.length, childForks: observed.childForks });
      `,
        { ELECTRON_DOUBLE_TYPE: type },
      );
      assert.match(String(seen.text), /fellow Americans/i);
      assert.deepEqual([seen.forks, seen.childForks], [0, 1]);
    });
  }
});
