import { Transform, type TransformCallback } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import type { Demuxed, Failure } from '../index.js';
import { callNative, unwrap } from './error.js';
import { NativeDemuxer } from './native.js';
import { LOST } from './packets.js';

/** How an `OpusDemuxer` buffers. */
export interface OpusDemuxerOptions {
  /** Packets that wait to be read before `write` returns false. Default 16 (Node). */
  readableHighWaterMark?: number;
  /** Bytes that wait to be demuxed before `write` returns false. Default 16 KiB (Node). */
  writableHighWaterMark?: number;
}

/**
 * Opus packets out of a live WebM or Ogg stream: write its bytes from the first on, in pieces of any
 * size, and read a `Uint8Array` for each packet. A packet that is missing is an empty one, because
 * streams of Node cannot carry `null`; `transcribe` takes both for lost.
 *
 * Ends with `ERR_UNSUPPORTED_MEDIA` if the bytes are something else, or begin inside a stream: later
 * blobs of a MediaRecorder have no header and mean nothing without the first.
 */
export class OpusDemuxer extends Transform {
  /** What was found missing or damaged so far, in words. */
  readonly warnings: string[] = [];
  readonly #native: NativeDemuxer;

  constructor(options: OpusDemuxerOptions = {}) {
    // Bytes in, whatever else the options say: packets are the objects.
    super({
      ...options,
      objectMode: false,
      writableObjectMode: false,
      decodeStrings: true,
      readableObjectMode: true,
    });
    this.#native = callNative(() => new NativeDemuxer());
  }

  override _transform(bytes: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#take(this.#native.push(bytes), done);
  }

  override _flush(done: TransformCallback): void {
    this.#take(this.#native.end(), done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#native.close();
    done(error);
  }

  #take(answer: Promise<Demuxed | Failure>, done: TransformCallback): void {
    this.#give(answer).then(() => done(), done);
  }

  async #give(answer: Promise<Demuxed | Failure>): Promise<void> {
    const { packets, warnings } = unwrap(await answer);
    this.warnings.push(...warnings);
    for (const packet of packets) {
      if (typeof packet !== 'number') this.push(packet);
      else await this.#giveMissing(packet);
    }
  }

  /** A gap can be an hour of short packets: the event loop gets its turn in between. */
  async #giveMissing(count: number): Promise<void> {
    for (let given = 1; given <= count && !this.destroyed; given += 1) {
      this.push(LOST);
      if (given % 1024 === 0) await setImmediate();
    }
  }
}
