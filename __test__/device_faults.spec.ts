// What a GPU that fails does to the process that wants it. Needs an addon with the feature `faults`,
// which `npm test` builds: there is a GPU that is none in it, which does what the environment says.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { type Device, type LogRecord, listDevices, OpuscribeError, Transcriber } from 'opuscribe';
import { IsolatedTranscriber } from 'opuscribe/isolated';
import { modelsFolder } from '../js/models';
import * as gpu from './fake_gpu';
import { packets } from './fixtures';

const list = packets('libri_waiting');
const model = 'tiny.en';
const skip = process.env.OPUSCRIBE_FAULTS === undefined && 'the addon has no faults on purpose';

describe('a GPU', { skip }, () => {
  const { its, takes, verdicts } = gpu;
  let folder: string;
  let records: LogRecord[];
  const onLog = (record: LogRecord) => records.push(record);

  before(() => {
    process.env.OPUSCRIBE_MODELS = modelsFolder();
    folder = gpu.begin();
  });
  beforeEach(() => {
    records = [];
    listDevices.clearVerdicts();
  });
  afterEach(() => assert.deepEqual(gpu.probes(), [], 'no probe is left'));
  after(() => rmSync(folder, { recursive: true, force: true }));

  function warnings(): string {
    return records.flatMap(({ level, message }) => (level === 'warn' ? [message] : [])).join('\n');
  }

  async function onCpu(fault: string): Promise<void> {
    its(fault);
    let beats = 0;
    const beat = setInterval(() => {
      beats += 1;
    }, 1);
    const opening = Transcriber.open({ model, onLog });
    const transcriber = await opening.finally(() => clearInterval(beat));
    assert.ok(beats > 0, 'this thread is free meanwhile');
    assert.match(transcriber.info.device, /^cpu/);
    assert.equal(transcriber.info.gpu, undefined);
    assert.match((await transcriber.transcribe(list)).text, /full hour/);
    await transcriber.close();
  }

  const refused = async (device: Device, code: string, message: RegExp) => {
    await assert.rejects(Transcriber.open({ model, device }), (error) => {
      assert.ok(error instanceof OpuscribeError);
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    });
  };

  it('that works is used, and told everywhere', async () => {
    its('works');
    const device = { backend: 'vulkan', name: 'fake gpu' } as const;
    const transcriber = await Transcriber.open({ model, device, onLog });
    const { info } = transcriber;
    assert.equal(info.backend, 'vulkan');
    assert.equal(info.device, 'vulkan 0: Fake GPU 9000');
    const { estimatedBytes = 0, lanes = 0, ...gpu } = info.gpu ?? {};
    // As many as were worth it on this machine's processor, which it is.
    assert.ok(lanes >= 1);
    assert.deepEqual(gpu, {
      index: 0,
      driver: 'fake 1.0',
      totalBytes: 8 * 1024 ** 3,
      usedBytes: 0,
    });
    assert.ok(estimatedBytes > info.modelBytes);
    assert.ok(estimatedBytes < 6 * (lanes + 1) * info.modelBytes);
    const transcript = await transcriber.transcribe(list);
    assert.match(transcript.text, /full hour/);
    assert.equal(transcript.device, info.device);
    assert.equal(transcriber.stats().device, info.device);
    const told = records.map(({ message }) => message).join('\n');
    assert.match(
      told,
      /trying out vulkan 0 \(Fake GPU 9000\).*\n.*runs on vulkan 0 \(Fake GPU 9000\)/s,
    );
    await transcriber.close();
  });

  it('is listed with its driver and memory, and with a verdict when there is one', async () => {
    its('works');
    const [untried, ...others] = await listDevices();
    assert.equal(others.length, 0);
    assert.deepEqual(untried, {
      backend: 'vulkan',
      index: 0,
      name: 'Fake GPU 9000',
      driver: 'fake 1.0',
      integrated: false,
      totalBytes: 8 * 1024 ** 3,
      freeBytes: 7 * 1024 ** 3,
    });
    const [tried] = await listDevices({ model });
    assert.equal(tried?.verdict?.works, true);
    assert.ok((tried?.verdict?.gpuMs ?? 0) > 0 && (tried?.verdict?.cpuMs ?? 0) > 0);
    const [remembered] = await listDevices();
    assert.deepEqual(remembered?.verdict, tried?.verdict);
    listDevices.clearVerdicts();
    assert.equal((await listDevices())[0]?.verdict, undefined);
    await assert.rejects(listDevices({ model: join(folder, 'none.bin') }), {
      code: 'ERR_MODEL_NOT_FOUND',
    });
  });

  it('is tried once, however many want it', async () => {
    its('works');
    await Promise.all(Array.from({ length: 4 }, () => listDevices({ model })));
    assert.equal(Object.keys(verdicts()).length, 1);
    const [{ at } = { at: '' }] = Object.values(verdicts());
    await listDevices({ model });
    assert.equal(Object.values(verdicts())[0]?.at, at);
  });

  it('is tried by one process, however many start at once', async () => {
    its('works');
    // Left by one that was killed.
    writeFileSync(join(folder, 'devices.lock'), '999999999');
    const source = `require('opuscribe').listDevices({ model: 'tiny.en' })
      .then(([{ verdict }]) => console.log(verdict.works, verdict.at));`;
    const tried = async () => {
      const child = spawn(process.execPath, ['-e', source], { cwd: join(__dirname, '..') });
      const [said] = await once(child.stdout.setEncoding('utf8'), 'data');
      return said.trim();
    };
    const said = await Promise.all([tried(), tried(), tried()]);
    assert.match(said[0], /^true 2/);
    assert.deepEqual(said, [said[0], said[0], said[0]]);
    assert.ok(!existsSync(join(folder, 'devices.lock')));
  });

  it('is taken by auto where it is faster than the CPU, with the lanes that were worth it', async () => {
    its('works');
    await listDevices({ model });
    takes(100, 3);
    const fast = await Transcriber.open({ model, onLog });
    assert.equal(fast.info.backend, 'vulkan');
    assert.equal(fast.info.gpu?.lanes, 3);
    const { text } = await fast.transcribe(list);
    const texts = await Promise.all(Array.from({ length: 9 }, () => fast.transcribe(list)));
    assert.deepEqual(new Set(texts.map((transcript) => transcript.text)), new Set([text]));
    await fast.close();
    takes(2000);
    const slow = await Transcriber.open({ model, onLog });
    assert.equal(slow.info.backend, 'cpu');
    assert.match(warnings(), /slower than the CPU \(2000 ms against 1000/);
    await slow.close();
    // Who asks for it gets it all the same.
    const asked = await Transcriber.open({ model, device: 'gpu' });
    assert.equal(asked.info.backend, 'vulkan');
    await asked.close();
  });

  it('is asked for by index or name, and told apart from those that are not there', async () => {
    its('works');
    const unavailable = 'ERR_DEVICE_UNAVAILABLE';
    const known = /finds only 0 \(Fake GPU 9000\)/;
    await refused({ backend: 'vulkan', index: 1 }, unavailable, known);
    await refused({ backend: 'vulkan', name: 'RTX' }, unavailable, known);
    await refused({ backend: 'cuda' }, unavailable, /cuda: its addon is not installed/);
    const device = { backend: 'vulkan', index: 0, name: '9000' } as const;
    const transcriber = await Transcriber.open({ model, device });
    await transcriber.close();
    its('two');
    const both = await listDevices();
    assert.deepEqual(
      both.map(({ index, name }) => `${index} ${name}`),
      ['0 Fake GPU 9000', '1 Fake GPU 9500 Ti'],
    );
    for (const choice of [{ index: 1 }, { name: '9500 ti' }]) {
      const second = await Transcriber.open({ model, device: { backend: 'vulkan', ...choice } });
      assert.equal(second.info.device, 'vulkan 1: Fake GPU 9500 Ti');
      assert.equal(second.info.gpu?.index, 1);
      await second.close();
    }
    // Each has a verdict of its own, and the second has not spoken for the first.
    assert.equal(Object.keys(verdicts()).length, 2);
  });

  it('is used where nothing can be remembered', async () => {
    its('works');
    for (const cache of ['/proc/nope', '/dev/null/x']) {
      process.env.OPUSCRIBE_CACHE = cache;
      listDevices.clearVerdicts();
      const transcriber = await Transcriber.open({ model, device: 'gpu' });
      assert.equal(transcriber.info.backend, 'vulkan');
      await transcriber.close();
    }
    process.env.OPUSCRIBE_CACHE = folder;
  });

  it('is where the environment says, if the options do not', async () => {
    its('works');
    const { OPUSCRIBE_ADDONS: addons = '' } = process.env;
    try {
      process.env.OPUSCRIBE_ADDONS = relative(process.cwd(), addons);
      process.env.OPUSCRIBE_DEVICE = 'vulkan:0';
      const said = await Transcriber.open({ model });
      assert.equal(said.info.backend, 'vulkan');
      await said.close();
      const asked = await Transcriber.open({ model, device: 'cpu' });
      assert.equal(asked.info.backend, 'cpu');
      await asked.close();
      takes(100);
      process.env.OPUSCRIBE_DEVICE = 'cpu';
      const spared = await Transcriber.open({ model });
      assert.equal(spared.info.backend, 'cpu');
      await spared.close();
      process.env.OPUSCRIBE_DEVICE = 'vulkan:7';
      await assert.rejects(Transcriber.open({ model }), { code: 'ERR_DEVICE_UNAVAILABLE' });
      process.env.OPUSCRIBE_DEVICE = 'abacus';
      await assert.rejects(Transcriber.open({ model }), {
        code: 'ERR_INVALID_ARGUMENT',
        message: /OPUSCRIBE_DEVICE is 'abacus'; expected auto, gpu, cpu/,
      });
    } finally {
      process.env.OPUSCRIBE_ADDONS = addons;
      delete process.env.OPUSCRIBE_DEVICE;
    }
  });

  for (const [fault, reason] of [
    ['crash-listing', /vulkan: the probe was ended by SIGABRT/],
    ['crash-loading', /Fake GPU 9000\): the probe was ended by SIGABRT/],
    ['garbled', /it hears 'bzzt' where 'ask what you can do for your country' is said/],
  ] as const) {
    it(`that fails (${fault}) costs nothing, and auto takes the CPU and says why`, async () => {
      await onCpu(fault);
      assert.match(warnings(), reason);
      await refused('gpu', 'ERR_DEVICE_UNAVAILABLE', reason);
      // It is known, and not tried again before it is wanted.
      its('works');
      await refused('gpu', 'ERR_DEVICE_UNAVAILABLE', reason);
      listDevices.clearVerdicts();
      const transcriber = await Transcriber.open({ model, device: 'gpu' });
      await transcriber.close();
    });
  }

  it('that hangs is given up, and auto takes the CPU', async () => {
    // Read when the module is loaded; see the top of `npm test`'s environment for these.
    for (const fault of ['hang-listing', 'hang-loading']) {
      listDevices.clearVerdicts();
      await onCpu(fault);
      assert.match(warnings(), /did not answer within/);
    }
  });

  it('without enough memory is ERR_OUT_OF_MEMORY with advice, which is no verdict on it', async () => {
    await onCpu('full');
    assert.match(warnings(), /takes about \d+ MiB .* of whose 8192 MiB 64 are free/);
    await refused('gpu', 'ERR_OUT_OF_MEMORY', /use a smaller or quantised model/);
    assert.deepEqual(verdicts(), {});
    its('works');
    const transcriber = await Transcriber.open({ model, device: 'gpu' });
    await transcriber.close();
    // Somebody else has it by now.
    takes(100);
    records = [];
    await onCpu('full');
    assert.match(warnings(), /runs on the CPU; tried: .* of whose 8192 MiB 64 are free/);
    await refused('gpu', 'ERR_OUT_OF_MEMORY', /use a smaller or quantised model/);
  });

  it('has no part in what is wrong with a model', async () => {
    its('works');
    const broken = join(folder, 'broken.bin');
    writeFileSync(broken, 'no model');
    for (const device of ['auto', 'gpu'] as const) {
      await assert.rejects(Transcriber.open({ model: broken, device }), {
        code: 'ERR_MODEL_INVALID',
      });
    }
    assert.deepEqual(verdicts(), {});
  });

  it('that is lost fails the running job, and the CPU takes its place', async () => {
    its('works');
    await listDevices({ model });
    takes(100);
    const transcriber = await Transcriber.open({ model, onLog });
    assert.equal(transcriber.info.backend, 'vulkan');
    await assert.rejects(transcriber.transcribe(list, { id: 'fault:lost' }), {
      code: 'ERR_WORKER_FAILED',
      message: /the GPU 'Fake GPU 9000' failed|lost on purpose/,
    });
    const transcript = await transcriber.transcribe(list);
    assert.match(transcript.text, /full hour/);
    assert.match(transcript.device, /^cpu/);
    assert.match(transcriber.stats().device, /^cpu/);
    assert.equal(transcriber.info.backend, 'cpu');
    assert.match(transcriber.info.device, /^cpu/);
    assert.equal(transcriber.info.gpu, undefined);
    assert.equal(transcriber.stats().restarts, 1);
    assert.match(warnings(), /the CPU takes the place of the GPU/);
    await transcriber.close();
  });

  it('of a verdict that is damaged is tried again', async () => {
    its('works');
    for (const damaged of ['', '[]', '{"a":', '{"x":{"works":"yes"}}']) {
      writeFileSync(join(folder, 'devices.json'), damaged);
      assert.equal((await listDevices())[0]?.verdict, undefined);
    }
    await listDevices({ model });
    assert.equal(Object.values(verdicts()).length, 1);
  });

  it('that takes worker processes along as they start is left to the CPU, unless it was asked for', async () => {
    its('works');
    await listDevices({ model });
    takes(100);
    const env = { OPUSCRIBE_FAULT_GPU: 'crash-loading' };
    const options = { model, crashReports: false, onLog } as const;
    // As if it had worked there when it was tried out.
    const [[key, verdict] = ['', undefined]] = Object.entries(verdicts());
    const inWorkers = { [`${key} | OPUSCRIBE_FAULT_GPU=crash-loading`]: verdict };
    writeFileSync(join(folder, 'devices.json'), JSON.stringify(inWorkers));
    const transcriber = await IsolatedTranscriber.open({ ...options, env });
    assert.match(transcriber.info.device, /^cpu/);
    assert.match((await transcriber.transcribe(list)).text, /full hour/);
    assert.equal(transcriber.stats().crashes, 2);
    assert.match(warnings(), /next worker processes use the CPU: worker processes crash/);
    await transcriber.close();
    const circuit = { maxCrashes: 3 };
    const asked = IsolatedTranscriber.open({ ...options, env, device: 'gpu', circuit });
    await assert.rejects(asked, {
      code: 'ERR_DEVICE_UNAVAILABLE',
      message: /vulkan 0 \(Fake GPU 9000\): too many worker processes crashed/,
    });
  });

  it('is used by isolated transcribers, which go on on the CPU when it is lost', async () => {
    its('works');
    await listDevices({ model });
    takes(100);
    const transcriber = await IsolatedTranscriber.open({ model, crashReports: false, onLog });
    assert.equal(transcriber.info.backend, 'vulkan');
    assert.equal((await transcriber.transcribe(list)).device, transcriber.info.device);
    await assert.rejects(transcriber.transcribe(list, { id: 'fault:lost' }), {
      code: 'ERR_WORKER_FAILED',
    });
    assert.match((await transcriber.transcribe(list)).device, /^cpu/);
    assert.match(transcriber.stats().device, /^cpu/);
    assert.equal(transcriber.info.backend, 'cpu');
    await transcriber.close();
  });

  it('that the next worker process cannot have is left to the CPU', async () => {
    its('works');
    await listDevices({ model });
    takes(100);
    const transcriber = await IsolatedTranscriber.open({ model, crashReports: false, onLog });
    assert.equal(transcriber.info.backend, 'vulkan');
    its('full');
    process.kill(transcriber.stats().workers[0]?.pid ?? 0, 'SIGKILL');
    assert.match((await transcriber.transcribe(list)).device, /^cpu/);
    assert.match(warnings(), /next worker processes use the CPU: the model takes about/);
    await transcriber.close();
  });

  it('that hangs neither ends a program that waits for it, nor outlives one that is gone', async () => {
    const source = `
      const { Transcriber } = require('opuscribe');
      Transcriber.open({ model: 'tiny.en' }).then(({ info }) => {
        console.log(info.backend);
        process.exit();
      });
      if (process.env.GONE) setTimeout(() => process.kill(process.pid, 'SIGKILL'), 2000);`;
    const run = (more: Record<string, string>) => {
      const env = { ...process.env, OPUSCRIBE_FAULT_GPU: 'hang-listing', ...more };
      const child = spawn(process.execPath, ['-e', source], { cwd: join(__dirname, '..'), env });
      return child;
    };
    const waits = run({ OPUSCRIBE_PROBE_TIMEOUT_MS: '1000' });
    const [said] = await once(waits.stdout.setEncoding('utf8'), 'data');
    assert.equal(said.trim(), 'cpu');
    const gone = run({ GONE: 'yes', OPUSCRIBE_PROBE_TIMEOUT_MS: '600000' });
    await once(gone, 'close');
    while (gpu.probes().length > 0) await new Promise((resolve) => setTimeout(resolve, 100));
  });

  it('whose memory runs out in a worker process is ERR_OUT_OF_MEMORY for the job that needs it', async () => {
    its('works');
    const options = { model, device: 'gpu', crashReports: false } as const;
    const transcriber = await IsolatedTranscriber.open(options);
    const other = transcriber.transcribe(list);
    await assert.rejects(transcriber.transcribe(list, { id: 'fault:memory' }), {
      code: 'ERR_OUT_OF_MEMORY',
      message: /memory ran out on vulkan 0: Fake GPU 9000; use a smaller or quantised model/,
      signal: 'SIGABRT',
    });
    assert.match((await other).text, /full hour/);
    assert.match((await transcriber.transcribe(list)).text, /full hour/);
    await transcriber.close();
  });
});
