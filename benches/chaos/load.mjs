// The jobs: callers that take turns, long inputs behind them, and bursts beyond the queue.

import { setTimeout as sleep } from 'node:timers/promises';
import { Job } from './job.mjs';

const CALLERS = 3;
const THINK_MS = [10, 1500];
const BATCH_PAUSE_MS = [500, 6000];
const BURST_PAUSE_MS = [8000, 25_000];
/** What fails otherwise is to be tried again, but not by all at once. */
const RETRY_TIMES = [1, 10];

export class Load {
  #cases;
  #random;
  #ledger;
  #goesOn;

  constructor({ cases, random, ledger, goesOn }) {
    this.#cases = {
      short: cases.filter((one) => !one.isLong),
      long: cases.filter((one) => one.isLong),
    };
    this.#random = random;
    this.#ledger = ledger;
    this.#goesOn = goesOn;
  }

  /** Until it is over and everything is answered. */
  async run(hosts) {
    const tasks = hosts.flatMap((host) => [
      ...Array.from({ length: CALLERS * host.workers }, () =>
        this.#call(host, this.#random.fork()),
      ),
      this.#batch(host, this.#random.fork()),
      this.#bursts(host, this.#random.fork()),
    ]);
    const outcomes = await Promise.allSettled(tasks);
    for (const { reason } of outcomes) {
      // A fault of opuscribe or of this load, and not to be overlooked.
      if (reason !== undefined) this.#ledger.blame('other', 'the load', reason.stack);
    }
  }

  async #call(host, random) {
    while (this.#goesOn()) {
      await this.#pause(random, THINK_MS);
      await this.#persist(host, random, this.#cases.short, { priority: 'interactive' });
    }
  }

  async #batch(host, random) {
    while (this.#goesOn()) {
      await this.#persist(host, random, this.#cases.long, { priority: 'batch' });
      await this.#pause(random, BATCH_PAUSE_MS);
    }
  }

  async #bursts(host, random) {
    const answers = [];
    while (this.#goesOn()) {
      await this.#pause(random, BURST_PAUSE_MS);
      const count = Math.round(host.maxQueue * random.between(0.5, 1.5));
      for (let call = 0; call < count && this.#goesOn(); call += 1) {
        const priority = random.pick(['interactive', 'batch']);
        answers.push(host.submit(new Job(random.pick(this.#cases.short), random, { priority })));
      }
      await Promise.all(answers.splice(0));
    }
  }

  /** Refused calls wait for as long as they are told to and are made again. */
  async #persist(host, random, cases, options) {
    while (this.#goesOn()) {
      const error = await host.submit(new Job(random.pick(cases), random, options));
      if (error?.code !== 'ERR_QUEUE_FULL') return;
      await sleep(error.retryAfterMs * random.logBetween(...RETRY_TIMES));
    }
  }

  /** Not beyond the end. */
  async #pause(random, range) {
    const until = performance.now() + random.logBetween(...range);
    while (this.#goesOn() && performance.now() < until) {
      await sleep(Math.min(100, Math.max(0, until - performance.now())));
    }
  }
}
