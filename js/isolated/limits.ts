// How much is taken in. The queue is on this side, and its limits with it.

import type { EngineOptions } from '../../index.js';

/** The defaults of the engine, which checks what is given. */
const MAX_QUEUE = 64;
const MAX_QUEUED_BYTES = 1024 ** 3;
/** The most that a process takes. */
const MOST_JOBS = 65_536;

/** Jobs, and bytes of their input. */
export function limits({
  maxQueue = MAX_QUEUE,
  maxQueuedBytes = MAX_QUEUED_BYTES,
}: EngineOptions): { maxQueue: number; maxQueuedBytes: number } {
  return { maxQueue, maxQueuedBytes };
}

/**
 * What a process is opened with. What was given up here may still have its place there, which would
 * refuse what follows; what is out of range is refused by it all the same.
 */
export function unbounded<Options extends EngineOptions>(engine: Options): Options {
  const { maxQueue, maxQueuedBytes } = limits(engine);
  return {
    ...engine,
    ...(isWhole(maxQueue) && maxQueue < MOST_JOBS && { maxQueue: MOST_JOBS }),
    ...(isWhole(maxQueuedBytes) && { maxQueuedBytes: Number.MAX_SAFE_INTEGER }),
  };
}

function isWhole(count: number): boolean {
  return Number.isSafeInteger(count) && count >= 1;
}
