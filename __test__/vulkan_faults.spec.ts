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
const forGood = /has lost its device for good: there is no GPU 0: it was lost, and this process/;
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
    assert.equal(transcriber.info.gpu?.lanes, 2);
    await memoryEnds(transcriber);
    await transcriber.close();
  });

  it('for want of memory as it is opened says so, and opens when there is some', async () => {
    writeFileSync(fault, 'full');
    await assert.rejects(Transcriber.open({ model, device, lanes: 1 }), {
      code: 'ERR_OUT_OF_MEMORY',
      message: /memory of '.*llvmpipe.*' does not suffice/,
    });
    rmSync(fault);
    const transcriber = await Transcriber.open({ model, device, lanes: 1 });
    assert.match((await transcriber.transcribe(short)).text, /your country/);
    await transcriber.close();
  });

  it('that makes no device is not asked again, and the process goes on', async () => {
    const told = await script(`
      const options = { model: 'tiny.en', device: { backend: 'vulkan' }, lanes: 1 };
      writeFileSync(fault, 'none');
      for (let time = 0; time < 2; time += 1) await Transcriber.open(options).catch(tell);
      const other = await Transcriber.open({ ...options, device: 'cpu' });
      console.log((await other.transcribe(list)).text);
      await other.close();`);
    assert.match(
      told[0] ?? '',
      /^ERR_DEVICE_UNAVAILABLE .*failed as it was opened: .*createDevice/,
    );
    assert.match(told[1] ?? '', /^ERR_DEVICE_UNAVAILABLE .*it was lost/);
    assert.match(told[2] ?? '', /your country/);
    assert.equal(told.length, 3);
  });

  it('that is lost in a job that nobody waits for any more is not used for the next', async () => {
    const told = await script(`
      const options = { model: 'tiny.en', device: { backend: 'vulkan' }, lanes: 1 };
      const transcriber = await Transcriber.open(options);
      writeFileSync(fault, 'stuck');
      const stop = new AbortController();
      const aborted = transcriber.transcribe(list, { signal: stop.signal });
      while (!existsSync(fault + '.stuck')) await new Promise((look) => setTimeout(look, 1));
      stop.abort();
      await aborted.catch(({ name }) => console.log(name));
      const next = transcriber.transcribe(list);
      writeFileSync(fault, 'lost');
      await next.catch(tell);
      await transcriber.close();`);
    assert.equal(told[0], 'AbortError');
    assert.match(told[1] ?? '', /^ERR_WORKER_FAILED/);
    assert.match(told[1] ?? '', forGood);
    assert.equal(told.length, 2);
  });

  for (const lanes of [1, 2]) {
    it(`that is lost fails what runs, and closes a transcriber that must have it: ${lanes} lanes`, async () => {
      const told = await script(`
        const options = { model: 'tiny.en', device: { backend: 'vulkan' }, lanes: ${lanes} };
        const transcriber = await Transcriber.open(options);
        console.log(transcriber.info.gpu.lanes);
        writeFileSync(fault, 'lost');
        const jobs = Array.from({ length: 4 }, () => transcriber.transcribe(list));
        const settled = await Promise.allSettled(jobs);
        const [, ...others] = settled.map(({ reason }) => reason);
        console.log(others.every(({ code }) => code === 'ERR_WORKER_FAILED'));
        tell(others.at(-1));
        tell(settled.find(({ reason }) => /DeviceLost/.test(reason.message)).reason);
        await transcriber.transcribe(list).catch(tell);
        await transcriber.close();
        await Transcriber.open(options).catch(tell);
        const other = await Transcriber.open({ ...options, device: 'cpu' });
        console.log((await other.transcribe(list)).text);
        await other.close();`);
      assert.equal(told[0], String(lanes));
      assert.equal(told[1], 'true');
      assert.match(told[2] ?? '', /^ERR_WORKER_FAILED/);
      assert.match(told[2] ?? '', forGood);
      assert.match(told[3] ?? '', /^ERR_WORKER_FAILED the GPU 'llvmpipe.*' failed: .*DeviceLost/);
      assert.match(told[4] ?? '', /^ERR_CLOSED/);
      assert.match(told[4] ?? '', forGood);
      assert.match(told[5] ?? '', /^ERR_DEVICE_UNAVAILABLE .*it was lost, and this process cannot/);
      assert.match(told[6] ?? '', /your country/);
      assert.equal(told.length, 7);
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
    assert.match(told[2] ?? '', /^the CPU takes the place of the GPU: .*it was lost/);
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

  it('as worker processes start is left to the CPU, if it may', async () => {
    isFast();
    const options = { model, lanes: 1, crashReports: false } as const;
    const isolated = await IsolatedTranscriber.open(options);
    assert.equal(isolated.info.backend, 'vulkan');
    writeFileSync(fault, 'none');
    process.kill(isolated.stats().workers[0]?.pid ?? 0, 'SIGKILL');
    const { text, device: ran } = await isolated.transcribe(short);
    assert.match(text, /your country/);
    assert.match(ran, /^cpu/);
    await isolated.close();
  });

  /** The lines that a program in a process of its own told, which must end by itself and silently. */
  async function script(body: string): Promise<string[]> {
    const { code, signal, stdout, stderr } = await runScript(
      `
      const { splitPackets, Transcriber } = require('opuscribe');
      const { existsSync, readFileSync, writeFileSync } = require('node:fs');
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
