// Every promise of the soak, from its start to its end.

import { createHistogram } from 'node:perf_hooks';
import { fault, nameOf } from './judge.mjs';

/** More would only scroll by. */
const FAULTS_KEPT = 20;

export class Tally {
  started = 0;
  settled = 0;
  /** How many of each outcome. */
  outcomes = new Map();
  faultCount = 0;
  faults = [];
  /** What has not settled yet, and since when. */
  #pending = new Map();
  /** In microseconds. */
  abortToSettled = createHistogram();
  longestCallMs = 0;
  opened = 0;
  closed = 0;
  collected = 0;
  audioMs = 0;

  start(thing) {
    this.started += 1;
    this.#pending.set(thing, performance.now());
  }

  /** The end of anything that was started; tells when it ends twice. */
  #end(thing) {
    if (!this.#pending.delete(thing)) this.blame(thing, 'settled without being started, or twice');
    this.settled += 1;
  }

  /** A job's end. */
  answer(job, outcome) {
    job.settled();
    this.#end(job);
    const name = nameOf(job, outcome);
    this.outcomes.set(name, (this.outcomes.get(name) ?? 0) + 1);
    const wrong = fault(job, outcome);
    if (wrong !== undefined) this.blame(job, wrong);
    if (job.signal?.aborted && outcome.error === job.signal.reason && !job.abortedBefore) {
      const tookMs = job.settledAt - job.abortedAt;
      this.abortToSettled.record(Math.max(1, Math.round(1000 * tookMs)));
    }
  }

  /** Opening or closing, which must settle too and never fail. */
  async watch(label, promise) {
    const thing = { toString: () => label };
    this.start(thing);
    try {
      return await promise;
    } catch (error) {
      this.blame(label, error.stack);
      throw error;
    } finally {
      this.#end(thing);
    }
  }

  blame(thing, what) {
    this.faultCount += 1;
    if (this.faults.length < FAULTS_KEPT) this.faults.push(`${thing}:\n    ${what}`);
  }

  get pending() {
    return [...this.#pending.keys()];
  }

  get oldestMs() {
    const [first] = this.#pending.values();
    return first === undefined ? 0 : performance.now() - first;
  }
}
