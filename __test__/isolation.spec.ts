// What outlives the processes of an isolated transcriber: streams and crash reports; and what does
// not outlive the application: they.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setInterval } from 'node:timers/promises';
import type { StreamEvent, StreamOptions } from 'opuscribe';
import type { CrashReport, IsolatedTranscriber } from 'opuscribe/isolated';
import { packets } from './fixtures';
import { gone, kill, started, Watched } from './watched';
import { wordErrorRate } from './wer';

const root = join(__dirname, '..');
const short = packets('libri_waiting');
const long = packets('libri_moses');
const windows = process.platform === 'win32' && 'Windows has no signals';

describe('a live stream', () => {
  async function speak(
    transcriber: IsolatedTranscriber,
    list: Buffer[],
    options: StreamOptions,
    hurtAt: number[] = [],
    hurt: (transcriber: IsolatedTranscriber) => void = kill,
  ) {
    const stream = transcriber.createStream({ id: 'call', ...options });
    const told: StreamEvent[] = [];
    const reading = (async () => {
      for await (const event of stream) told.push(event);
    })();
    let [at, known] = [0, -1];
    for await (const _ of setInterval(20)) {
      // Three times as fast as somebody speaks.
      for (const packet of list.slice(at, at + 3)) stream.write(packet);
      at += 3;
      if (at >= list.length) break;
      // Once in an utterance.
      if (at >= (hurtAt[0] ?? Infinity) && finals(told).length > known) {
        hurt(transcriber);
        hurtAt.shift();
        known = finals(told).length;
      }
    }
    stream.end();
    await reading;
    return told;
  }

  const finals = (told: StreamEvent[]) =>
    told.flatMap((event) => (event.type === 'final' ? [event] : []));

  const list = [...packets('jfk'), ...long.slice(0, 1500)];
  /** In pauses, and in utterances. */
  const moments = () => [150, 420, 900, 1100, 1700];

  type Text = { id: string; text: string; speech: { startMs: number; endMs: number } | undefined };

  async function texts(...of: Parameters<typeof speak>): Promise<Text[]> {
    return finals(await speak(...of)).map(({ transcript: { id, text, speech } }) => ({
      id,
      text,
      speech: speech[0],
    }));
  }

  function assertAlike(live: Text[], alone: Text[], t: TestContext): void {
    const ids = (all: Text[]) => all.map(({ id }) => id);
    assert.deepEqual(ids(live), ids(alone));
    live.forEach(({ id, speech }, index) => {
      const once = alone[index]?.speech;
      // What the detector remembers of the time before may move a start by one of its windows, and
      // decides whether jfk still speaks in the last 0.4 s, which are almost silent.
      const apart = (a = 0, b = 0) => Math.abs(a - b);
      const isAlike =
        apart(speech?.startMs, once?.startMs) <= 65 && apart(speech?.endMs, once?.endMs) <= 500;
      assert.ok(isAlike, `${id}: ${JSON.stringify(speech)} instead of ${JSON.stringify(once)}`);
    });
    const all = (each: Text[]) => each.map(({ text }) => text).join(' ');
    const rate = wordErrorRate([{ said: all(alone), heard: all(live) }]);
    t.diagnostic(`${rate.toFixed(1)} % of the words are others than without`);
    assert.ok(rate <= 5, `${all(live)} instead of ${all(alone)}`);
  }

  it('has the same final texts whether its process crashes, is replaced, or neither', async (t) => {
    const watched = new Watched();
    const transcriber = await watched.open({ recycleAfterJobs: 1 });
    const options = { interim: false };
    const alone = await texts(transcriber, list, options);
    assertAlike(await texts(transcriber, list, options, moments()), alone, t);
    const { crashes, workers } = transcriber.stats();
    assert.ok(crashes >= 3);
    const before = workers[0]?.restarts ?? 0;
    const jobs: Promise<unknown>[] = [];
    const work = () => jobs.push(transcriber.transcribe(short));
    assertAlike(await texts(transcriber, list, options, moments(), work), alone, t);
    await Promise.all(jobs);
    const after = transcriber.stats();
    assert.ok((after.workers[0]?.restarts ?? 0) >= before + 3);
    assert.equal(after.crashes, crashes);
    await transcriber.close();
  });

  it('goes on where it was when its process crashes: what was told stays, and nothing is told twice', async () => {
    const transcriber = await new Watched().open();
    const told = await speak(transcriber, list, {}, moments());
    assert.ok(transcriber.stats().crashes >= 3);
    const live = finals(told);
    assert.deepEqual(
      live.map(({ utterance, transcript }) => `${utterance} ${transcript.id}`),
      live.map((_, index) => `${index} call-${index}`),
    );
    const committed = new Map<number, string>();
    let speaking = false;
    let last = -1;
    for (const event of told) {
      switch (event.type) {
        case 'interim':
        case 'final': {
          const before = committed.get(event.utterance) ?? '';
          const now = event.type === 'interim' ? event.committed : event.transcript.text;
          assert.ok(now.startsWith(before), `${before} became ${now}`);
          committed.set(event.utterance, now);
          break;
        }
        default:
          assert.equal(event.type === 'speech-start', !speaking);
          assert.ok(event.atMs >= last);
          speaking = event.type === 'speech-start';
          last = event.atMs;
      }
    }
    let end = 0;
    for (const { transcript } of live) {
      assert.ok((transcript.speech[0]?.startMs ?? 0) >= end - 1, 'two utterances share audio');
      end = transcript.speech[0]?.endMs ?? 0;
    }
    await transcriber.close();
  });

  it('that cannot go on says from where its audio has to be written again', async () => {
    const watched = new Watched();
    const transcriber = await watched.open();
    const stream = transcriber.createStream({ interim: false });
    const told: StreamEvent[] = [];
    stream.on('data', (event) => told.push(event));
    const failed = once(stream, 'error');
    for (const packet of packets('jfk').slice(0, 130)) stream.write(packet);
    // The first utterance ends after 2.6 s at most.
    while (finals(told).length === 0) await once(stream, 'data');
    for (const packet of packets('jfk').slice(130, 200)) stream.write(packet);
    for (let crashes = 1; crashes <= 3; crashes += 1) {
      const ready = () => watched.log.filter(({ message }) => /is ready/.test(message)).length;
      await watched.until(() => ready() === crashes);
      kill(transcriber);
      await watched.until(() => watched.crashes.length === crashes);
    }
    const [error] = await failed;
    assert.equal(error.code, 'ERR_WORKER_CRASHED');
    assert.match(error.message, /write the audio from \d+ ms on again/);
    const end = finals(told).at(-1)?.transcript.speech.at(-1)?.endMs ?? 0;
    assert.ok(
      error.resumeFromMs >= end && error.resumeFromMs < end + 2000,
      `${error.resumeFromMs}`,
    );
    assert.equal(watched.crashes[2]?.jobs[0]?.rejected, true);
    await transcriber.close();
  });
});

describe('a crash report', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'opuscribe-test-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('is a file that tells what happened, without audio or text, and there are few', async () => {
    const watched = new Watched();
    const keep = 2;
    const transcriber = await watched.open({ logText: true, crashReports: { folder, keep } });
    const { text } = await transcriber.transcribe(short, { id: 'before' });
    for (let crashes = 1; crashes <= 3; crashes += 1) {
      const job = transcriber.transcribe(short, { id: `job ${crashes}` });
      await started(transcriber);
      kill(transcriber);
      await job;
      await watched.until(() => watched.crashes.length === crashes);
    }
    await transcriber.close();
    const files = readdirSync(folder).sort();
    assert.deepEqual(
      files,
      watched.crashes.slice(-keep).map(({ id }) => `${id}.json`),
    );
    const path = join(folder, files[0] as string);
    const written = readFileSync(path, 'utf8');
    assert.equal(written.includes(text.slice(0, 20)), false, 'it has the text of a transcript');
    const report: CrashReport = JSON.parse(written);
    assert.deepEqual(report, JSON.parse(JSON.stringify(watched.crashes[1])));
    assert.equal(report.path, path);
    assert.match(report.device ?? '', /^cpu/);
    assert.match(report.versions.whisper ?? '', /^1\./);
    assert.ok(report.uptimeMs > 0 && report.memory.totalBytes > report.memory.freeBytes);
    assert.ok(report.log.length > 0);
    const [job] = report.jobs;
    assert.deepEqual(
      [job?.id, job?.kind, job?.count, job?.bytes],
      ['job 2', 'packets', short.length, short.reduce((sum, { length }) => sum + length, 0)],
    );
  });
});

describe('the application', { skip: windows }, () => {
  /** A process with a job under way: its worker's pid, and its end once it is told `then`. */
  async function application(then: string) {
    const script = `
      const { IsolatedTranscriber } = require('opuscribe/isolated');
      const { splitPackets } = require('opuscribe');
      const { readFileSync } = require('node:fs');
      const list = splitPackets(readFileSync('__test__/fixtures/libri_moses.packets'));
      (async () => {
        const transcriber = await IsolatedTranscriber.open({ model: 'tiny.en', crashReports: false });
        const job = transcriber.transcribe(list);
        console.log(transcriber.stats().workers[0].pid);
        process.stdin.once('data', async () => { ${then} });
      })();
    `;
    const app = spawn(process.execPath, ['-e', script], { cwd: root });
    let printed = '';
    app.stderr.on('data', (text) => {
      printed += text;
    });
    const ended = once(app, 'close').then(([code, signal]) => ({ code, signal, printed }));
    const [worker] = await once(app.stdout.setEncoding('utf8'), 'data');
    return { app, ended, worker: Number(worker), go: () => app.stdin.end('go\n') };
  }

  for (const [what, then, code] of [
    ['exits in the middle of an inference', 'process.exit(3)', 3],
    ['comes to its end without closing', 'await job', 0],
    ['fails', "setImmediate(() => { throw new Error('on purpose') })", 1],
  ] as const) {
    it(`that ${what} takes its worker along`, async () => {
      const { ended, worker, go } = await application(then);
      go();
      const end = await ended;
      assert.deepEqual([end.code, end.signal], [code, null], end.printed);
      if (code !== 1) assert.equal(end.printed, '');
      await gone(worker);
    });
  }

  it('that is killed takes its worker along, also one that stood still', async () => {
    for (const stopped of [false, true]) {
      const { app, ended, worker } = await application('');
      if (stopped) process.kill(worker, 'SIGSTOP');
      app.kill('SIGKILL');
      await ended;
      if (stopped) process.kill(worker, 'SIGCONT');
      await gone(worker);
    }
  });
});
