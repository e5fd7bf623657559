// One transcriber under load, and what its own counters must say in the end.

import { patient } from '../patience.mjs';

/** An outcome comes through another queue than the end of `close`; it may be behind by a turn. */
const BEHIND_MS = patient(5000);
let nextNumber = 1;

export class Host {
  /** Closing, in whatever way. */
  closing = false;
  /** What it holds is given up, too. */
  stopped = false;
  #transcriber;
  #tally;
  #number = nextNumber++;
  #transcripts = 0;
  #unanswered = 0;

  constructor(transcriber, maxQueue, tally) {
    this.#transcriber = transcriber;
    this.maxQueue = maxQueue;
    this.#tally = tally;
  }

  toString() {
    return `transcriber ${this.#number}`;
  }

  /** Resolves when the job is answered, whatever the answer; with the error, if it is one. */
  submit(test, job) {
    job.host = this;
    job.blame = (what) => this.#tally.blame(job, what);
    job.closedBefore = this.closing;
    // A place is free before its answer is there, so no more of them are taken.
    job.ahead = this.#unanswered;
    this.#unanswered += 1;
    this.#tally.start(job);
    job.startedAt = performance.now();
    const promise = this.#transcriber[test.method](test.input, job.options);
    const tookMs = performance.now() - job.startedAt;
    this.#tally.longestCallMs = Math.max(this.#tally.longestCallMs, tookMs);
    const answered = promise.then(
      (transcript) => this.#answer(job, { transcript }),
      (error) => this.#answer(job, { error }),
    );
    job.begun();
    return answered;
  }

  #answer(job, outcome) {
    this.#unanswered -= 1;
    if (outcome.transcript !== undefined) {
      this.#transcripts += 1;
      this.#tally.audioMs += outcome.transcript.durationMs;
    }
    this.#tally.answer(job, outcome);
    if (job.kind === 'abortAfterwards') job.abort();
    return outcome.error;
  }

  /** `how` is 'now', 'drain', or the milliseconds after which draining is cut short. */
  async close(how) {
    this.closing = true;
    this.stopped = how === 'now';
    const closed = this.#transcriber.close({ drain: how !== 'now' });
    const hurry = Number.isFinite(how) ? setTimeout(() => this.#hurry(), how) : undefined;
    await this.#tally.watch(`closing ${this}, ${how}`, closed);
    clearTimeout(hurry);
    this.#tally.closed += 1;
    await this.#audit();
  }

  #hurry() {
    this.stopped = true;
    this.#tally.watch(`closing ${this} at once`, this.#transcriber.close()).catch(() => {});
  }

  /** Counters after the end: nothing is left, and what was counted is what was answered. */
  async #audit() {
    const { queued, running, completed, restarts } = this.#transcriber.stats();
    if (queued !== 0 || running !== 0) {
      this.#tally.blame(this, `closed, and ${queued} jobs queued and ${running} running`);
    }
    if (restarts !== 0) this.#tally.blame(this, `${restarts} stages were rebuilt`);
    const end = performance.now() + BEHIND_MS;
    while (this.#unanswered > 0 && performance.now() < end) await later();
    if (this.#unanswered > 0) {
      this.#tally.blame(this, `closed, and ${this.#unanswered} of its jobs are not answered`);
    } else if (completed !== this.#transcripts) {
      this.#tally.blame(this, `completed ${completed}, and ${this.#transcripts} transcripts came`);
    }
  }

  /** As a caller does who keeps nothing but his promises. */
  abandon() {
    this.#transcriber = undefined;
  }
}

function later() {
  return new Promise((resolve) => setTimeout(resolve, 10));
}
