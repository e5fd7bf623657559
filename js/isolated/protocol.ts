// What the two processes say to each other. Bytes and samples are carried as they are.

import { deserialize, serialize } from 'node:v8';
import type {
  EngineCounters,
  EngineInfo,
  Failure,
  JobEvent,
  JobOptions,
  LiveEvent,
  LiveOptions,
  LogRecord,
  StreamResume,
  Transcript,
} from '../../index.js';
import type { Input, PlacedOptions } from '../engine.js';

/** What is written to a stream: packets, or samples. */
export type Run = { bytes: Uint8Array; lengths: Int32Array } | Float32Array;

/** To the worker process. Jobs and streams go by numbers of the sender's. */
export type Order =
  | { type: 'open'; options: PlacedOptions; onnxRuntime: string }
  | { type: 'ping' }
  | { type: 'job'; key: number; input: Input; options: JobOptions; events: boolean }
  | { type: 'cancel'; key: number }
  /** `taken`: the number of the write before the first that follows. */
  | { type: 'stream'; key: number; options: LiveOptions; resume: StreamResume; taken: number }
  | { type: 'write'; key: number; number: number; run: Run }
  | { type: 'idle'; key: number }
  | { type: 'end'; key: number }
  | { type: 'abandon'; key: number }
  | { type: 'close' };

/** How far a stream has come. */
export interface StreamState {
  /** The number of the last write that was taken. */
  taken: number;
  writtenMs: number;
  lagMs: number;
  hasRoom: boolean;
}

/** What the process is up to. */
export interface Vitals {
  counters?: EngineCounters;
  rssBytes: number;
}

/** From the worker process. */
export type Report =
  | { type: 'ready'; info: EngineInfo; vitals: Vitals }
  | { type: 'failed'; failure: Failure }
  /** The engine has closed itself. */
  | { type: 'broken'; why: string }
  | { type: 'pong'; vitals: Vitals }
  | { type: 'event'; key: number; event: JobEvent }
  | { type: 'done'; key: number; outcome: Transcript | Failure; vitals: Vitals }
  | { type: 'stream-event'; key: number; event: LiveEvent }
  | { type: 'stream-state'; key: number; state: StreamState }
  | { type: 'log'; record: LogRecord }
  | { type: 'closed' };

/**
 * A copy that can be sent: in place of what cannot is an empty object, which no option can be, so
 * that the engine refuses it or looks past it as it would here.
 */
export function sendable(value: unknown): unknown {
  try {
    return deserialize(serialize(value));
  } catch {
    if (typeof value !== 'object' || value === null) return {};
    if (Array.isArray(value)) return value.map(sendable);
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, sendable(part)]));
  }
}
