// What is counted of jobs on this side, and added up of the processes that come and go.

import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type {
  EngineCounters,
  Failure,
  Quantiles,
  TimingQuantiles,
  Timings,
  Transcript,
} from '../../index.js';
import { isFailure } from '../error.js';

/** Counters that each process begins at 0. */
const SUMS = ['audioMs', 'decodeMs', 'vadMs', 'inferenceMs', 'restarts'] as const;
type Sums = Record<(typeof SUMS)[number], number>;

const TIMES = ['queueMs', 'decodeMs', 'vadMs', 'waitMs', 'inferenceMs', 'totalMs'] as const;

/** A week: nothing takes longer than the longest time limit by much. */
const LONGEST_US = 7 * 24 * 3600 * 1e6;
/** To one percent; with the default of three figures each transcriber would have 2 MB of them. */
const HISTOGRAM = { lowest: 1, highest: LONGEST_US, figures: 2 };

/** The last ten or so jobs count. */
const WEIGHT = 0.1;
const FIRST_RETRY_MS = 1000;

export class Tally {
  completed = 0;
  crashes = 0;
  readonly failed: Record<string, number> = {};
  readonly #gone: Sums = { audioMs: 0, decodeMs: 0, vadMs: 0, inferenceMs: 0, restarts: 0 };
  /** In microseconds. */
  readonly #times = Object.fromEntries(
    TIMES.map((name) => [name, createHistogram(HISTOGRAM)]),
  ) as Record<keyof TimingQuantiles, RecordableHistogram>;
  #msPerJob: number | undefined;
  #msPerByte: number | undefined;

  /** `bytes` of input go with it. */
  settled(outcome: Transcript | Failure, bytes: number): void {
    if (isFailure(outcome)) {
      this.failed[outcome.code] = (this.failed[outcome.code] ?? 0) + 1;
      return;
    }
    this.completed += 1;
    const { timings } = outcome;
    for (const name of TIMES) {
      const us = Math.round(timings[name] * 1000);
      this.#times[name].record(Math.min(Math.max(us, 1), LONGEST_US));
    }
    const busyMs = timings.decodeMs + timings.vadMs + timings.inferenceMs;
    this.#msPerJob = (this.#msPerJob ?? busyMs) * (1 - WEIGHT) + busyMs * WEIGHT;
    if (bytes === 0) return;
    const msPerByte = busyMs / bytes;
    this.#msPerByte = (this.#msPerByte ?? msPerByte) * (1 - WEIGHT) + msPerByte * WEIGHT;
  }

  /** A process is no more; what it had counted stays. */
  gone(counters: EngineCounters | undefined): void {
    for (const name of SUMS) this.#gone[name] += counters?.[name] ?? 0;
  }

  /** When there should be room for another job, or for so many bytes. */
  retryAfterMs(bytes: number): number {
    const jobMs = this.#msPerJob ?? FIRST_RETRY_MS;
    const ms = bytes > 0 && this.#msPerByte !== undefined ? this.#msPerByte * bytes : jobMs;
    return Math.round(Math.min(Math.max(ms, 10), 600_000));
  }

  /** Over the processes that are there, and those that were. */
  sums(living: EngineCounters[]): Sums & { realTimeFactor: number } {
    const sums = { ...this.#gone };
    for (const counters of living) for (const name of SUMS) sums[name] += counters[name];
    const spentMs = sums.decodeMs + sums.vadMs + sums.inferenceMs;
    return { ...sums, realTimeFactor: sums.audioMs > 0 ? spentMs / sums.audioMs : 0 };
  }

  get timings(): TimingQuantiles {
    const quantiles = (name: keyof Timings & keyof TimingQuantiles): Quantiles => {
      const times = this.#times[name];
      const ms = (percent: number) => (times.count === 0 ? 0 : times.percentile(percent) / 1000);
      return { p50: ms(50), p95: ms(95), p99: ms(99) };
    };
    return {
      queueMs: quantiles('queueMs'),
      decodeMs: quantiles('decodeMs'),
      vadMs: quantiles('vadMs'),
      waitMs: quantiles('waitMs'),
      inferenceMs: quantiles('inferenceMs'),
      totalMs: quantiles('totalMs'),
    };
  }
}
