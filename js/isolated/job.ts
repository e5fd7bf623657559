// One job on this side: what it takes to run it, also a second time, and to settle it once.

import type { Failure, JobEvent, JobOptions, Transcript } from '../../index.js';
import type { Input } from '../engine.js';
import { isFailure } from '../error.js';
import type { CrashedJob } from './crash.js';
import { sendable } from './protocol.js';

/** A job that was running at so many crashes runs no more. */
const POISON = 2;
/** Also if others were there each time. */
const POISON_IN_COMPANY = 3;
/** The longest that Node can wait. */
const MAX_TIMEOUT_MS = 2_147_483_647;
/** A process that watches the time itself answers this much sooner. */
const TIMEOUT_GRACE_MS = 250;

export interface JobListeners {
  onEvent: ((event: JobEvent) => void) | undefined;
  /** Called once. */
  onSettled(job: Job, outcome: Transcript | Failure): void;
  onTimeout(job: Job): void;
}

export class Job {
  readonly id: string;
  readonly input: Input;
  readonly bytes: number;
  readonly options: JobOptions;
  readonly outcome: Promise<Transcript | Failure>;
  readonly #listeners: JobListeners;
  readonly #submittedAt = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #answer: (outcome: Transcript | Failure) => void = () => {};
  #settled = false;
  #crashes = 0;
  #runs = false;
  /** Share of the work that was done, in this run and in the furthest. */
  #progress = 0;
  #furthest = 0;
  /** Segments that came in this run, and those that were told. */
  #segments = 0;
  #told = 0;

  constructor(
    readonly key: number,
    input: Input,
    { id = `job-${key + 1}`, ...rest }: JobOptions,
    listeners: JobListeners,
  ) {
    const options = sendable(rest) as JobOptions;
    this.id = id;
    this.input = input;
    this.bytes = heldBytes(input);
    this.options = { ...options, id: sendable(id) as string };
    this.#listeners = listeners;
    this.outcome = new Promise((resolve) => {
      this.#answer = resolve;
    });
    const { timeoutMs } = options;
    // What is out of range is refused by the engine.
    if (typeof timeoutMs === 'number' && timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS) {
      this.#timer = setTimeout(() => this.#late(), timeoutMs).unref();
    }
  }

  /** The process that has it knows better, if it answers. */
  #late(): void {
    const tell = () => this.#listeners.onTimeout(this);
    if (!this.#runs) tell();
    else this.#timer = setTimeout(tell, TIMEOUT_GRACE_MS).unref();
  }

  get crashes(): number {
    return this.#crashes;
  }

  get settled(): boolean {
    return this.#settled;
  }

  get isBatch(): boolean {
    return this.options.priority === 'batch';
  }

  /** What the process is asked for, in the time that is left. */
  get ordered(): { options: JobOptions; events: boolean } {
    const { options } = this;
    const spentMs = performance.now() - this.#submittedAt;
    const timeoutMs = Math.max(1, Number(options.timeoutMs) - spentMs);
    return {
      options: this.#timer === undefined ? options : { ...options, timeoutMs },
      events: this.#listeners.onEvent !== undefined || this.isSuspect,
    };
  }

  /** It was running when a process crashed, and has not come further since. */
  get isSuspect(): boolean {
    return this.#crashes > 0 && this.#progress <= this.#furthest;
  }

  dispatched(): void {
    this.#runs = true;
    this.#furthest = Math.max(this.#furthest, this.#progress);
    this.#progress = 0;
    this.#segments = 0;
  }

  /** What a run before has told is not told again. */
  hear({ segment, progress }: JobEvent): void {
    if (this.#settled) return;
    if (segment !== undefined) {
      this.#segments += 1;
      if (this.#segments <= this.#told) return;
      this.#told = this.#segments;
      this.#listeners.onEvent?.({ segment });
    }
    if (progress !== undefined) {
      this.#progress = Math.max(this.#progress, progress);
      if (progress > this.#furthest) this.#listeners.onEvent?.({ progress });
    }
  }

  /** The process it ran in crashed. Whether it is to run no more. */
  crashed(alone: boolean): boolean {
    this.#crashes += 1;
    this.#runs = false;
    return this.#crashes >= (alone ? POISON : POISON_IN_COMPANY);
  }

  settle(outcome: Transcript | Failure): void {
    if (this.#settled) return;
    this.#settled = true;
    clearTimeout(this.#timer);
    const settled = isFailure(outcome) ? outcome : this.#timed(outcome);
    this.#listeners.onSettled(this, settled);
    this.#answer(settled);
  }

  /** With what it waited here. */
  #timed(transcript: Transcript): Transcript {
    const { timings, durationMs } = transcript;
    const totalMs = performance.now() - this.#submittedAt;
    const queueMs = timings.queueMs + totalMs - timings.totalMs;
    const realTimeFactor = durationMs > 0 ? totalMs / durationMs : 0;
    return { ...transcript, timings: { ...timings, queueMs, totalMs, realTimeFactor } };
  }

  describe(rejected: boolean): CrashedJob {
    const { initialPrompt, id: _, ...options } = this.options;
    const { kind } = this.input;
    const count = countOf(this.input);
    return {
      id: this.id,
      kind,
      bytes: this.bytes,
      ...(count !== undefined && { count }),
      options: { ...options, ...(initialPrompt && { initialPromptLength: initialPrompt.length }) },
      crashes: this.#crashes,
      rejected,
    };
  }
}

/** The input with bytes of its own: the caller may reuse those it gave. */
export function owned(input: Input): Input {
  switch (input.kind) {
    case 'packets':
      // Flattened, and so copied, already.
      return input;
    case 'pcm':
      return {
        kind: 'pcm',
        pcm: input.pcm.slice(),
        sampleRate: sendable(input.sampleRate) as number,
        channels: sendable(input.channels) as number,
      };
    case 'file':
      return typeof input.source === 'string'
        ? input
        : { ...input, source: Uint8Array.prototype.slice.call(input.source) };
  }
}

export function heldBytes(input: Input): number {
  switch (input.kind) {
    case 'packets':
      return input.bytes.length;
    case 'pcm':
      return input.pcm.byteLength;
    case 'file':
      return typeof input.source === 'string' ? 0 : input.source.length;
  }
}

/** Packets or samples. */
function countOf(input: Input): number | undefined {
  if (input.kind === 'packets') return input.lengths.length;
  return input.kind === 'pcm' ? input.pcm.length : undefined;
}
