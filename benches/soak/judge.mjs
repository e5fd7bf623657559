// What may come of a job: the text it has alone, the error it has alone, or one that was provoked
// for this very job. Pure.

import { patient } from '../patience.mjs';

/** No answer may come later than this after the job was given up, whatever else the machine does. */
const LATE_MS = patient(3000);
/** Deadlines are kept in another clock's nanoseconds. */
const CLOCK_MS = 1;

/** All of a transcript that depends on the input alone. */
export function essence(transcript) {
  const { text, emptyReason, language, durationMs, segments, speech, packets, warnings } =
    transcript;
  const times = segments.map(({ startMs, endMs, text }) => [startMs, endMs, text]);
  return JSON.stringify([
    text,
    { emptyReason, language, durationMs, times, speech, packets, warnings },
  ]);
}

/** All of an error that depends on the input alone. */
export function essenceOfError({ code, index, byteOffset }) {
  return JSON.stringify([code, { index, byteOffset }]);
}

/** What an outcome is counted as. */
export function nameOf(job, { transcript, error }) {
  if (transcript !== undefined) return 'transcript';
  if (error === job.reason) return 'own reason of an abort';
  return error?.code && typeof error.code === 'string' ? error.code : String(error?.name ?? error);
}

/** What is wrong with an outcome, or nothing. */
export function fault(job, outcome) {
  const { settledAt, abortedAt, timeoutMs, startedAt } = job;
  const givenUpAt = Math.min(abortedAt ?? Infinity, startedAt + (timeoutMs ?? Infinity));
  if (settledAt - givenUpAt > LATE_MS) {
    return `answered ${((settledAt - givenUpAt) / 1000).toFixed(1)} s after it was given up`;
  }
  if (outcome.transcript !== undefined) return faultOfTranscript(job, outcome.transcript);
  return faultOfError(job, outcome.error);
}

function faultOfTranscript(job, transcript) {
  if (job.abortedBefore) return 'a transcript, although it was aborted before the call';
  if (job.closedBefore) return 'a transcript from a transcriber that was closed before the call';
  if (transcript.id !== job.id) return `the transcript of ${transcript.id}`;
  const found = essence(transcript);
  if (found !== job.solo) return `not what it is alone:\n    ${found}\n    ${job.solo}`;
  if (job.segments !== undefined) {
    const told = job.segments.map(({ text }) => text).join('|');
    const given = transcript.segments.map(({ text }) => text).join('|');
    if (told !== given) return `onSegment told ${told}\n    and the transcript has ${given}`;
  }
  if (job.progress !== undefined && job.progress !== 1) {
    return `the last onProgress was ${job.progress}`;
  }
  return undefined;
}

function faultOfError(job, error) {
  const { signal } = job;
  // By identity: it must be this signal's own reason.
  if (signal?.aborted && error === signal.reason) return undefined;
  if (job.abortedBefore) return `${error}, although it was aborted before the call`;
  if (error?.name !== 'OpuscribeError') return `${error?.stack ?? error}`;
  if (job.closedBefore && error.code !== 'ERR_CLOSED') {
    return `${error.code} from a transcriber that was closed before the call`;
  }
  switch (error.code) {
    case 'ERR_CLOSED':
      return job.closedBefore || job.host.stopped
        ? undefined
        : 'ERR_CLOSED, and nobody closed its transcriber';
    case 'ERR_TIMEOUT':
      return job.settledAt - job.startedAt >= (job.timeoutMs ?? Infinity) - CLOCK_MS
        ? undefined
        : `ERR_TIMEOUT before its ${job.timeoutMs} ms were over`;
    case 'ERR_QUEUE_FULL':
      return faultOfRefusal(job, error);
    default:
      if (essenceOfError(error) === job.solo) return undefined;
      return `${error.code} (${error.message}); alone ${job.solo}`;
  }
}

function faultOfRefusal({ host, ahead }, { retryAfterMs }) {
  if (ahead < host.maxQueue) {
    return `ERR_QUEUE_FULL with at most ${ahead} of ${host.maxQueue} places taken`;
  }
  if (!(retryAfterMs >= 1 && retryAfterMs <= 60_000)) return `retryAfterMs is ${retryAfterMs}`;
  return undefined;
}
