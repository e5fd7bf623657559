// One call under load: what disturbs it, and what it told until it was answered.

/** How jobs are disturbed, by weight; in a burst so that the queue is soon free again. */
const DISTURBANCES = {
  stream: {
    none: 50,
    abortLater: 14,
    timeout: 13,
    abortBySignalTimeout: 5,
    abortAfterwards: 5,
    abortAtOnce: 4,
    abortWhenHeard: 4,
    abortBefore: 3,
    abortAndTimeout: 2,
  },
  burst: { none: 25, abortLater: 35, timeout: 25, abortBySignalTimeout: 5, abortAtOnce: 10 },
};
const ABORT_MS = [1, 4000];
const TIMEOUT_MS = [1, 8000];
let nextId = 0;

export class Job {
  /** Set by the host, as it submits and answers. */
  host;
  blame;
  startedAt;
  settledAt;
  abortedAt;
  ahead;
  closedBefore;

  constructor(test, random, disturbances) {
    this.id = `soak-${nextId++}`;
    this.label = test.label;
    this.solo = test.solo;
    this.kind = random.weighed(DISTURBANCES[disturbances]);
    this.options = { ...test.options, id: this.id };
    if (random.chance(0.3)) this.options.priority = 'batch';
    if (random.chance(0.3) || this.kind === 'abortWhenHeard') this.#listen(random.chance(0.5));
    this.#disturb(random);
  }

  #listen(toSegments) {
    if (toSegments) {
      this.segments = [];
      this.options.onSegment = (segment) => {
        this.segments.push(segment);
        this.#told();
      };
    } else {
      this.progress = 0;
      this.options.onProgress = (fraction) => {
        if (fraction < this.progress) this.blame(`onProgress fell to ${fraction}`);
        this.progress = fraction;
        this.#told();
      };
    }
  }

  #told() {
    if (this.settledAt !== undefined) this.blame('told something after the answer');
    if (this.kind === 'abortWhenHeard') this.abort();
  }

  #disturb(random) {
    if (this.kind === 'timeout' || this.kind === 'abortAndTimeout') {
      this.timeoutMs = random.logBetween(...TIMEOUT_MS);
      this.options.timeoutMs = this.timeoutMs;
    }
    if (this.kind === 'abortBySignalTimeout') {
      // Listened to before the transcriber does, so that the time is taken first.
      this.signal = AbortSignal.timeout(Math.round(random.logBetween(...ABORT_MS)));
      this.signal.addEventListener('abort', () => this.#aborted(), { once: true });
    } else if (this.kind.startsWith('abort')) {
      this.controller = new AbortController();
      this.signal = this.controller.signal;
      this.abortMs = random.logBetween(...ABORT_MS);
      if (random.chance(0.3)) this.reason = { ofJob: this.id };
    }
    if (this.signal !== undefined) this.options.signal = this.signal;
    if (this.kind === 'abortBefore') this.abort();
  }

  /** After the call has returned its promise. */
  begun() {
    if (this.kind === 'abortAtOnce') this.abort();
    if (this.kind === 'abortLater' || this.kind === 'abortAndTimeout') {
      this.timer = setTimeout(() => this.abort(), this.abortMs);
    }
  }

  get abortedBefore() {
    return this.kind === 'abortBefore';
  }

  abort() {
    if (this.signal.aborted) return;
    this.#aborted();
    this.controller.abort(this.reason);
  }

  /** An abort that comes after the answer gives nothing up. */
  #aborted() {
    if (this.settledAt === undefined) this.abortedAt = performance.now();
  }

  settled() {
    this.settledAt = performance.now();
    clearTimeout(this.timer);
  }

  /** What was done to it, for people. */
  toString() {
    const done = { kind: this.kind, timeoutMs: this.timeoutMs, abortMs: this.abortMs };
    const { priority } = this.options;
    return `${this.id} of ${this.host}, ${this.label}, ${JSON.stringify({ ...done, priority })}`;
  }
}
