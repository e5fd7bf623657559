// What a transcriber is the face of: the addon in this process, or one in another.

import type {
  EngineCounters,
  EngineInfo,
  EngineOptions,
  Failure,
  JobEvent,
  JobOptions,
  LiveEvent,
  LiveOptions,
  Transcript,
} from '../index.js';
import type { Backend } from './addons.js';
import type { FlatPackets } from './packets.js';

/** Options of an engine, and the addon that it is of. */
export interface PlacedOptions extends EngineOptions {
  backend: Backend;
}

/** Audio of one job. */
export type Input =
  | ({ kind: 'packets' } & FlatPackets)
  | { kind: 'pcm'; pcm: Float32Array | Int16Array; sampleRate: number; channels: number }
  | { kind: 'file'; source: string | Uint8Array };

/** A job that was taken in. */
export interface Running {
  /** Never rejects: what went wrong is data. */
  outcome: Promise<Transcript | Failure>;
  /** Stops it. Does nothing after its end. */
  cancel(): void;
}

/** The writing side of a live stream. */
export interface EngineStream {
  /** False if the writer is to wait for `ready`. */
  writePackets(bytes: Uint8Array, lengths: Int32Array): boolean | Failure;
  writeFloats(samples: Float32Array): boolean;
  idle(): void;
  end(): void;
  close(): void;
  /** How long what was written lasts, as far as it is known. */
  readonly writtenMs: number;
  readonly lagMs: number;
}

export interface Engine {
  readonly info: EngineInfo;
  /** The input's bytes are copied before this returns. */
  submit(
    input: Input,
    options: JobOptions,
    onEvent: ((event: JobEvent) => void) | undefined,
  ): Running;
  openStream(options: LiveOptions, onEvent: (event: LiveEvent) => void): EngineStream | Failure;
  stats(): EngineCounters;
  /** Called once. Resolves when the models are freed. */
  close(drain: boolean): Promise<undefined | Failure>;
  /** Gives up what a draining close still waits for. */
  hurry(): void;
}
