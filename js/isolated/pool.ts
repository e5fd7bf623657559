// The engine that is elsewhere: jobs wait here, run in the worker processes, and are settled once,
// whatever becomes of those.

import type {
  EngineCounters,
  EngineInfo,
  Failure,
  JobEvent,
  JobOptions,
  LiveEvent,
  LiveOptions,
  LogRecord,
  Transcript,
} from '../../index.js';
import type { Engine, EngineStream, Input, PlacedOptions, Running } from '../engine.js';
import { NOT_OPEN } from '../error.js';
import type { CircuitOptions } from './circuit.js';
import { type CrashReport, crashReport, type Evidence } from './crash.js';
import type { CrashFiles } from './crash_files.js';
import {
  ABORTED,
  CLOSED,
  type CrashFailure,
  crashFailure,
  poisonous,
  TIMEOUT,
} from './failures.js';
import { heldBytes, Job, owned } from './job.js';
import { limits, unbounded } from './limits.js';
import { Queue } from './queue.js';
import { lose, Streams } from './streams.js';
import { Tally } from './tally.js';
import { type RecycleOptions, Worker } from './worker.js';

export interface PoolOptions {
  engine: PlacedOptions;
  onnxRuntime: string;
  onLog: ((record: LogRecord) => void) | undefined;
  onCrash: ((report: CrashReport) => void) | undefined;
  files: CrashFiles | undefined;
  workers: number;
  env: Record<string, string | undefined>;
  heartbeatTimeoutMs: number;
  recycle: RecycleOptions;
  circuit: CircuitOptions;
}

type Fields = Record<string, string | number>;

const LOG_TARGET = 'opuscribe::isolated';
/** Failures to start that another device may not suffer from. */
const OF_THE_DEVICE = ['ERR_DEVICE_UNAVAILABLE', 'ERR_OUT_OF_MEMORY'];
/** After so many crashes of a process that is not ready yet, a GPU is not tried again. */
const MAX_GPU_STARTS = 2;

export class Pool implements Engine {
  readonly #options: PoolOptions;
  readonly #workers: Worker[];
  readonly #queue = new Queue();
  /** Every job that is not settled. */
  readonly #jobs = new Map<number, Job>();
  readonly #streams: Streams;
  readonly #tally = new Tally();
  #engine: PlacedOptions;
  #info: EngineInfo | undefined;
  #keys = 0;
  #bytes = 0;
  #state: 'opening' | 'open' | 'draining' | 'closed' = 'opening';
  #opened: (failure: Failure | undefined) => void = () => {};
  #drained: () => void = () => {};
  #lastCrash: CrashFailure | undefined;
  #startCrashes = 0;
  /** Node ends a process that waits for nothing but another process. */
  #alive: NodeJS.Timeout | undefined;

  private constructor(options: PoolOptions) {
    this.#options = options;
    this.#engine = options.engine;
    const { workers, recycle, circuit } = options;
    const listeners: ConstructorParameters<typeof Worker>[0] = {
      onReady: (worker, info) => this.#ready(worker, info),
      onFailed: (worker, failure) => this.#startFailed(worker, failure),
      onLog: (record) => options.onLog?.(record),
      onCrash: (worker, evidence) => this.#crashed(worker, evidence),
      onDone: (job, outcome) => this.#done(job, outcome),
      onRoom: () => this.#dispatch(),
    };
    this.#workers = Array.from({ length: workers }, () => new Worker(listeners, recycle, circuit));
    this.#streams = new Streams(this.#workers, () => {
      this.#rest();
      this.#dispatch();
    });
  }

  /** Resolves when every worker is ready. */
  static async open(options: PoolOptions): Promise<Pool | Failure> {
    const pool = new Pool(options);
    const opened = new Promise<Failure | undefined>((resolve) => {
      pool.#opened = resolve;
    });
    pool.#stayAlive();
    for (const worker of pool.#workers) worker.start(pool.#childOptions, 0);
    const failure = await opened;
    if (failure === undefined) return pool;
    await pool.close(false);
    return failure;
  }

  readonly #childOptions = () => {
    const { onnxRuntime, env, heartbeatTimeoutMs } = this.#options;
    return { engine: unbounded(this.#engine), onnxRuntime, env, heartbeatTimeoutMs };
  };

  get info(): EngineInfo {
    // Set by the first process that was ready, before anybody had this.
    const info = this.#info as EngineInfo;
    if (this.#device === info.device) return info;
    const { gpu, ...rest } = info;
    return { ...rest, backend: 'cpu', device: this.#device };
  }

  /** What a worker says now: its engine may have gone on on the CPU. */
  get #device(): string {
    const told = this.#workers.map(({ child }) => child?.vitals?.counters?.device);
    return told.find((device) => device !== undefined) ?? (this.#info as EngineInfo).device;
  }

  get workers(): readonly Worker[] {
    return this.#workers;
  }

  get crashes(): number {
    return this.#tally.crashes;
  }

  submit(
    input: Input,
    options: JobOptions,
    onEvent: ((event: JobEvent) => void) | undefined,
  ): Running {
    const refusal = this.#refusal() ?? this.#fullFor(heldBytes(input));
    if (refusal) return { outcome: Promise.resolve(refusal), cancel() {} };
    const job = new Job(this.#nextKey(), owned(input), options, {
      onEvent,
      onSettled: (job, outcome) => this.#settled(job, outcome),
      onTimeout: (job) => this.#giveUp(job, TIMEOUT),
    });
    this.#jobs.set(job.key, job);
    this.#bytes += job.bytes;
    this.#queue.push(job);
    this.#stayAlive();
    this.#dispatch();
    return { outcome: job.outcome, cancel: () => this.#giveUp(job, ABORTED) };
  }

  #nextKey(): number {
    const key = this.#keys;
    this.#keys += 1;
    return key;
  }

  /** Why nothing is taken in at the moment. */
  #refusal(): Failure | undefined {
    if (this.#state !== 'open') return NOT_OPEN;
    for (const worker of this.#workers) worker.tryAgain(this.#childOptions);
    if (!this.#isDown) return undefined;
    return this.#tooMany(Math.min(...this.#workers.map(({ retryAfterMs }) => retryAfterMs)));
  }

  /** No worker has a process, or is about to have one. */
  get #isDown(): boolean {
    return this.#workers.every(({ isDown }) => isDown);
  }

  #fullFor(bytes: number): Failure | undefined {
    const { maxQueue, maxQueuedBytes } = limits(this.#engine);
    const excess = this.#bytes + bytes - maxQueuedBytes;
    let what: string;
    if (this.#jobs.size >= maxQueue) what = `${maxQueue} jobs are in the queue`;
    else if (excess > 0 && this.#bytes > 0 && bytes > 0) {
      what = `the jobs in the queue would hold ${excess} bytes of input more than maxQueuedBytes, ${maxQueuedBytes}`;
    } else return undefined;
    const retryAfterMs = this.#tally.retryAfterMs(this.#jobs.size < maxQueue ? excess : 0);
    const message = `${what}; try again in ${retryAfterMs} ms`;
    return { code: 'ERR_QUEUE_FULL', message, retryAfterMs };
  }

  /** Settles a job at once, wherever it is, and stops it there. */
  #giveUp(job: Job, failure: Failure): void {
    if (job.settled) return;
    const { code, message } = failure;
    // The process that has it tells this itself.
    if (this.#queue.remove(job)) {
      this.#log('info', `not transcribed: ${message}`, { code }, job.id);
    }
    for (const worker of this.#workers) worker.cancel(job);
    job.settle(failure);
  }

  #settled(job: Job, outcome: Transcript | Failure): void {
    this.#jobs.delete(job.key);
    this.#bytes -= job.bytes;
    this.#tally.settled(outcome, job.bytes);
    this.#rest();
  }

  #done(job: Job, outcome: Transcript | Failure): void {
    job.settle(outcome);
    this.#dispatch();
  }

  /** Gives each worker what it has room for, one job after the other to who has the fewest. */
  #dispatch(): void {
    if (this.#state === 'closed') return;
    for (const worker of this.#workers) {
      // What runs is finished first.
      if (worker.isSpent && worker.jobs.size === 0) this.#recycle(worker);
    }
    const able = this.#workers.filter(
      (worker) => worker.isServing && !worker.isSpent && !worker.isCatchingUp,
    );
    for (let isGiven = true; isGiven; ) {
      able.sort((one, other) => one.jobs.size - other.jobs.size);
      isGiven = able.some((worker) => {
        const job = this.#queue.next([...worker.jobs.values()], worker.child?.lanes);
        if (job) worker.run(job);
        return job !== undefined;
      });
    }
  }

  async #recycle(worker: Worker): Promise<void> {
    this.#tally.gone(worker.child?.vitals?.counters);
    this.#log('info', 'a worker process has done enough, and is replaced', pidOf(worker));
    await worker.recycle(this.#childOptions);
  }

  #ready(worker: Worker, info: EngineInfo): void {
    this.#info = info;
    this.#startCrashes = 0;
    this.#log('info', `a worker process is ready, on ${info.device}`, pidOf(worker));
    if (this.#state === 'opening' && this.#workers.every(({ isServing }) => isServing)) {
      this.#state = 'open';
      this.#opened(undefined);
      this.#rest();
    }
    this.#dispatch();
  }

  /** The models cannot be loaded: nothing that trying again at once would change. */
  #startFailed(worker: Worker, failure: Failure): void {
    if (this.#state === 'opening') {
      this.#opened(failure);
      return;
    }
    const { code, message } = failure;
    this.#log('error', `a worker process cannot load its models: ${code}, ${message}`);
    if (OF_THE_DEVICE.includes(code)) this.#fallBack(message);
    else if (code === 'ERR_WORKER_FAILED') this.#considerCpu();
    this.#lastCrash = { code: 'ERR_WORKER_CRASHED', message: `${code}: ${message}` };
    this.#again(worker);
  }

  #crashed(worker: Worker, evidence: Evidence): void {
    this.#tally.crashes += 1;
    this.#tally.gone(evidence.counters);
    const jobs = [...worker.jobs.values()].filter((job) => !job.settled);
    worker.jobs.clear();
    const streams = [...worker.streams.values()].filter(({ isAttached }) => isAttached);
    const alone = jobs.length + streams.length === 1;
    const poison = jobs.filter((job) => job.crashed(alone));
    const lost = new Set(streams.filter((stream) => stream.crashed(alone)));
    const report = crashReport(evidence, [
      ...jobs.map((job) => job.describe(poison.includes(job))),
      ...streams.map((stream) => stream.describe(lost.has(stream))),
    ]);
    this.#lastCrash = crashFailure(report);
    const fields = { pid: evidence.pid ?? 0, crash: report.id };
    this.#log('error', `a worker process crashed: ${report.explanation}`, fields);
    this.#keep(
      report,
      jobs.map((job) => (poison.includes(job) ? job.input : undefined)),
    );
    for (const job of poison) {
      job.settle({ ...this.#lastCrash, message: poisonous(report, job.crashes) });
    }
    for (const stream of lost) lose(stream, this.#lastCrash);
    for (const stream of worker.streams.values()) stream.detach();
    // Alone, so that what crashes then is known.
    for (const job of jobs) if (!poison.includes(job)) this.#queue.suspect(job);
    if (evidence.phase === 'starting') this.#considerCpu();
    this.#again(worker);
    this.#dispatch();
  }

  /** Starts the next process, unless that has failed too often. */
  #again(worker: Worker): void {
    worker.again(this.#childOptions);
    if (!worker.isDown) return;
    const failure = this.#tooMany(worker.retryAfterMs);
    this.#log('error', failure.message);
    if (this.#state === 'opening') this.#opened(failure);
    else if (this.#isDown) {
      for (const job of [...this.#jobs.values()]) this.#giveUp(job, failure);
      for (const stream of this.#streams.all) lose(stream, failure);
    } else for (const stream of worker.streams.values()) this.#streams.place(stream);
  }

  #tooMany(retryAfterMs: number): CrashFailure {
    const why = this.#lastCrash?.message ?? 'the worker processes end';
    const message = `too many worker processes crashed, the last one: ${why}. No other is started for ${retryAfterMs} ms`;
    return { ...this.#lastCrash, code: 'ERR_WORKER_CRASHED', message, retryAfterMs };
  }

  /** A GPU that takes every process with it is worse than none. */
  #considerCpu(): void {
    this.#startCrashes += 1;
    if (this.#startCrashes < MAX_GPU_STARTS) return;
    this.#fallBack('worker processes crash as they start');
  }

  /** The next processes use the CPU, if it may take the place of the GPU. */
  #fallBack(why: string): void {
    if (this.#engine.mayFallBack !== true) return;
    this.#log('warn', `the next worker processes use the CPU: ${why}`);
    const { gpu, lanes, mayFallBack, ...engine } = this.#engine;
    this.#engine = { ...engine, backend: 'cpu' };
  }

  async #keep(report: CrashReport, poison: (Input | undefined)[]): Promise<void> {
    let kept = report;
    try {
      kept = (await this.#options.files?.write(report, poison)) ?? report;
    } catch (error) {
      this.#log('warn', `the crash report cannot be written: ${error}`, { crash: report.id });
    }
    this.#options.onCrash?.(kept);
  }

  openStream(options: LiveOptions, onEvent: (event: LiveEvent) => void): EngineStream | Failure {
    const refusal = this.#refusal();
    if (refusal) return refusal;
    return this.#streams.open(this.#nextKey(), options, onEvent);
  }

  stats(): EngineCounters {
    // What a process has counted that is being replaced, is counted in already.
    const counted = this.#workers.filter(({ state }) => state !== 'recycling');
    const living = counted.flatMap((worker) => worker.child?.vitals?.counters ?? []);
    const running = this.#workers.reduce((sum, { jobs }) => sum + jobs.size, 0);
    return {
      queued: this.#queue.size,
      running,
      queuedBytes: this.#bytes,
      completed: this.#tally.completed,
      failed: { ...this.#tally.failed },
      ...this.#tally.sums(living),
      timings: this.#tally.timings,
      modelBytes: living.reduce((sum, { modelBytes }) => sum + modelBytes, 0),
      device: this.#device,
    };
  }

  async close(drain: boolean): Promise<undefined> {
    if (this.#state === 'closed') return;
    this.#stayAlive();
    if (drain && this.#state === 'open') {
      this.#state = 'draining';
      for (const stream of this.#streams.all) stream.end();
      const drained = new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
      this.#rest();
      await drained;
    }
    this.#state = 'closed';
    for (const job of [...this.#jobs.values()]) this.#giveUp(job, CLOSED);
    for (const stream of this.#streams.all) stream.fail(CLOSED);
    await Promise.all(this.#workers.map((worker) => this.#end(worker)));
    clearInterval(this.#alive);
  }

  async #end(worker: Worker): Promise<void> {
    const isCounted = worker.state === 'recycling';
    const counters = worker.child?.vitals?.counters;
    await worker.close();
    if (!isCounted) this.#tally.gone(counters);
  }

  hurry(): void {
    this.#drained();
  }

  #stayAlive(): void {
    this.#alive ??= setInterval(() => {}, 2 ** 30);
  }

  /** Nothing to do: the process may end, and a draining close goes on. */
  #rest(): void {
    if (this.#jobs.size > 0) return;
    if (this.#state === 'draining' && this.#streams.size === 0) this.#drained();
    if (this.#state !== 'open') return;
    clearInterval(this.#alive);
    this.#alive = undefined;
  }

  #log(level: LogRecord['level'], message: string, fields?: Fields, id?: string): void {
    const about = { ...(id !== undefined && { id }), ...(fields && { fields }) };
    this.#options.onLog?.({ level, target: LOG_TARGET, message, ...about });
  }
}

function pidOf({ child }: Worker): Fields {
  return { pid: child?.pid ?? 0 };
}
