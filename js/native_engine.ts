// The addon as an engine.

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
} from '../index.js';
import type { Engine, EngineStream, Input, PlacedOptions, Running } from './engine.js';
import { callNative, isFailure, toFailure } from './error.js';
import { addon, type CancelToken, type NativeTranscriber } from './native.js';

export class NativeEngine implements Engine {
  readonly #native: NativeTranscriber;
  readonly #newToken: () => CancelToken;

  private constructor(native: NativeTranscriber, newToken: () => CancelToken) {
    this.#native = native;
    this.#newToken = newToken;
  }

  static async open(
    { backend, ...options }: PlacedOptions,
    onnxRuntime: string,
    onLog: ((record: LogRecord) => void) | undefined,
  ): Promise<NativeEngine | Failure> {
    let native: ReturnType<typeof addon>;
    try {
      native = addon(backend);
    } catch (error) {
      return toFailure(error, 'ERR_DEVICE_UNAVAILABLE');
    }
    const { CancelToken, NativeTranscriber } = native;
    const opened = await callNative(() => NativeTranscriber.open(options, onnxRuntime, onLog));
    return isFailure(opened) ? opened : new NativeEngine(opened, () => new CancelToken());
  }

  get info(): EngineInfo {
    return this.#native.info;
  }

  submit(input: Input, options: JobOptions, onEvent?: (event: JobEvent) => void): Running {
    const cancel = this.#newToken();
    const outcome = this.#transcribe(input, options, cancel, onEvent);
    return { outcome, cancel: () => cancel.cancel() };
  }

  #transcribe(
    input: Input,
    options: JobOptions,
    cancel: CancelToken,
    onEvent?: (event: JobEvent) => void,
  ) {
    const native = this.#native;
    switch (input.kind) {
      case 'packets':
        return native.transcribe(input.bytes, input.lengths, options, cancel, onEvent);
      case 'file':
        return native.transcribeFile(input.source, options, cancel, onEvent);
      case 'pcm': {
        const { pcm, sampleRate, channels } = input;
        const job = [sampleRate, channels, options, cancel, onEvent] as const;
        return pcm instanceof Float32Array
          ? native.transcribeFloat(pcm, ...job)
          : native.transcribeInt16(pcm, ...job);
      }
    }
  }

  openStream(
    options: LiveOptions,
    onEvent: (event: LiveEvent) => void,
    resume?: StreamResume,
  ): EngineStream | Failure {
    return this.#native.openStream(options, onEvent, resume);
  }

  /** Why it has closed itself, if it has. */
  get broken(): string | null {
    return this.#native.broken;
  }

  stats(): EngineCounters {
    return this.#native.stats();
  }

  close(drain: boolean): Promise<undefined | Failure> {
    return this.#native.close(drain);
  }

  hurry(): void {
    this.#native.hurry();
  }
}
