import { Transform, type TransformCallback } from 'node:stream';
import type { Demuxed, Failure } from '../index.js';
import { callNative, unwrap } from './error.js';
import { NativeDemuxer } from './native.js';

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
    super({ ...options, readableObjectMode: true });
    this.#native = callNative(() => new NativeDemuxer());
  }

  override _transform(bytes: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#take(this.#native.push(bytes), done);
  }

  override _flush(done: TransformCallback): void {
    this.#take(this.#native.end(), done);
  }

  #take(answer: Promise<Demuxed | Failure>, done: TransformCallback): void {
    const give = (outcome: Demuxed | Failure) => {
      const { packets, warnings } = unwrap(outcome);
      this.warnings.push(...warnings);
      for (const packet of packets) this.push(packet);
    };
    answer.then(give).then(() => done(), done);
  }
}
