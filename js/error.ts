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
  | 'ERR_OUT_OF_MEMORY';

/** The one error of this package. Switch on `code`; the message says what, where and what to do. */
export class OpuscribeError extends Error {
  override readonly name = 'OpuscribeError';
  readonly code: OpuscribeErrorCode;
  /** Index of the packet or sample it is about. */
  readonly index?: number;
  /** Where in the bytes it is. */
  readonly byteOffset?: number;
  /** Milliseconds after which to try again, with `ERR_QUEUE_FULL`. */
  readonly retryAfterMs?: number;

  constructor(
    code: OpuscribeErrorCode,
    message: string,
    details: { index?: number; byteOffset?: number; retryAfterMs?: number; cause?: unknown } = {},
  ) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined);
    this.code = code;
    if (details.index !== undefined) this.index = details.index;
    if (details.byteOffset !== undefined) this.byteOffset = details.byteOffset;
    if (details.retryAfterMs !== undefined) this.retryAfterMs = details.retryAfterMs;
  }
}

export function invalidArgument(message: string, index?: number): OpuscribeError {
  return new OpuscribeError('ERR_INVALID_ARGUMENT', message, index === undefined ? {} : { index });
}

export function isFailure(outcome: unknown): outcome is Failure {
  return typeof outcome === 'object' && outcome !== null && 'code' in outcome;
}

/** The value of an outcome, or its failure thrown with the caller's own stack. */
export function unwrap<Value>(outcome: Value | Failure): Value {
  if (!isFailure(outcome)) return outcome;
  throw new OpuscribeError(outcome.code as OpuscribeErrorCode, outcome.message, outcome);
}

/** Calls the addon. What it throws before it begins is an argument of a wrong type. */
export function callNative<Result>(call: () => Result): Result {
  try {
    return call();
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new OpuscribeError('ERR_INVALID_ARGUMENT', message, { cause });
  }
}
