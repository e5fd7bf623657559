import type { Transcript } from '../index.js';
import { onAbort } from './abort.js';
import { OpuscribeError } from './error.js';
import { checkOptions, type TranscribeOptions } from './job.js';
import { flatten } from './packets.js';
import { Transcriber } from './transcriber.js';

const DEFAULT_MODEL = 'tiny.en';

/** The shared transcribers by model, from the moment they are being opened. */
const shared = new Map<string, Promise<Transcriber>>();

/**
 * The text of a list of Opus packets; `null` is a packet known to be lost. The one-liner: a shared
 * `Transcriber` is opened on first use, default model `tiny.en`, and closed with the process or by
 * `transcribe.close()`. Each model is loaded once, however many calls come at once.
 */
export async function transcribe(
  opusPackets: ReadonlyArray<Uint8Array | null>,
  options: TranscribeOptions & { model?: string } = {},
): Promise<Transcript> {
  const called = performance.now();
  checkOptions(options);
  const { model = DEFAULT_MODEL, timeoutMs, signal, ...rest } = options;
  // Copied before anything is awaited: the caller may reuse the packets.
  const packets = flatten(opusPackets);
  const transcriber = await patiently(open(model), timeoutMs, signal);
  const left = remaining(timeoutMs, performance.now() - called);
  return transcriber.transcribeFlat(packets, { ...rest, ...left, ...(signal && { signal }) });
}

/** Closes the shared transcribers; the next call of `transcribe` opens one again. */
transcribe.close = async (options: { drain?: boolean } = {}): Promise<void> => {
  const opened = [...shared.values()];
  shared.clear();
  const results = await Promise.allSettled(opened);
  await Promise.all(
    results.map((r) => (r.status === 'fulfilled' ? r.value.close(options) : undefined)),
  );
};

function open(model: string): Promise<Transcriber> {
  const known = shared.get(model);
  if (known !== undefined) return known;
  const opening = Transcriber.open({ model });
  shared.set(model, opening);
  // What could not be opened is tried again by the next call.
  opening.catch(() => {
    if (shared.get(model) === opening) shared.delete(model);
  });
  return opening;
}

/** What opening has left of the time. A value out of range stays what it is, to be refused. */
function remaining(timeoutMs: number | undefined, spentMs: number): { timeoutMs?: number } {
  if (timeoutMs === undefined) return {};
  return { timeoutMs: timeoutMs >= 1 ? Math.max(1, timeoutMs - spentMs) : timeoutMs };
}

/** Waits for a model that others may wait for too: giving up leaves it to them. */
async function patiently<Value>(
  promise: Promise<Value>,
  timeoutMs: number | undefined,
  signal: AbortSignal | undefined,
): Promise<Value> {
  signal?.throwIfAborted();
  let stopWaiting = () => {};
  const givenUp = new Promise<never>((_, reject) => {
    const release = onAbort(signal, () => reject(signal?.reason));
    const timer =
      timeoutMs !== undefined && timeoutMs >= 1 && timeoutMs <= 2_147_483_647
        ? setTimeout(() => {
            reject(new OpuscribeError('ERR_TIMEOUT', 'the model was not loaded in time'));
          }, timeoutMs)
        : undefined;
    stopWaiting = () => {
      clearTimeout(timer);
      release();
    };
  });
  try {
    return await Promise.race([promise, givenUp]);
  } finally {
    stopWaiting();
  }
}
