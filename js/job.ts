// One job as a promise: signal, progress and segments around it.

import type { JobEvent, JobOptions, Segment, Transcript } from '../index.js';
import { onAbort } from './abort.js';
import type { Running } from './engine.js';
import { callNative, invalidArgument, isFailure, unwrap } from './error.js';
import { describe } from './packets.js';

/** How one job is to be transcribed. */
export interface TranscribeOptions extends JobOptions {
  /** Aborting it stops the job wherever it is, and rejects with the signal's own reason. */
  signal?: AbortSignal;
  /** Called with the share of the work that is done, 0 to 1. */
  onProgress?: (fraction: number) => void;
  /** Called with each segment as soon as it is final, in order, before the promise resolves. */
  onSegment?: (segment: Segment) => void;
}

type Submit = (onEvent: ((event: JobEvent) => void) | undefined) => Running;

/** Throws for what the addon does not see of the options. */
export function checkOptions(options: TranscribeOptions): void {
  checkCommon(options);
  for (const name of ['onProgress', 'onSegment'] as const) {
    if (options[name] !== undefined && typeof options[name] !== 'function') {
      throw invalidArgument(`${name} is ${describe(options[name])}; expected a function`);
    }
  }
  if (options.vad !== false) checkVad(options.vad, 'false');
}

/** What the options of a job and of a stream have in common. */
export function checkCommon(options: { signal?: AbortSignal }): void {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument(`options is ${describe(options)}; expected an object`);
  }
  const { signal } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalidArgument(`signal is ${describe(signal)}; expected an AbortSignal`);
  }
}

/** The addon reads named options off any value, so that a string would have none of them. */
export function checkVad(vad: unknown, or?: string): void {
  if (vad === undefined || (typeof vad === 'object' && vad !== null)) return;
  throw invalidArgument(
    `vad is ${describe(vad)}; expected an object of options${or ? ` or ${or}` : ''}`,
  );
}

export async function runJob(options: TranscribeOptions, submit: Submit): Promise<Transcript> {
  const { signal } = options;
  signal?.throwIfAborted();
  const listener = new Listener(options);
  const job = callNative(() => submit(listener.callback));
  const release = onAbort(signal, () => job.cancel());
  try {
    const outcome = await job.outcome;
    if (isFailure(outcome) && outcome.code === 'ERR_ABORTED') throw signal?.reason;
    const transcript = unwrap(outcome);
    listener.finish(transcript);
    return transcript;
  } finally {
    release();
    listener.close();
  }
}

/**
 * Events and the result come through two queues, and the result may win. What it overtook is given
 * out before the promise resolves, so that callers see every segment, once, in order, in time.
 */
class Listener {
  readonly callback: ((event: JobEvent) => void) | undefined;
  readonly #options: TranscribeOptions;
  #segments = 0;
  #progress = 0;
  #open = true;

  constructor(options: TranscribeOptions) {
    this.#options = options;
    if (options.onProgress || options.onSegment) this.callback = (event) => this.#take(event);
  }

  finish(transcript: Transcript): void {
    for (const segment of transcript.segments.slice(this.#segments)) this.#take({ segment });
    if (this.#progress < 1) this.#take({ progress: 1 });
  }

  close(): void {
    this.#open = false;
  }

  #take({ segment, progress }: JobEvent): void {
    if (!this.#open) return;
    if (segment !== undefined) {
      this.#segments += 1;
      report(this.#options.onSegment, segment);
    }
    if (progress !== undefined) {
      this.#progress = progress;
      report(this.#options.onProgress, progress);
    }
  }
}

/** A callback that throws is the application's fault, not the job's. */
export function report<Argument>(
  callback: ((argument: Argument) => void) | undefined,
  argument: Argument,
): void {
  try {
    callback?.(argument);
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
  }
}
