// What becomes of jobs and streams that have no answer of the engine.

import type { Failure } from '../../index.js';
import type { CrashReport } from './crash.js';

/** Why nothing can be done any more. */
export interface CrashFailure extends Failure {
  exitCode?: number;
  signal?: string;
  crashId?: string;
  resumeFromMs?: number;
}

/** As the engine says it. */
export const ABORTED = { code: 'ERR_ABORTED', message: 'the job was aborted' };
export const TIMEOUT = {
  code: 'ERR_TIMEOUT',
  message: 'the job ran out of time and was stopped; waiting counts, so allow for the queue',
};
export const CLOSED = {
  code: 'ERR_CLOSED',
  message: 'the transcriber was closed before the job was done',
};

/** Of a job, or of a stream, that runs no more. */
export function poisonous(report: CrashReport, crashes: number): string {
  const { id } = report;
  return `it was running at ${crashes} crashes of a worker process, the last one: ${why(report)} (${id})`;
}

function why({ explanation, outOfMemory, device = 'the CPU' }: CrashReport): string {
  if (!outOfMemory) return explanation;
  return `memory ran out on ${device}; use a smaller or quantised model, fewer lanes or workers`;
}

export function crashFailure(report: CrashReport): CrashFailure {
  const { id, exitCode, signal, outOfMemory } = report;
  return {
    code: outOfMemory ? 'ERR_OUT_OF_MEMORY' : 'ERR_WORKER_CRASHED',
    message: `a worker process crashed: ${why(report)} (${id})`,
    crashId: id,
    ...(exitCode !== null && { exitCode }),
    ...(signal !== null && { signal }),
  };
}
