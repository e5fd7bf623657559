// One worker process from its start to its end: is it ready, does it answer, how did it end.

import { join } from 'node:path';
import type { EngineInfo, Failure, LogRecord } from '../../index.js';
import type { PlacedOptions } from '../engine.js';
import { type Exit, type OwnProcess, start } from '../process/process.js';
import type { CrashReport, Evidence } from './crash.js';

import type { Order, Report, Vitals } from './protocol.js';

const MAIN = join(__dirname, 'worker_main.js');
/** How often it is asked whether it is alive. */
const BEAT_MS = 1000;
/** A new process may take so many times as long to answer at first: it is read from a disk. */
const START_PATIENCE = 6;
/** So many beats after it was started its models are loaded, or never will be: five minutes. */
const MAX_START_BEATS = 300;
/** How long it may take to free its models when it is asked to. */
const CLOSE_MS = 10_000;
/** So many beats after it was killed nobody waits for it any more. */
const UNKILLABLE_BEATS = 10;
const LOG_RECORDS = 50;
const PRINTED_CHARACTERS = 8192;

export interface ChildOptions {
  engine: PlacedOptions;
  onnxRuntime: string;
  env: Record<string, string | undefined>;
  heartbeatTimeoutMs: number;
}

export interface ChildListeners {
  onReady(info: EngineInfo): void;
  /** The models cannot be loaded. The process ends. */
  onFailed(failure: Failure): void;
  onReport(report: Report): void;
  onLog(record: LogRecord): void;
  /** It has ended, asked to or not. */
  onGone(evidence: Evidence, wasAsked: boolean): void;
}

export class Child {
  readonly #process: OwnProcess<Order>;
  readonly #listeners: ChildListeners;
  readonly #startedAt = performance.now();
  readonly #log: LogRecord[] = [];
  readonly #beat: NodeJS.Timeout;
  readonly #gone: Promise<void>;
  #tellGone = () => {};
  #info: EngineInfo | undefined;
  #vitals: Vitals | undefined;
  #printed = '';
  #phase: CrashReport['phase'] = 'starting';
  /** Beats in a row without an answer. */
  #silent = 0;
  #patience: number;
  #startBeats = 0;
  #hung = false;
  #verdict: string | undefined;
  #asked = false;
  #isOver = false;

  constructor(options: ChildOptions, listeners: ChildListeners) {
    this.#listeners = listeners;
    this.#gone = new Promise((resolve) => {
      this.#tellGone = resolve;
    });
    const beats = Math.max(2, Math.ceil(options.heartbeatTimeoutMs / BEAT_MS));
    this.#patience = beats * START_PATIENCE;
    this.#process = start<Order, Report>(MAIN, options.env, {
      onReport: (report) => {
        this.#silent = 0;
        this.#patience = beats;
        this.#hear(report);
      },
      onPrinted: (text) => {
        this.#printed = (this.#printed + text).slice(-PRINTED_CHARACTERS);
      },
      onExit: (exit) => this.#end(exit),
    });
    this.#beat = setInterval(() => this.#ask(), BEAT_MS);
    this.#beat.unref();
    const { engine, onnxRuntime } = options;
    this.send({ type: 'open', options: engine, onnxRuntime });
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  get vitals(): Vitals | undefined {
    return this.#vitals;
  }

  /** Windows that its GPU works on at once. */
  get lanes(): number {
    return this.#info?.gpu?.lanes ?? 1;
  }

  get uptimeMs(): number {
    return performance.now() - this.#startedAt;
  }

  send(order: Order): void {
    this.#process.send(order);
  }

  /** Ends it at once, on purpose. */
  kill(): Promise<void> {
    this.#asked = true;
    this.#process.kill();
    return this.#gone;
  }

  /** Lets it free its models first. */
  async close(): Promise<void> {
    this.#asked = true;
    if (this.#phase === 'starting') return this.kill();
    this.send({ type: 'close' });
    const late = setTimeout(() => this.#process.kill(), CLOSE_MS);
    await this.#gone;
    clearTimeout(late);
  }

  #hear(report: Report): void {
    switch (report.type) {
      case 'log':
        this.#log.push(report.record);
        if (this.#log.length > LOG_RECORDS) this.#log.shift();
        this.#listeners.onLog(report.record);
        return;
      case 'ready':
        this.#phase = 'serving';
        this.#info = report.info;
        this.#vitals = report.vitals;
        this.#listeners.onReady(report.info);
        return;
      case 'failed':
        this.#asked = true;
        this.#process.kill();
        this.#listeners.onFailed(report.failure);
        return;
      case 'broken':
        this.#condemn(`its engine closed itself (${report.why})`);
        return;
      case 'closed':
        // Nothing is left in it that would have to be freed.
        this.#process.kill();
        return;
      case 'pong':
        this.#vitals = report.vitals;
        break;
      case 'done':
        this.#vitals = report.vitals;
    }
    this.#listeners.onReport(report);
  }

  /**
   * Beats are counted, not milliseconds: when this process slept, or was busy, it is not the other
   * that was silent.
   */
  #ask(): void {
    this.#silent += 1;
    if (this.#phase === 'starting') this.#startBeats += 1;
    const isLoading = this.#startBeats <= MAX_START_BEATS || this.#phase !== 'starting';
    if (this.#silent <= this.#patience && isLoading) {
      this.send({ type: 'ping' });
      return;
    }
    this.#hung = !this.#asked;
    this.#condemn(isLoading ? 'it answered no more' : 'it did not load its models in five minutes');
    // One that a driver holds in the system cannot be killed, and nobody tells that it never began.
    if (this.#silent > this.#patience + UNKILLABLE_BEATS) this.#end({ code: null, signal: null });
  }

  #condemn(verdict: string): void {
    if (!this.#asked) this.#verdict ??= verdict;
    this.#process.kill();
  }

  #end(exit: Exit): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#beat);
    const evidence: Evidence = {
      exit,
      pid: this.#process.pid,
      uptimeMs: this.uptimeMs,
      phase: this.#phase,
      hung: this.#hung,
      verdict: this.#verdict,
      printed: this.#printed,
      log: this.#log,
      rssBytes: this.#vitals?.rssBytes,
      info: this.#info,
      counters: this.#vitals?.counters,
    };
    this.#listeners.onGone(evidence, this.#asked);
    this.#tellGone();
  }
}
