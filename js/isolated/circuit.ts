// When to try again after a crash, and when to stop trying.

/** How many crashes are too many, of each worker. */
export interface CircuitOptions {
  /**
   * So many crashes of a worker within `windowMs`, or in a row without anything done between them,
   * are too many, 1 to 1000: it is not replaced any more, and when none is left calls fail at once
   * with `ERR_WORKER_CRASHED`. Default 8: a job that crashes every process costs two.
   */
  maxCrashes?: number;
  /** 1000 to 86400000. Default 60000. */
  windowMs?: number;
  /** So long it stays so; the first call after that tries again. 100 to 86400000. Default 30000. */
  cooldownMs?: number;
}

/** The first crash is answered at once, and those that follow it after pauses that double. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5000;

const MAX_CRASHES = 8;

export class Circuit {
  readonly #maxCrashes: number;
  readonly #windowMs: number;
  readonly #cooldownMs: number;
  readonly #now: () => number;
  #crashes: number[] = [];
  #openedAt: number | undefined;
  /** Crashes since a process has last done what it is for. */
  #inARow = 0;

  constructor(
    { maxCrashes = MAX_CRASHES, windowMs = 60_000, cooldownMs = 30_000 }: CircuitOptions,
    now = () => performance.now(),
  ) {
    this.#maxCrashes = maxCrashes;
    this.#windowMs = windowMs;
    this.#cooldownMs = cooldownMs;
    this.#now = now;
  }

  /** Whether no other process is started. */
  get isOpen(): boolean {
    return this.#openedAt !== undefined;
  }

  /** When it may be tried again; 0 if it may. */
  get retryAfterMs(): number {
    if (this.#openedAt === undefined) return 0;
    return Math.max(0, Math.ceil(this.#openedAt + this.#cooldownMs - this.#now()));
  }

  /** A process has crashed. Gives back how long to wait before the next. */
  crashed(): number {
    const now = this.#now();
    this.#crashes = this.#crashes.filter((at) => now - at < this.#windowMs);
    this.#crashes.push(now);
    this.#inARow += 1;
    // Those of processes that take long to begin are far apart.
    const count = Math.max(this.#crashes.length, this.#inARow);
    if (count >= this.#maxCrashes) this.#openedAt = now;
    if (this.#inARow === 1) return 0;
    return Math.min(FIRST_PAUSE_MS * 2 ** (this.#inARow - 2), LONGEST_PAUSE_MS);
  }

  /** A process has done a job, or told the text of a stream. */
  worked(): void {
    this.#inARow = 0;
  }

  /** Tries again: one more crash is again too many. */
  tryAgain(): void {
    this.#openedAt = undefined;
    this.#crashes = this.#crashes.slice(-(this.#maxCrashes - 1));
    if (this.#maxCrashes === 1) this.#crashes = [];
    const now = this.#now();
    // As if they had just happened, or the window would forget them.
    this.#crashes.fill(now);
  }
}
