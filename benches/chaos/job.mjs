// One job: what disturbs it, what it tells until it is answered, and what may come of it.

import { essence, essenceOfError } from '../soak/judge.mjs';

/** By weight. */
const DISTURBANCES = { none: 70, abortLater: 12, timeout: 10, abortAtOnce: 4, abortWhenHeard: 4 };
const ABORT_MS = [1, 2500];
const TIMEOUT_MS = [10, 6000];
/** Deadlines are kept in another clock's nanoseconds. */
const CLOCK_MS = 1;
/** Shares of work are sums of floats. */
const ROUNDING = 1e-9;
/** What a lack of memory may come to where the process survives it. */
const OF_MEMORY = ['ERR_OUT_OF_MEMORY', 'ERR_WORKER_FAILED'];
let nextId = 0;

export class Job {
  /** Set by the host, which gives it to its transcriber. */
  startedAt;
  settledAt;
  #host;
  #ahead = 0;
  #blame = () => {};
  #abortedAt;
  #controller = new AbortController();
  #timer;
  #told = [];
  #progress = 0;

  constructor(test, random, { priority = 'interactive', disturbed = true } = {}) {
    this.id = `chaos-${nextId++}`;
    this.test = test;
    this.kind = disturbed ? random.weighed(DISTURBANCES) : 'none';
    this.options = { ...test.options, id: this.id, priority };
    if (this.kind === 'timeout') {
      this.options.timeoutMs = Math.round(random.logBetween(...TIMEOUT_MS));
    }
    if (this.kind.startsWith('abort')) {
      this.options.signal = this.#controller.signal;
      this.abortMs = random.logBetween(...ABORT_MS);
    }
    this.listens = random.chance(0.7) || this.kind === 'abortWhenHeard';
    if (this.listens) this.#listen();
  }

  #listen() {
    this.options.onSegment = (segment) => {
      this.#told.push(segment.text);
      this.#heard();
      // A short job has its result with its segments.
      if (this.test.isLong) this.#host?.came('segment');
    };
    this.options.onProgress = (share) => {
      if (share < this.#progress) this.#blame('wrong', `progress fell to ${share}`);
      if (share > 1 + ROUNDING) this.#blame('wrong', `progress was ${share}`);
      this.#progress = share;
      this.#heard();
    };
  }

  #heard() {
    if (this.settledAt !== undefined) this.#blame('twice', 'told something after its answer');
    if (this.kind === 'abortWhenHeard') this.#abort();
  }

  #abort() {
    this.#abortedAt ??= performance.now();
    this.#controller.abort({ ofJob: this.id });
  }

  /** The transcriber has it; `ahead` of it are so many others without an answer. */
  begun(host, ahead, blame) {
    this.#host = host;
    this.#ahead = ahead;
    this.#blame = blame;
    if (this.kind === 'abortAtOnce') this.#abort();
    if (this.kind === 'abortLater') this.#timer = setTimeout(() => this.#abort(), this.abortMs);
  }

  ended() {
    this.settledAt = performance.now();
    clearTimeout(this.#timer);
  }

  /** What an outcome is counted as. */
  nameOf({ transcript, error }) {
    if (transcript !== undefined) return 'transcript';
    if (this.#isOwn(error)) return 'own reason of an abort';
    if (error?.code !== 'ERR_WORKER_CRASHED') return error?.code ?? String(error);
    return 'ERR_WORKER_CRASHED, taken for poison';
  }

  #isOwn(error) {
    // By identity: it must be this very reason.
    const { signal } = this.#controller;
    return signal.aborted && error === signal.reason;
  }

  /** What is wrong with an outcome, or nothing: what is counted as, and what it is. */
  fault({ transcript, error }) {
    if (transcript !== undefined) return this.#faultOfTranscript(transcript);
    const what = this.#faultOfError(error);
    return what && ['error', what];
  }

  #faultOfTranscript(transcript) {
    if (transcript.id !== this.id) return ['wrong', `the transcript of ${transcript.id}`];
    const found = essence(transcript);
    if (found !== this.test.solo) {
      return ['wrong', `not what it is alone:\n    ${found}\n    ${this.test.solo}`];
    }
    if (!this.listens) return undefined;
    const told = this.#told.join('|');
    const given = transcript.segments.map(({ text }) => text).join('|');
    if (told !== given) {
      return ['wrong', `onSegment told ${told}\n    and the transcript has ${given}`];
    }
    return this.#progress === 1 ? undefined : ['wrong', `the last progress was ${this.#progress}`];
  }

  #faultOfError(error) {
    if (this.#isOwn(error)) return undefined;
    if (error?.name !== 'OpuscribeError') return `${error?.stack ?? error}`;
    const host = this.#host;
    switch (error.code) {
      case 'ERR_TIMEOUT':
        return this.settledAt - this.startedAt >= (this.options.timeoutMs ?? Infinity) - CLOCK_MS
          ? undefined
          : `ERR_TIMEOUT before its ${this.options.timeoutMs} ms were over`;
      case 'ERR_QUEUE_FULL':
        if (!(error.retryAfterMs >= 1)) return `retryAfterMs is ${error.retryAfterMs}`;
        return this.#ahead >= host.maxQueue
          ? undefined
          : `ERR_QUEUE_FULL with at most ${this.#ahead} of ${host.maxQueue} places taken`;
      case 'ERR_CLOSED':
        return host.stopped ? undefined : 'ERR_CLOSED, and nobody closed it';
      case 'ERR_WORKER_CRASHED':
        // Its report is looked at later: it is written while this is told.
        return crashIsNamed(error) ? undefined : `no crash is named: ${JSON.stringify(error)}`;
      default:
        if (essenceOfError(error) === this.test.solo) return undefined;
        if (OF_MEMORY.includes(error.code) && host.lackedMemory(this.startedAt)) return undefined;
        return `${error.code} (${error.message}); alone ${this.test.solo}`;
    }
  }

  /** What was done to it, for people. */
  toString() {
    const { priority, timeoutMs } = this.options;
    const done = { kind: this.kind, timeoutMs, abortMs: this.abortMs, priority };
    return `${this.id} of ${this.#host}, ${this.test.label}, ${JSON.stringify(done)}`;
  }
}

/** An exit code or a signal, and the report. */
export function crashIsNamed({ crashId, exitCode, signal }) {
  return typeof crashId === 'string' && (Number.isInteger(exitCode) || typeof signal === 'string');
}
