// How late the event loop is, and what was going on when it was latest.

import { monitorEventLoopDelay } from 'node:perf_hooks';

const RESOLUTION_MS = 1;
const LOOK_EVERY_MS = 250;
const NS_PER_MS = 1e6;

export class Delay {
  #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  #started = performance.now();
  #timer;
  #seenMs = 0;
  /** Each delay that was longer than all before it. */
  records = [];

  /** `doing` tells what goes on. */
  constructor(doing) {
    this.#histogram.enable();
    this.#timer = setInterval(() => this.#look(doing()), LOOK_EVERY_MS);
  }

  #look(doing) {
    const { max } = this.summary;
    if (max <= this.#seenMs) return;
    this.#seenMs = max;
    const minutes = (performance.now() - this.#started) / 60_000;
    this.records.push({ minutes, ms: max, doing });
  }

  stop() {
    this.#histogram.disable();
    clearInterval(this.#timer);
  }

  /** In milliseconds. What the histogram has is from one tick of its timer to the next. */
  get summary() {
    const late = (ns) => Math.max(0, ns / NS_PER_MS - RESOLUTION_MS);
    const { max } = this.#histogram;
    return {
      p50: late(this.#histogram.percentile(50)),
      p99: late(this.#histogram.percentile(99)),
      max: late(max),
    };
  }
}
