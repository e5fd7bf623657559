import type { Failure } from '../index.js';

/** What went wrong; stable. */
export type OpuscribeErrorCode =
  | 'ERR_INVALID_ARGUMENT'
  | 'ERR_INVALID_PACKET'
  | 'ERR_UNSUPPORTED_MEDIA'
  | 'ERR_MODEL_NOT_FOUND'
  | 'ERR_MODEL_INVALID'
  | 'ERR_DEVICE_UNAVAILABLE'
  | 'ERR_QUEUE_FULL'
  | 'ERR_TIMEOUT'
  | 'ERR_CLOSED'
  | 'ERR_WORKER_FAILED'
  | 'ERR_WORKER_CRASHED'
  | 'ERR_OUT_OF_MEMORY';

/** The one error of this package. Switch on `code`; the message says what, where and what to do. */
export class OpuscribeError extends Error {
  override readonly name = 'OpuscribeError';
  readonly code: OpuscribeErrorCode;
  /** Index of the packet or sample it is about. */
  declare readonly index?: number;
  /** Where in the bytes it is. */
  declare readonly byteOffset?: number;
  /**
   * Milliseconds after which to try again, with `ERR_QUEUE_FULL`, and with `ERR_WORKER_CRASHED` when
   * too many worker processes have crashed.
   */
  declare readonly retryAfterMs?: number;
  /** What the worker process exited with, with `ERR_WORKER_CRASHED`, or where its memory ran out. */
  declare readonly exitCode?: number;
  /** The signal that ended the worker process, likewise. */
  declare readonly signal?: string;
  /** Names the crash report, likewise. */
  declare readonly crashId?: string;
  /**
   * The same of a live stream: the audio from here on, in milliseconds of the
   * stream, has no text yet, and must be written again to another stream.
   */
  declare readonly resumeFromMs?: number;

  constructor(code: OpuscribeErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined);
    this.code = code;
    for (const name of DETAILS) {
      if (details[name] !== undefined) Object.assign(this, { [name]: details[name] });
    }
  }
}

const DETAILS = [
  'index',
  'byteOffset',
  'retryAfterMs',
  'exitCode',
  'signal',
  'crashId',
  'resumeFromMs',
] as const;

type ErrorDetails = { [Name in (typeof DETAILS)[number]]?: OpuscribeError[Name] } & {
  cause?: unknown;
};

export function invalidArgument(message: string, index?: number): OpuscribeError {
  return new OpuscribeError('ERR_INVALID_ARGUMENT', message, index === undefined ? {} : { index });
}

export function isFailure(outcome: unknown): outcome is Failure {
  return typeof outcome === 'object' && outcome !== null && 'code' in outcome;
}

/** The value of an outcome, or its failure thrown with the caller's own stack. */
export function unwrap<Value>(outcome: Value | Failure): Value {
  if (!isFailure(outcome)) return outcome;
  throw toError(outcome);
}

export function toError(failure: Failure): OpuscribeError {
  return new OpuscribeError(failure.code as OpuscribeErrorCode, failure.message, failure);
}

/** As the engine says it. */
export const NOT_OPEN: Failure = {
  code: 'ERR_CLOSED',
  message: 'the transcriber is closed; open another one',
};

/** Calls the addon. What it throws before it begins is an argument of a wrong type. */
export function callNative<Result>(call: () => Result): Result {
  try {
    return call();
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new OpuscribeError('ERR_INVALID_ARGUMENT', message, { cause });
  }
}

/** What was thrown, as data to be sent. */
export function toFailure(error: unknown, otherwise: OpuscribeErrorCode): Failure {
  const { message = String(error), code } = error as Partial<Failure>;
  const isKnown = typeof code === 'string' && code.startsWith('ERR_') && !code.startsWith('ERR_DL');
  return { code: isKnown ? code : otherwise, message };
}
