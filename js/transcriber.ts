import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { types } from 'node:util';
import type {
  EngineCounters,
  EngineInfo,
  EngineOptions,
  JobOptions,
  LogRecord,
  Transcript,
} from '../index.js';
import { callNative, invalidArgument, unwrap } from './error.js';
import { checkOptions, checkVad, report, runJob, type TranscribeOptions } from './job.js';
import { resolveModel } from './models.js';
import { NativeTranscriber } from './native.js';
import { onnxRuntimePath } from './onnxruntime.js';
import { describe, type FlatPackets, flatten } from './packets.js';

/** How to open a transcriber. */
export interface TranscriberOptions extends EngineOptions {
  /** Receives log records of the engine, whisper.cpp and ONNX Runtime. Nothing is ever printed. */
  onLog?: (record: LogRecord) => void;
}

/** A snapshot of what a transcriber has done and is doing. */
export interface EngineStats extends EngineCounters {
  /** Resident memory of the whole process, in bytes. */
  rssBytes: number;
}

/** Interleaved PCM. */
export interface PcmOptions {
  /** Frames a second, 4000 to 384000. Default 16000. */
  sampleRate?: number;
  /** Interleaved channels, 1 to 8, averaged into one. Default 1. */
  channels?: number;
}

/**
 * A Whisper model, a voice activity detector, and the two threads that own them. Open one and keep
 * it: any number of calls share it.
 */
export class Transcriber {
  readonly #native: NativeTranscriber;
  #closed: Promise<void> | undefined;

  private constructor(native: NativeTranscriber) {
    if (!(native instanceof NativeTranscriber)) {
      throw invalidArgument('use Transcriber.open(), which loads the model');
    }
    this.#native = native;
  }

  /** Loads both models; resolves when each has run once. */
  static async open(options: TranscriberOptions): Promise<Transcriber> {
    if (typeof options !== 'object' || options === null) {
      throw invalidArgument(`options is ${describe(options)}; expected { model, … }`);
    }
    const { onLog } = options;
    if (onLog !== undefined && typeof onLog !== 'function') {
      throw invalidArgument(`onLog is ${describe(onLog)}; expected a function`);
    }
    checkVad(options.vad);
    const native = { ...options, model: resolveModel(options.model) };
    const log = onLog && ((record: LogRecord) => report(onLog, record));
    const onnxRuntime = onnxRuntimePath();
    const opening = callNative(() => NativeTranscriber.open(native, onnxRuntime, log));
    return new Transcriber(unwrap(await opening));
  }

  /**
   * The text of a list of Opus packets, without container or length prefixes; `null` is a packet
   * known to be lost. Their bytes are copied before this returns.
   *
   * Rejects with an `OpuscribeError`, or with the reason of an aborted `signal`. Silence is no
   * error: see `emptyReason`.
   */
  async transcribe(
    opusPackets: ReadonlyArray<Uint8Array | null>,
    options: TranscribeOptions = {},
  ): Promise<Transcript> {
    checkOptions(options);
    return this.transcribeFlat(flatten(opusPackets), options);
  }

  /** @internal */
  transcribeFlat({ bytes, lengths }: FlatPackets, options: TranscribeOptions): Promise<Transcript> {
    return runJob(options, (cancel, onEvent) =>
      this.#native.transcribe(bytes, lengths, jobOptions(options), cancel, onEvent),
    );
  }

  /** The text of interleaved PCM: floats of nominally -1 to 1, or 16-bit integers. */
  async transcribePcm(
    pcm: Float32Array | Int16Array,
    options: TranscribeOptions & PcmOptions = {},
  ): Promise<Transcript> {
    checkOptions(options);
    const { sampleRate = 16000, channels = 1 } = options;
    return runJob(options, (cancel, onEvent) => {
      const job = [sampleRate, channels, jobOptions(options), cancel, onEvent] as const;
      if (pcm instanceof Float32Array) return this.#native.transcribeFloat(pcm, ...job);
      if (pcm instanceof Int16Array) return this.#native.transcribeInt16(pcm, ...job);
      throw invalidArgument(`pcm is ${describe(pcm)}; expected a Float32Array or an Int16Array`);
    });
  }

  /**
   * The text of a file, by path, by file URL or by its bytes: Ogg or WebM with Opus, WAV, FLAC, MP3, M4A or AAC.
   * It is read, decoded and transcribed at the same time, in bounded memory whatever its length.
   *
   * What is missing in a damaged file is named in `warnings`; a file that is something else, or
   * holds no audio, is `ERR_UNSUPPORTED_MEDIA`.
   */
  async transcribeFile(
    source: string | URL | Uint8Array,
    options: TranscribeOptions = {},
  ): Promise<Transcript> {
    checkOptions(options);
    const media = mediaSource(source);
    return runJob(options, (cancel, onEvent) =>
      this.#native.transcribeFile(media, jobOptions(options), cancel, onEvent),
    );
  }

  /** Model, languages, backend, device and versions really in use. */
  get info(): EngineInfo {
    return this.#native.info;
  }

  /** The counters now. Costs microseconds and never waits; works after `close` too. */
  stats(): EngineStats {
    return { ...this.#native.stats(), rssBytes: process.memoryUsage.rss() };
  }

  /**
   * Frees both models. Jobs that are not done reject with `ERR_CLOSED`, or are finished first with
   * `drain: true`. May be called again, also to stop draining.
   */
  async close(options: { drain?: boolean } = {}): Promise<void> {
    const { drain = false } = options ?? {};
    if (typeof drain !== 'boolean') {
      throw invalidArgument(`drain is ${describe(drain)}; expected true or false`);
    }
    if (this.#closed === undefined) {
      this.#closed = this.#native.close(drain).then(unwrap) as Promise<void>;
    } else if (!drain) {
      this.#native.hurry();
    }
    return this.#closed;
  }

  /** `await using transcriber = await Transcriber.open(…)` closes it at the end of the block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** An absolute path, so that an error names it, or the bytes. */
function mediaSource(source: unknown): string | Uint8Array {
  if (types.isUint8Array(source)) return source;
  if (typeof source === 'string' && !source.includes('\0')) return resolve(source);
  if (source instanceof URL && source.protocol === 'file:') return fileURLToPath(source);
  throw invalidArgument(
    `source is ${describe(source)}; expected a path, a file URL or a Uint8Array (of an ArrayBuffer: new Uint8Array(it))`,
  );
}

/** Only what the addon knows: it would take `signal` and the callbacks for damaged options. */
function jobOptions({ signal, onProgress, onSegment, ...options }: TranscribeOptions): JobOptions {
  return options;
}
