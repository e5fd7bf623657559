// What is decided about crashes, without any.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { describe, it } from 'node:test';
import type { Input } from '../dist/engine.js';
import { Circuit } from '../dist/isolated/circuit.js';
import { type CrashedJob, crashReport, explain } from '../dist/isolated/crash.js';
import { CrashFiles } from '../dist/isolated/crash_files.js';
import type { Job } from '../dist/isolated/job.js';
import { Queue } from '../dist/isolated/queue.js';

describe('how a process ended', () => {
  const cases: [number | null, string | null, NodeJS.Platform, RegExp][] = [
    [null, 'SIGSEGV', 'linux', /memory that is not there/],
    [null, 'SIGKILL', 'darwin', /want of memory/],
    [null, 'SIGABRT', 'linux', /failed assertion/],
    [null, 'SIGXCPU', 'linux', /ended by SIGXCPU/],
    [139, null, 'linux', /SIGSEGV/],
    [1, null, 'linux', /exit code 1/],
    [0, null, 'linux', /by itself/],
    [null, null, 'linux', /could not be started/],
    // As Node gives it, and as a signed number.
    [0xc000_0005, null, 'win32', /access violation \(0xC0000005\)/],
    [0xc000_0005 | 0, null, 'win32', /access violation/],
    [0xc000_0409, null, 'win32', /failed assertion/],
    [0xc000_0017, null, 'win32', /no memory/],
    [0xc000_0135, null, 'win32', /library that was not found/],
    [0xe06d_7363, null, 'win32', /C\+\+ exception/],
    [0xc123_4567, null, 'win32', /status 0xC1234567/],
    [3, null, 'win32', /abort\(\)/],
    [3, null, 'linux', /exit code 3/],
  ];
  for (const [code, signal, platform, meaning] of cases) {
    it(`${platform}: ${signal ?? code} is explained`, () => {
      assert.match(explain({ code, signal }, platform), meaning);
    });
  }
});

describe('a circuit', () => {
  const options = { maxCrashes: 3, windowMs: 1000, cooldownMs: 500 };

  it('answers the first crash at once, and the next ones after pauses that double', () => {
    const circuit = new Circuit({ ...options, maxCrashes: 100 }, () => 0);
    const pauses = Array.from({ length: 9 }, () => circuit.crashed());
    assert.deepEqual(pauses, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    circuit.worked();
    assert.equal(circuit.crashed(), 0);
  });

  it('opens for too many crashes within the window, and not for as many in a longer time', () => {
    let now = 0;
    const circuit = new Circuit(options, () => now);
    for (; now < 10_000; now += 600) {
      circuit.crashed();
      circuit.worked();
    }
    assert.equal(circuit.isOpen, false);
    circuit.crashed();
    circuit.crashed();
    assert.equal(circuit.isOpen, true);
    assert.equal(circuit.retryAfterMs, 500);
    now += 500;
    assert.deepEqual([circuit.isOpen, circuit.retryAfterMs], [true, 0]);
  });

  it('opens for processes that do nothing before they crash, however long each takes', () => {
    let now = 0;
    const circuit = new Circuit(options, () => now);
    for (let crashes = 1; crashes <= 3; crashes += 1) {
      assert.equal(circuit.isOpen, false);
      now += 10_000;
      circuit.crashed();
    }
    assert.equal(circuit.isOpen, true);
  });

  it('that is tried again opens with the next crash, unless that comes much later', () => {
    let now = 0;
    const circuit = new Circuit(options, () => now);
    const open = () => {
      for (let crashes = 0; crashes < 3; crashes += 1) circuit.crashed();
      now += 500;
      circuit.tryAgain();
      assert.equal(circuit.isOpen, false);
    };
    open();
    circuit.crashed();
    assert.equal(circuit.isOpen, true);
    now += 2000;
    open();
    now += 2000;
    circuit.worked();
    circuit.crashed();
    assert.equal(circuit.isOpen, false);
  });
});

describe('the queue', () => {
  const job = (name: string, isBatch = false, isSuspect = false) =>
    ({ name, isBatch, isSuspect }) as unknown as Job;
  const name = (job: Job | undefined) => (job as unknown as { name: string } | undefined)?.name;

  it('gives a suspect alone, and nothing beside it', () => {
    const queue = new Queue();
    queue.suspect(job('suspect'));
    queue.push(job('other'));
    assert.equal(name(queue.next([job('running')])), undefined);
    assert.equal(name(queue.next([])), 'suspect');
    assert.equal(name(queue.next([job('suspect', false, true)])), undefined);
    assert.equal(name(queue.next([])), 'other');
  });

  it('lets those through that somebody waits for, while a long suspect waits for a long job', () => {
    const queue = new Queue();
    queue.suspect(job('long suspect', true));
    queue.push(job('short'));
    queue.push(job('long', true));
    const running = [job('long', true)];
    assert.equal(name(queue.next(running)), 'short');
    assert.equal(name(queue.next(running)), undefined);
    // It would wait for ever if others still came.
    queue.push(job('another'));
    assert.equal(name(queue.next([job('short')])), undefined);
    assert.equal(name(queue.next([])), 'long suspect');
  });
});

describe('files of crash reports', () => {
  const report = (kinds: CrashedJob['kind'][] = []) =>
    crashReport(
      {
        exit: { code: 1, signal: null },
        pid: 7,
        uptimeMs: 1,
        phase: 'serving',
        hung: false,
        verdict: undefined,
        printed: '',
        log: [{ level: 'info', target: 't', message: 'm', fields: { text: 'secret', took: 1 } }],
        rssBytes: undefined,
        info: undefined,
        counters: undefined,
      },
      kinds.map((kind) => ({ id: kind, kind, bytes: 1, options: {}, crashes: 2, rejected: true })),
    );

  it('hold no text, and foreign files in the folder stay', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'opuscribe-test-'));
    mkdirSync(join(folder, 'crash-of-mine'));
    const files = new CrashFiles({ folder, keep: 1, saveInput: true });
    const pcm = Int16Array.of(1, 2, 3);
    const first = { ...report(['pcm', 'stream', 'file']), id: 'crash-1' };
    const samples: Input = { kind: 'pcm', pcm, sampleRate: 16_000, channels: 1 };
    const bytes = Uint8Array.of(1, 2);
    const media: Input = { kind: 'file', source: bytes };
    const { jobs } = await files.write(first, [samples, undefined, media]);
    const names = ['crash-1.0.wav', 'crash-1.2.media', 'crash-1.json', 'crash-of-mine'];
    assert.deepEqual(readdirSync(folder).sort(), names);
    const inputs = jobs.map(({ input }) => input && basename(input));
    assert.deepEqual(inputs, ['crash-1.0.wav', undefined, 'crash-1.2.media']);
    assert.deepEqual(new Uint8Array(readFileSync(jobs[2]?.input as string)), bytes);
    const { path } = await files.write({ ...report(), id: 'crash-2' }, [undefined]);
    assert.equal(/secret/.test(readFileSync(path as string, 'utf8')), false);
    assert.deepEqual(readdirSync(folder).sort(), ['crash-2.json', 'crash-of-mine']);
    rmSync(folder, { recursive: true });
  });

  it('are not written through a link that somebody else has put there', {
    skip: process.platform === 'win32' && 'links need rights there',
  }, async () => {
    const shared = mkdtempSync(join(tmpdir(), 'opuscribe-test-'));
    const elsewhere = mkdtempSync(join(tmpdir(), 'opuscribe-test-'));
    const before = process.env.TMPDIR;
    process.env.TMPDIR = shared;
    const files = new CrashFiles({});
    process.env.TMPDIR = before ?? '';
    if (before === undefined) delete process.env.TMPDIR;
    symlinkSync(elsewhere, join(shared, `opuscribe-crashes-${process.getuid?.()}`));
    await assert.rejects(files.write(report(), []), /belongs to somebody else/);
    assert.deepEqual(readdirSync(elsewhere), []);
    for (const folder of [shared, elsewhere]) rmSync(folder, { recursive: true });
  });
});
