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
import { checkDevice, type Device, defaultDevice } from './devices/device.js';
import type { Wish } from './devices/open.js';
import type { Engine, Input } from './engine.js';
import { invalidArgument, NOT_OPEN, toError, unwrap } from './error.js';
import { checkOptions, checkVad, report, runJob, type TranscribeOptions } from './job.js';
import { resolveModel } from './models.js';
import { onnxRuntimePath } from './onnxruntime.js';
import { describe, type FlatPackets, flatten } from './packets.js';
import { type StreamOptions, TranscriptionStream } from './stream.js';

/** How to open a transcriber. */
export interface TranscriberOptions extends Omit<EngineOptions, 'gpu' | 'mayFallBack'> {
  /**
   * Where Whisper runs. Default `auto`, or what `OPUSCRIBE_DEVICE` says: the best that works, which is found out in another process
   * and remembered. A GPU that is asked for and cannot be had is `ERR_DEVICE_UNAVAILABLE`.
   */
  device?: Device;
  /** Receives log records of the engine, whisper.cpp and ONNX Runtime. Nothing is ever printed. */
  onLog?: (record: LogRecord) => void;
}

/** A snapshot of what a transcriber has done and is doing. */
export interface EngineStats extends EngineCounters {
  /** Live streams that are open. */
  streams: number;
  /** Audio of the stream that is furthest behind: not heard yet, or said and without text yet. */
  streamLagMs: number;
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

/** What every transcriber can do, wherever its models are. */
export abstract class BaseTranscriber {
  readonly #engine: Engine;
  readonly #streams = new Set<TranscriptionStream>();
  #closed: Promise<void> | undefined;
  #hurry: () => void = () => this.#engine.hurry();

  /** @internal */
  protected constructor(engine: Engine) {
    this.#engine = engine;
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
  transcribeFlat(packets: FlatPackets, options: TranscribeOptions): Promise<Transcript> {
    return this.#run({ kind: 'packets', ...packets }, options);
  }

  /** The text of interleaved PCM: floats of nominally -1 to 1, or 16-bit integers. */
  async transcribePcm(
    pcm: Float32Array | Int16Array,
    options: TranscribeOptions & PcmOptions = {},
  ): Promise<Transcript> {
    checkOptions(options);
    const { sampleRate = 16000, channels = 1 } = options;
    if (!(pcm instanceof Float32Array || pcm instanceof Int16Array)) {
      throw invalidArgument(`pcm is ${describe(pcm)}; expected a Float32Array or an Int16Array`);
    }
    return this.#run({ kind: 'pcm', pcm, sampleRate, channels }, options);
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
    return this.#run({ kind: 'file', source: mediaSource(source) }, options);
  }

  async #run(input: Input, options: TranscribeOptions): Promise<Transcript> {
    options.signal?.throwIfAborted();
    this.#checkOpen();
    return runJob(options, (onEvent) => this.#engine.submit(input, jobOptions(options), onEvent));
  }

  /**
   * A live stream: Opus packets or samples are written, events are read. Any number of streams share
   * the transcriber. Throws for options that cannot be, and `ERR_CLOSED`.
   */
  createStream(options: StreamOptions = {}): TranscriptionStream {
    this.#checkOpen();
    const stream = new TranscriptionStream(this.#engine, options);
    this.#streams.add(stream);
    stream.once('close', () => this.#streams.delete(stream));
    return stream;
  }

  /** Model, languages, backend, device and versions really in use. */
  get info(): EngineInfo {
    return this.#engine.info;
  }

  /** The counters now. Costs microseconds and never waits; works after `close` too. */
  stats(): EngineStats {
    const lags = [...this.#streams].map((stream) => stream.lagMs);
    return {
      ...this.#engine.stats(),
      streams: lags.length,
      streamLagMs: Math.max(0, ...lags),
      rssBytes: process.memoryUsage.rss(),
    };
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
    if (this.#closed === undefined) this.#closed = drain ? this.#drain() : this.#shut(false);
    else if (!drain) this.#hurry();
    return this.#closed;
  }

  /** The engine finishes what it has; what streams still hold of what was written comes first. */
  async #drain(): Promise<void> {
    if (this.#streams.size === 0) return this.#shut(true);
    let isHurried = false;
    const hurried = new Promise<void>((resolve) => {
      this.#hurry = () => {
        isHurried = true;
        resolve();
      };
    });
    await Promise.race([hurried, Promise.all([...this.#streams].map((stream) => stream.drain()))]);
    this.#hurry = () => this.#engine.hurry();
    return this.#shut(!isHurried);
  }

  async #shut(drain: boolean): Promise<void> {
    unwrap(await this.#engine.close(drain));
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) throw toError(NOT_OPEN);
  }

  /** `await using transcriber = await Transcriber.open(…)` closes it at the end of the block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** What the options say, checked as far as JavaScript can. */
export function opening({ onLog, device: asked, ...options }: TranscriberOptions): Opening {
  if (onLog !== undefined && typeof onLog !== 'function') {
    throw invalidArgument(`onLog is ${describe(onLog)}; expected a function`);
  }
  checkVad(options.vad);
  const device = asked === undefined ? defaultDevice() : asked;
  checkDevice(device);
  const model = resolveModel(options.model);
  const onnxRuntime = onnxRuntimePath();
  // Only the device says these.
  const { gpu, mayFallBack, ...rest } = options as EngineOptions;
  const reporter = onLog && ((record: LogRecord) => report(onLog, record));
  return {
    options: { ...rest, model },
    onnxRuntime,
    onLog: reporter,
    wish: { device, model, onnxRuntime, lanes: options.lanes, onLog: reporter },
  };
}

/** Throws unless the options are an object. */
export function checkOpening(options: unknown): asserts options is object {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument(`options is ${describe(options)}; expected { model, … }`);
  }
}

interface Opening {
  options: EngineOptions;
  onnxRuntime: string;
  onLog: ((record: LogRecord) => void) | undefined;
  wish: Wish;
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
