// Whisper on Vulkan: the way to a GPU, on whatever Vulkan finds, which in CI is Mesa's lavapipe, a
// GPU in software. Needs the addon that `npm run build:gpu -- vulkan` builds; `npm run test:vulkan`
// builds it and brings the rest. Short: lavapipe takes as long as the audio lasts.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { listDevices, Transcriber } from 'opuscribe';
import { IsolatedTranscriber } from 'opuscribe/isolated';
import { modelsFolder } from '../js/models';
import { packets, recording } from './fixtures';
import { clean, runScript } from './script';
import { wordErrors } from './wer';

const model = 'tiny.en';
const device = { backend: 'vulkan' } as const;
const list = packets('libri_waiting');
const said = recording('libri_waiting').transcript;
/** The last three seconds of jfk. */
const short = packets('jfk').slice(400);

const skip =
  process.env.OPUSCRIBE_VULKAN === undefined && 'no addon for Vulkan: npm run test:vulkan';

describe('Whisper on Vulkan', { skip }, () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'opuscribe-test-'));
    process.env.OPUSCRIBE_MODELS = modelsFolder();
    process.env.OPUSCRIBE_CACHE = folder;
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('is found, tried out and listed', async () => {
    const found = (await listDevices({ model })).filter(({ backend }) => backend === 'vulkan');
    assert.ok(found.length > 0);
    for (const gpu of found) {
      assert.equal(gpu.verdict?.works, true, gpu.verdict?.reason);
      assert.match(gpu.driver, /\d/);
      assert.ok(gpu.totalBytes >= gpu.freeBytes && gpu.freeBytes > 0);
    }
  });

  it('says what the CPU says, with the times of words, whatever ran before', async () => {
    const options = { wordTimestamps: true };
    const cpu = await Transcriber.open({ model, device: 'cpu' });
    const expected = await cpu.transcribe(list, options);
    await cpu.close();
    const gpu = await Transcriber.open({ model, device });
    assert.equal(gpu.info.backend, 'vulkan');
    const first = await gpu.transcribe(list, options);
    const other = await gpu.transcribe(short);
    const again = await gpu.transcribe(list);
    await gpu.close();
    assert.equal(first.text, expected.text);
    assert.equal(again.text, expected.text);
    assert.match(other.text, /ask what you can do for your country/i);
    assert.ok(wordErrors(said, first.text).errors <= 1);
    assert.equal(first.device, gpu.info.device);
    const words = ({ segments }: typeof first) => segments.flatMap(({ words = [] }) => words);
    const pairs = words(expected).map((word, index) => [word, words(first)[index]] as const);
    for (const [there, here] of pairs) {
      assert.equal(here?.text, there.text);
      assert.ok(Math.abs((here?.startMs ?? Infinity) - there.startMs) <= 60, there.text);
    }
  });

  it('works on several windows at once, each with its own text', async () => {
    const gpu = await Transcriber.open({ model, device, lanes: 2 });
    assert.equal(gpu.info.gpu?.lanes, 2);
    const [one, two] = await Promise.all([gpu.transcribe(list), gpu.transcribe(short)]);
    await gpu.close();
    assert.ok(wordErrors(said, one.text).errors <= 1);
    assert.match(two.text, /ask what you can do for your country/i);
  });

  it('gives up what is aborted or out of time, and goes on with the next', async () => {
    const gpu = await Transcriber.open({ model, device });
    const stop = new AbortController();
    const aborted = gpu.transcribe(list, { signal: stop.signal, onProgress: () => stop.abort() });
    const late = gpu.transcribe(list, { timeoutMs: 1 });
    const next = gpu.transcribe(short);
    await assert.rejects(late, { code: 'ERR_TIMEOUT' });
    stop.abort();
    await assert.rejects(aborted, { name: 'AbortError' });
    assert.match((await next).text, /your country/);
    await gpu.close();
  });

  it('runs in worker processes, and is there again after a crash', async () => {
    const isolated = await IsolatedTranscriber.open({ model, device, crashReports: false });
    const job = isolated.transcribe(short);
    process.kill(isolated.stats().workers[0]?.pid ?? 0, 'SIGKILL');
    const { text, device: ran } = await job;
    assert.match(text, /your country/);
    assert.match(ran, /^vulkan/);
    assert.equal(isolated.stats().crashes, 1);
    await isolated.close();
  });

  for (const [how, body] of [
    ['close in the middle', 'await transcriber.close();'],
    ['process.exit in the middle', 'process.exit(0);'],
    ['no close at all', 'await job;'],
    ['a worker that is terminated', inWorker()],
  ] as const) {
    it(`ends without a word from native code: ${how}`, async () => {
      const source = `
        const { splitPackets, Transcriber } = require('opuscribe');
        const { readFileSync } = require('node:fs');
        const list = splitPackets(readFileSync('__test__/fixtures/libri_waiting.packets'));
        (async () => {
          const transcriber = await Transcriber.open({ model: 'tiny.en', device: { backend: 'vulkan' } });
          const job = transcriber.transcribe(list.slice(0, 100)).catch(() => {});
          while (transcriber.stats().running === 0) await new Promise(setImmediate);
          ${body}
          console.log('ended');
        })();`;
      const ended = await runScript(source, [], 300_000);
      assert.deepEqual(ended, clean(how.startsWith('process.exit') ? '' : 'ended'));
    });
  }
});

/** The same in a worker thread, which is ended from outside. */
function inWorker(): string {
  return `
    const { Worker } = require('node:worker_threads');
    const worker = new Worker(\`
      const { splitPackets, Transcriber } = require('opuscribe');
      const { readFileSync } = require('node:fs');
      const { parentPort } = require('node:worker_threads');
      const list = splitPackets(readFileSync('__test__/fixtures/libri_waiting.packets'));
      Transcriber.open({ model: 'tiny.en', device: { backend: 'vulkan' } }).then((transcriber) => {
        transcriber.transcribe(list).catch(() => {});
        parentPort.postMessage('running');
      });\`, { eval: true });
    await new Promise((resolve) => worker.once('message', resolve));
    await worker.terminate();
    await transcriber.close();`;
}
