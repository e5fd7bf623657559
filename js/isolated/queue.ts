// Which job is next. Pure.

import type { Job } from './job.js';

/**
 * Jobs of one priority that a process has at once: one in each of its stages, and one that waits. On a
 * GPU with several lanes as many more as those are.
 */
const AT_ONCE = 4;

export class Queue {
  /** Jobs that were running when a process crashed. */
  #suspects: Job[] = [];
  #interactive: Job[] = [];
  #batch: Job[] = [];

  get size(): number {
    return this.#suspects.length + this.#interactive.length + this.#batch.length;
  }

  push(job: Job): void {
    (job.isBatch ? this.#batch : this.#interactive).push(job);
  }

  /** Takes back one that a crash has interrupted, to be run again, alone. */
  suspect(job: Job): void {
    this.#suspects.push(job);
    this.#suspects.sort((one, other) => Number(one.isBatch) - Number(other.isBatch));
  }

  /** Whether it was there. */
  remove(job: Job): boolean {
    const { size } = this;
    const without = (jobs: Job[]) => jobs.filter((other) => other !== job);
    this.#suspects = without(this.#suspects);
    this.#interactive = without(this.#interactive);
    this.#batch = without(this.#batch);
    return this.size < size;
  }

  /**
   * What a process gets that has these. A suspect is alone until it is done, or further than it was
   * when the process crashed; then it is a job like any other. While one waits nothing else is begun,
   * so that its turn comes, but what somebody waits for behind a long file.
   */
  next(running: Job[], lanes = 1): Job | undefined {
    if (running.some((job) => job.isSuspect)) return undefined;
    const [suspect] = this.#suspects;
    if (suspect !== undefined) {
      if (running.length === 0) return this.#suspects.shift();
      const isLong = suspect.isBatch && running.some(({ isBatch }) => isBatch);
      return isLong ? take(this.#interactive, running, false, lanes) : undefined;
    }
    return (
      take(this.#interactive, running, false, lanes) ?? take(this.#batch, running, true, lanes)
    );
  }
}

/** Interactive jobs have places of their own, so that they pass batch jobs inside the process. */
function take(from: Job[], running: Job[], isBatch: boolean, lanes: number): Job | undefined {
  const count = running.filter((job) => job.isBatch === isBatch).length;
  return count < AT_ONCE + lanes - 1 ? from.shift() : undefined;
}
