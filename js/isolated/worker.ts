// A place for a worker process: there is one in it, or the next is about to be started. It knows
// what runs there.

import type { EngineInfo, Failure, LogRecord, Transcript } from '../../index.js';
import { isFailure } from '../error.js';
import { Child, type ChildOptions } from './child.js';
import { Circuit, type CircuitOptions } from './circuit.js';
import type { Evidence } from './crash.js';
import type { Job } from './job.js';
import type { Report } from './protocol.js';
import type { RemoteStream } from './stream.js';

export interface WorkerListeners {
  onReady(worker: Worker, info: EngineInfo): void;
  onFailed(worker: Worker, failure: Failure): void;
  onLog(record: LogRecord): void;
  onCrash(worker: Worker, evidence: Evidence): void;
  onDone(job: Job, outcome: Transcript | Failure): void;
  /** Something has changed after which there may be room. */
  onRoom(): void;
}

/** What a worker is doing. */
export type WorkerState = 'waiting' | 'starting' | 'serving' | 'recycling' | 'closed';

/** When a process is replaced that has done nothing wrong. */
export interface RecycleOptions {
  /** After so many jobs, from 1 up. Default: never. */
  recycleAfterJobs?: number;
  /** At so many megabytes of resident memory, from 1 up. Default: never. */
  recycleAboveRssMb?: number;
}

/** A process that only has streams may be replaced after so long. */
const LONG_MS = 60_000;

export class Worker {
  /** What runs in the process. */
  readonly jobs = new Map<number, Job>();
  readonly streams = new Map<number, RemoteStream>();
  readonly #listeners: WorkerListeners;
  readonly #recycle: RecycleOptions;
  readonly #circuit: Circuit;
  #child: Child | undefined;
  #state: WorkerState = 'waiting';
  #restart: NodeJS.Timeout | undefined;
  #jobsDone = 0;
  #started = 0;

  constructor(listeners: WorkerListeners, recycle: RecycleOptions, circuit: CircuitOptions) {
    this.#listeners = listeners;
    this.#recycle = recycle;
    this.#circuit = new Circuit(circuit);
  }

  get state(): WorkerState {
    return this.#state;
  }

  get child(): Child | undefined {
    return this.#child;
  }

  /** Processes that were started here. */
  get started(): number {
    return this.#started;
  }

  get isServing(): boolean {
    return this.#state === 'serving';
  }

  /** Streams of a process that has crashed come first: what crashes then, they have done. */
  get isCatchingUp(): boolean {
    return [...this.streams.values()].some((stream) => stream.isCatchingUp);
  }

  /** It has had too many crashes, and gets no other process for the time being. */
  get isDown(): boolean {
    return this.#circuit.isOpen;
  }

  /** When it may be tried again. */
  get retryAfterMs(): number {
    return this.#circuit.retryAfterMs;
  }

  /** After a crash: the next process, unless that were one too many. */
  again(options: () => ChildOptions): void {
    const pauseMs = this.#circuit.crashed();
    if (!this.isDown) this.start(options, pauseMs);
  }

  /** One that is down gets another process when it has been for long enough. */
  tryAgain(options: () => ChildOptions): void {
    if (!this.isDown || this.#circuit.retryAfterMs > 0) return;
    this.#circuit.tryAgain();
    this.start(options, 0);
  }

  /** Its process has done what it is for. */
  worked(): void {
    this.#circuit.worked();
  }

  /** Starts a process, after a pause. */
  start(options: () => ChildOptions, pauseMs: number): void {
    if (this.#state === 'closed') return;
    clearTimeout(this.#restart);
    this.#state = 'waiting';
    if (pauseMs === 0) this.#launch(options());
    else this.#restart = setTimeout(() => this.#launch(options()), pauseMs).unref();
  }

  #launch(options: ChildOptions): void {
    this.#state = 'starting';
    this.#jobsDone = 0;
    this.#started += 1;
    const child: Child = new Child(options, {
      onReady: (info) => {
        if (this.#child !== child || this.#state === 'closed') return;
        this.#state = 'serving';
        this.attachStreams();
        this.#listeners.onReady(this, info);
      },
      onFailed: (failure) => {
        if (this.#child !== child || this.#state === 'closed') return;
        this.#child = undefined;
        this.#state = 'waiting';
        this.#listeners.onFailed(this, failure);
      },
      onReport: (report) => this.#hear(report, child),
      onLog: (record) => this.#listeners.onLog(record),
      onGone: (evidence, wasAsked) => {
        if (this.#child !== child || wasAsked || this.#state === 'closed') return;
        this.#child = undefined;
        this.#state = 'waiting';
        this.#listeners.onCrash(this, evidence);
      },
    });
    this.#child = child;
  }

  #hear(report: Report, child: Child): void {
    switch (report.type) {
      case 'event':
        this.jobs.get(report.key)?.hear(report.event);
        this.#listeners.onRoom();
        return;
      case 'done': {
        const job = this.jobs.get(report.key);
        if (job === undefined) return;
        this.jobs.delete(report.key);
        this.#jobsDone += 1;
        if (!isFailure(report.outcome)) this.worked();
        this.#listeners.onDone(job, report.outcome);
        return;
      }
      case 'stream-event':
        this.streams.get(report.key)?.hear(report.event, child);
        return;
      case 'stream-state':
        this.streams.get(report.key)?.hearState(report.state, child);
        return;
      case 'pong':
        this.#listeners.onRoom();
    }
  }

  run(job: Job): void {
    this.jobs.set(job.key, job);
    job.dispatched();
    const { key, input } = job;
    this.#child?.send({ type: 'job', key, input, ...job.ordered });
  }

  cancel(job: Job): void {
    if (this.jobs.has(job.key)) this.#child?.send({ type: 'cancel', key: job.key });
  }

  hold(stream: RemoteStream): void {
    this.streams.set(stream.key, stream);
    this.attachStreams();
  }

  /** Those that may have crashed the process go on one by one, each when the last has caught up. */
  attachStreams(): void {
    const child = this.#child;
    if (!this.isServing || child === undefined) return;
    const streams = [...this.streams.values()];
    const waiting = streams.filter(({ isAttached }) => !isAttached);
    if (streams.some((stream) => stream.isAttached && stream.isSuspect)) return;
    const suspect = waiting.find(({ isSuspect }) => isSuspect);
    for (const stream of suspect ? [suspect] : waiting) {
      if (!stream.isAttached) stream.attach(child);
    }
  }

  /** Whether the process has done enough, or grown too large. */
  get isSpent(): boolean {
    const { recycleAfterJobs = Infinity, recycleAboveRssMb = Infinity } = this.#recycle;
    const rssMb = (this.#child?.vitals?.rssBytes ?? 0) / (1024 * 1024);
    // Who is too large from the start would never do anything.
    const hasWorked = this.#jobsDone > 0 || (this.#child?.uptimeMs ?? 0) > LONG_MS;
    const isLarge = rssMb > recycleAboveRssMb && hasWorked;
    return this.isServing && (this.#jobsDone >= recycleAfterJobs || isLarge);
  }

  /** Replaces the process, in which no job runs. Its streams go on in the next. */
  async recycle(options: () => ChildOptions): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#state = 'recycling';
    for (const stream of this.streams.values()) stream.detach();
    await child.close();
    if (this.#state !== 'recycling') return;
    this.#child = undefined;
    this.start(options, 0);
  }

  /** Ends the process, and starts no other. */
  async close(): Promise<void> {
    this.#state = 'closed';
    clearTimeout(this.#restart);
    await this.#child?.close();
    this.#child = undefined;
    this.jobs.clear();
  }
}
