// A GPU that fails below ggml: a layer between it and the driver says that the device is lost, or that
// there is no memory. `npm run test:vulkan` builds the layer and names its folder.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { listDevices, Transcriber } from 'opuscribe';
import { IsolatedTranscriber } from 'opuscribe/isolated';
import { modelsFolder } from '../js/models';
import { packets } from './fixtures';
import { runScript } from './script';

const model = 'tiny.en';
const device = { backend: 'vulkan' } as const;
/** The last three seconds of jfk, and all of it. */
const short = packets('jfk').slice(400);
const long = packets('jfk');
const layer = process.env.OPUSCRIBE_FAULT_LAYER;
const skip = layer === undefined && 'no layer that fails: npm run test:vulkan';

describe('Vulkan that fails in the middle', { skip }, () => {
  let folder: string;
  let fault: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'opuscribe-test-'));
    fault = join(folder, 'fault');
    Object.assign(process.env, {
      OPUSCRIBE_MODELS: modelsFolder(),
      OPUSCRIBE_CACHE: folder,
      OPUSCRIBE_FAULT_FILE: fault,
      VK_LAYER_PATH: layer,
      VK_INSTANCE_LAYERS: 'VK_LAYER_OPUSCRIBE_fault',
    });
    await listDevices({ model });
  });
  beforeEach(() => rmSync(fault, { force: true }));
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** As a GPU that is worth it, so that `auto` takes it. */
  function isFast(): void {
    const file = join(folder, 'devices.json');
    const verdicts: Record<string, object> = JSON.parse(readFileSync(file, 'utf8'));
    for (const [key, verdict] of Object.entries(verdicts)) {
      verdicts[key] = { ...verdict, gpuMs: 100, cpuMs: 1000 };
    }
    writeFileSync(file, JSON.stringify(verdicts));
  }

  const memoryEnds = async (transcriber: Transcriber) => {
    writeFileSync(fault, 'full');
    await assert.rejects(transcriber.transcribe(long), {
      code: 'ERR_OUT_OF_MEMORY',
      message: /memory of '.*llvmpipe.*' does not suffice; use a smaller or quantised model/,
    });
    rmSync(fault);
    assert.match((await transcriber.transcribe(short)).text, /your country/);
  };

  it('for want of memory fails the job, and serves the next', async () => {
    const transcriber = await Transcriber.open({ model, device, lanes: 1 });
    await memoryEnds(transcriber);
    assert.equal(transcriber.stats().restarts, 1);
    assert.match(transcriber.stats().device, /^vulkan/);
    await transcriber.close();
  });

  it('for want of memory fails the job, and serves the next: under lanes', async () => {
    const transcriber = await Transcriber.open({ model, device, lanes: 2 });
    await memoryEnds(transcriber);
    await transcriber.close();
  });

  for (const lanes of [1, 2]) {
    it(`that is lost fails what runs, and closes a transcriber that must have it: ${lanes} lanes`, async () => {
      const told = await script(`
        const options = { model: 'tiny.en', device: { backend: 'vulkan' }, lanes: ${lanes} };
        const transcriber = await Transcriber.open(options);
        writeFileSync(fault, 'lost');
        const jobs = Array.from({ length: 4 }, () => transcriber.transcribe(list));
        const settled = await Promise.allSettled(jobs);
        const [, ...others] = settled.map(({ reason }) => reason);
        console.log(others.every(({ code }) => code === 'ERR_WORKER_FAILED'));
        tell(others.at(-1));
        tell(settled[0].reason);
        await transcriber.transcribe(list).catch(tell);
        await transcriber.close();
        await Transcriber.open(options).catch(tell);
        const other = await Transcriber.open({ ...options, device: 'cpu' });
        console.log((await other.transcribe(list)).text);
        await other.close();`);
      const forGood =
        /has lost its device for good: there is no GPU 0: it was lost, and this process/;
      assert.equal(told[0], 'true');
      assert.match(told[1] ?? '', /^ERR_WORKER_FAILED/);
      assert.match(told[1] ?? '', forGood);
      assert.match(told[2] ?? '', /^ERR_WORKER_FAILED the GPU 'llvmpipe.*' failed: .*DeviceLost/);
      assert.match(told[3] ?? '', /^ERR_CLOSED/);
      assert.match(told[3] ?? '', forGood);
      assert.match(told[4] ?? '', /^ERR_DEVICE_UNAVAILABLE .*it was lost, and this process cannot/);
      assert.match(told[5] ?? '', /your country/);
      assert.equal(told.length, 6);
    });
  }

  it('that is lost leaves what follows to the CPU, if it may', async () => {
    isFast();
    const told = await script(`
      const onLog = ({ level, message }) => { if (level === 'warn') console.log(message); };
      const transcriber = await Transcriber.open({ model: 'tiny.en', lanes: 1, onLog });
      console.log(transcriber.info.backend);
      writeFileSync(fault, 'lost');
      await transcriber.transcribe(list).catch(tell);
      const { text, device } = await transcriber.transcribe(list);
      console.log(device, text);
      console.log(transcriber.stats().device, transcriber.stats().restarts);
      await transcriber.close();`);
    assert.equal(told[0], 'vulkan');
    assert.match(told[1] ?? '', /^ERR_WORKER_FAILED the GPU 'llvmpipe.*' failed: .*DeviceLost/);
    assert.match(told[2] ?? '', /^the GPU is lost, and the CPU takes its place: .*it was lost/);
    assert.match(told[3] ?? '', /^cpu.*your country/);
    assert.match(told[4] ?? '', /^cpu.* 1$/);
    assert.equal(told.length, 5);
  });

  it('that is lost in a worker process is there again in the next', async () => {
    const options = { model, device, lanes: 1, crashReports: false } as const;
    const isolated = await IsolatedTranscriber.open(options);
    writeFileSync(fault, 'lost');
    await assert.rejects(isolated.transcribe(short), { code: 'ERR_WORKER_FAILED' });
    assert.equal(existsSync(fault), false);
    const { text, device: ran } = await isolated.transcribe(short);
    assert.match(text, /your country/);
    assert.match(ran, /^vulkan/);
    assert.equal(isolated.stats().crashes, 1);
    await isolated.close();
  });

  /** The lines that a program in a process of its own told, which must end by itself and silently. */
  async function script(body: string): Promise<string[]> {
    const { code, signal, stdout, stderr } = await runScript(
      `
      const { splitPackets, Transcriber } = require('opuscribe');
      const { readFileSync, writeFileSync } = require('node:fs');
      const list = splitPackets(readFileSync('__test__/fixtures/jfk.packets')).slice(400);
      const fault = process.env.OPUSCRIBE_FAULT_FILE;
      const tell = ({ code, message }) => console.log(code, message);
      (async () => {${body}
      })();`,
      [],
      300_000,
    );
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
    return stdout.split('\n');
  }
});
