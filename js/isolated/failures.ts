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
export function poisonous({ explanation, id }: CrashReport, crashes: number): string {
  return `it was running at ${crashes} crashes of a worker process, the last one: ${explanation} (${id})`;
}

export function crashFailure({ id, explanation, exitCode, signal }: CrashReport): CrashFailure {
  return {
    code: 'ERR_WORKER_CRASHED',
    message: `a worker process crashed: ${explanation} (${id})`,
    crashId: id,
    ...(exitCode !== null && { exitCode }),
    ...(signal !== null && { signal }),
  };
}
