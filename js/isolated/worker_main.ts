// The worker process: an engine, and the messages that come and go. Started by process.ts.

import type { Failure } from '../../index.js';
import type { EngineStream, PlacedOptions, Running } from '../engine.js';
import { isFailure, toFailure } from '../error.js';
import { NativeEngine } from '../native_engine.js';
import type { Order, Report, Run, StreamState, Vitals } from './protocol.js';

/** How often a stream's state is told while it changes. */
const STATE_MS = 100;

interface OpenStream {
  stream: EngineStream;
  taken: number;
  hasRoom: boolean;
  told: string;
}

/** Electron's utility processes have a port, others a channel. */
interface ParentPort {
  postMessage(message: unknown): void;
  on(event: 'message', listener: (event: { data: Order }) => void): void;
}
const { parentPort } = process as NodeJS.Process & { parentPort?: ParentPort };

let engine: NativeEngine | undefined;
const jobs = new Map<number, Running>();
const streams = new Map<number, OpenStream>();

if (parentPort) {
  parentPort.on('message', ({ data }) => obey(data));
} else {
  process.on('message', (order: Order) => obey(order));
  // Nobody is left to work for. Nothing is saved, so nothing is waited for: a driver that hangs
  // must not keep the process, and with it the memory of a GPU.
  process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));
}

function tell(report: Report): void {
  if (parentPort) parentPort.postMessage(report);
  // The channel may just have closed, which 'disconnect' tells.
  else process.send?.(report, undefined, undefined, () => {});
}

function obey(order: Order): void {
  switch (order.type) {
    case 'open':
      open(order.options, order.onnxRuntime);
      return;
    case 'ping':
      tell({ type: 'pong', vitals: vitals() });
      return;
    case 'job':
      startJob(order);
      return;
    case 'cancel':
      jobs.get(order.key)?.cancel();
      return;
    case 'stream':
      openStream(order);
      return;
    case 'write':
      write(order.key, order.number, order.run);
      return;
    case 'idle':
      streams.get(order.key)?.stream.idle();
      return;
    case 'end':
      streams.get(order.key)?.stream.end();
      return;
    case 'abandon':
      streams.get(order.key)?.stream.close();
      streams.delete(order.key);
      return;
    case 'close':
      close();
  }
}

async function open(options: PlacedOptions, onnxRuntime: string): Promise<void> {
  try {
    const opened = await NativeEngine.open(options, onnxRuntime, (record) =>
      tell({ type: 'log', record }),
    );
    if (isFailure(opened)) {
      tell({ type: 'failed', failure: opened });
      return;
    }
    engine = opened;
    tell({ type: 'ready', info: engine.info, vitals: vitals() });
  } catch (error) {
    tell({ type: 'failed', failure: toFailure(error, 'ERR_INVALID_ARGUMENT') });
  }
}

function startJob({ key, input, options, events }: Order & { type: 'job' }): void {
  const onEvent = events
    ? (event: Parameters<NonNullable<Parameters<NativeEngine['submit']>[2]>>[0]) =>
        tell({ type: 'event', key, event })
    : undefined;
  try {
    if (engine === undefined) throw new Error('the worker is not ready');
    const job = engine.submit(input, options, onEvent);
    jobs.set(key, job);
    job.outcome.then((outcome) => {
      jobs.delete(key);
      if (isFailure(outcome) && isBroken()) return;
      tell({ type: 'done', key, outcome, vitals: vitals() });
    });
  } catch (error) {
    tell({
      type: 'done',
      key,
      outcome: toFailure(error, 'ERR_INVALID_ARGUMENT'),
      vitals: vitals(),
    });
  }
}

function openStream({ key, options, resume, taken }: Order & { type: 'stream' }): void {
  streams.get(key)?.stream.close();
  const opened = attempt(() => {
    if (engine === undefined) throw new Error('the worker is not ready');
    return engine.openStream(
      options,
      (event) => {
        if (event.kind === 'end') {
          if (event.failure !== undefined && isBroken()) return;
          streams.delete(key);
        }
        // Between its state and its event, which is later shows in the event.
        const known = streams.get(key);
        if (event.kind === 'ready' && known) known.hasRoom = true;
        tell({ type: 'stream-event', key, event });
        tellState(key);
      },
      resume,
    );
  });
  if (isFailure(opened)) {
    if (isBroken()) return;
    tell({ type: 'stream-event', key, event: { kind: 'end', failure: opened } });
    return;
  }
  streams.set(key, { stream: opened, taken, hasRoom: true, told: '' });
  tellState(key);
}

function write(key: number, number: number, run: Run): void {
  const known = streams.get(key);
  if (known === undefined) return;
  const taken = attempt(() =>
    run instanceof Float32Array
      ? known.stream.writeFloats(run)
      : known.stream.writePackets(run.bytes, run.lengths),
  );
  if (isFailure(taken)) {
    known.stream.close();
    streams.delete(key);
    tell({ type: 'stream-event', key, event: { kind: 'end', failure: taken } });
    return;
  }
  known.taken = number;
  known.hasRoom = taken;
  if (!taken) tellState(key);
}

function tellState(key: number): void {
  const known = streams.get(key);
  if (known === undefined) return;
  const { taken, hasRoom, stream } = known;
  const { writtenMs, lagMs } = stream;
  const state: StreamState = { taken, writtenMs, lagMs, hasRoom };
  const told = `${taken} ${writtenMs} ${lagMs} ${hasRoom}`;
  if (told === known.told) return;
  known.told = told;
  tell({ type: 'stream-state', key, state });
}

setInterval(() => {
  for (const key of streams.keys()) tellState(key);
}, STATE_MS).unref();

/** An engine that has closed itself serves nobody: another process is to run what it had. */
function isBroken(): boolean {
  const why = engine?.broken ?? undefined;
  if (why !== undefined) tell({ type: 'broken', why });
  return why !== undefined;
}

async function close(): Promise<void> {
  await engine?.close(false);
  tell({ type: 'closed' });
}

function vitals(): Vitals {
  const counters = engine?.stats();
  return { rssBytes: process.memoryUsage.rss(), ...(counters && { counters }) };
}

function attempt<Value>(call: () => Value): Value | Failure {
  try {
    return call();
  } catch (error) {
    return toFailure(error, 'ERR_INVALID_ARGUMENT');
  }
}
