import { Duplex } from 'node:stream';
import { types } from 'node:util';
import type { LiveEvent, LiveOptions, Transcript } from '../index.js';
import { onAbort } from './abort.js';
import type { Engine, EngineStream } from './engine.js';
import {
  callNative,
  invalidArgument,
  isFailure,
  OpuscribeError,
  toError,
  unwrap,
} from './error.js';
import { checkCommon, checkVad } from './job.js';
import { describe, flatten, LOST } from './packets.js';

/** How a live stream is to be transcribed. */
export interface StreamOptions extends LiveOptions {
  /** Aborting it destroys the stream with the signal's own reason. */
  signal?: AbortSignal;
}

/** What a stream tells. Every time is in milliseconds of the audio that was written. */
export type StreamEvent =
  /** Somebody began to speak. */
  | { type: 'speech-start'; atMs: number }
  /**
   * An utterance, counted from 0, as far as it is known: `committed` only grows and is how its final
   * text begins; `tentative` continues it, with its own space before it, and may change.
   */
  | { type: 'interim'; utterance: number; committed: string; tentative: string }
  /** The text of an utterance. */
  | { type: 'final'; utterance: number; transcript: Transcript }
  /** The speech has ended; the final text of its last utterance follows. */
  | { type: 'speech-end'; atMs: number };

/** Stands for an array whose buffer has been transferred: it cannot be copied. */
const DETACHED = Symbol('detached');

type WriteCallback = (error: Error | null | undefined) => void;

/** Events that wait to be read before what is written waits too. */
const MAX_UNREAD = 64;
/** So long after what was written has been spoken, whoever was speaking has ended. */
const IDLE_MS = 1000;
/** Recorders write so much at once; of what is more nobody waits until it has been spoken. */
const MAX_AHEAD_MS = 10_000;
/** How often a process is looked after that only waits for events. */
const LOOK_MS = 200;

/**
 * Live speech to text: write Opus packets, `null` for one that is lost, or `Float32Array`s, and read
 * events. What is written is copied.
 *
 * `write` returns false when 16 writes wait, which they do while 30 s of audio have not been heard or
 * have no text yet, or 64 events have not been read. Nothing is dropped, but an interim event that
 * the next of its utterance overtakes before it is read.
 *
 * Time is that of the audio: a pause in which nothing is written takes none. An utterance is over a
 * second after what was written would have been spoken, of which 10 s count at most, if nothing
 * follows.
 */
export class TranscriptionStream extends Duplex {
  readonly #engine: EngineStream;
  readonly #releaseSignal: () => void;
  readonly #unread: StreamEvent[] = [];
  #reads = false;
  /** What is written: packets or samples, as the first was. */
  #kind: 'packets' | 'samples' | undefined;
  /** The callback of a write that waits for room. */
  #written: ((error?: Error | null) => void) | undefined;
  #hasRoom = true;
  #flushed: ((error?: Error | null) => void) | undefined;
  #speaking = false;
  /** Nothing more is told. */
  #over = false;
  /** Why, once what was told before has been read. */
  #failure: Error | undefined;
  /** Called when what has been written so far is with the engine, if somebody waits for that. */
  #drained: (() => void) | undefined;
  /** Nothing more is taken, although the application may write. */
  #isShut = false;
  #idle: NodeJS.Timeout;
  /** When something was written last, how much is counted in, and when that has been spoken. */
  #writtenAt = performance.now();
  #countedMs = 0;
  #spokenAt = performance.now();
  /** Set as long as an event is to be expected: Node would end the process before it. */
  #alive: NodeJS.Timeout | undefined;

  /** @internal */
  constructor(engine: Engine, options: StreamOptions = {}) {
    checkCommon(options);
    checkVad(options.vad);
    const { signal, ...live } = options;
    super({ objectMode: true });
    const opening = callNative(() => engine.openStream(live, (event) => this.#hear(event)));
    this.#engine = unwrap(opening);
    this.#idle = setTimeout(() => this.#pause(), IDLE_MS);
    this.once('end', () => {
      this.#refuse();
      // Drained: nobody can write any more, and nobody may come to say so.
      if (!this.destroyed && !this.writableEnded) this.end();
    });
    this.#releaseSignal = onAbort(signal, () => this.#abort(signal?.reason));
    if (signal?.aborted) this.#abort(signal.reason);
  }

  /**
   * Audio that has not been heard yet, or has been said and has no text yet, in milliseconds. Of a
   * worker process, as it was 100 ms ago.
   */
  get lagMs(): number {
    return this.#engine.lagMs;
  }

  override write(chunk: unknown, done?: WriteCallback): boolean;
  override write(chunk: unknown, encoding: BufferEncoding, done?: WriteCallback): boolean;
  override write(chunk: unknown, ...rest: unknown[]): boolean {
    return super.write(copied(chunk, LOST), ...(rest as [BufferEncoding]));
  }

  override end(done?: () => void): this;
  override end(chunk: unknown, done?: () => void): this;
  override end(chunk: unknown, encoding: BufferEncoding, done?: () => void): this;
  override end(chunk?: unknown, ...rest: unknown[]): this {
    return super.end(copied(chunk, undefined), ...(rest as [BufferEncoding]));
  }

  override _write(chunk: unknown, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#writeAll([chunk], done);
  }

  override _writev(chunks: Array<{ chunk: unknown }>, done: (error?: Error | null) => void): void {
    this.#writeAll(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  /** @internal Gives the engine what has been written so far, and nothing of what follows. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.#drained = resolve;
      this.#goOn();
    });
  }

  // With its own type Node's would not take it for a stream.
  override read(size?: number): ReturnType<Duplex['read']> {
    const event = super.read(size);
    if (this.#failure !== undefined) setImmediate(() => this.#failIfRead());
    return event;
  }

  override _read(): void {
    this.#reads = true;
    this.#give();
  }

  override _final(done: (error?: Error | null) => void): void {
    clearTimeout(this.#idle);
    if (this.#over) {
      done();
      return;
    }
    this.#flushed = done;
    this.#engine.end();
    this.#stayAlive();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#over = true;
    this.#engine.close();
    this.#releaseSignal();
    clearTimeout(this.#idle);
    clearInterval(this.#alive);
    this.#drained?.();
    const written = this.#written;
    this.#written = undefined;
    done(error);
    written?.(error ?? closed());
  }

  /** Node takes a reason that is falsy for none. */
  #abort(reason: unknown): void {
    this.destroy((reason || new DOMException('The stream was aborted', 'AbortError')) as Error);
  }

  #writeAll(chunks: unknown[], done: (error?: Error | null) => void): void {
    if (this.#over || this.#isShut) {
      this.#written = done;
      this.#refuse();
      return;
    }
    this.#count();
    this.#writtenAt = performance.now();
    try {
      for (const run of runs(chunks)) this.#hasRoom = this.#push(run);
    } catch (error) {
      done(error as Error);
      return;
    }
    this.#written = done;
    this.#goOn();
  }

  /** Counts in what has been written since the last time, as far as its length is known. */
  #count(): void {
    const { writtenMs } = this.#engine;
    const spokenAt = Math.max(this.#spokenAt, this.#writtenAt) + writtenMs - this.#countedMs;
    this.#spokenAt = Math.min(spokenAt, this.#writtenAt + MAX_AHEAD_MS);
    this.#countedMs = writtenMs;
  }

  /** The transcriber was closed, and everything has been read that it had to tell. */
  #refuse(): void {
    const written = this.#written;
    if (!this.#over || !this.readableEnded || written === undefined) return;
    this.#written = undefined;
    written(closed());
  }

  #push(run: Uint8Array[] | Float32Array): boolean {
    const kind = run instanceof Float32Array ? 'samples' : 'packets';
    this.#kind ??= kind;
    if (kind !== this.#kind) {
      throw invalidArgument(
        `${kind} are written to a stream of ${this.#kind}; open a stream for each`,
      );
    }
    if (run instanceof Float32Array) return this.#engine.writeFloats(run);
    const { bytes, lengths } = flatten(run);
    return unwrap(this.#engine.writePackets(bytes, lengths));
  }

  /** Takes the next write, if there is room for what may come of it. */
  #goOn(): void {
    const isRead = this.#unread.length < MAX_UNREAD || this.#drained !== undefined;
    const isOpen = !this.#over && !this.#isShut;
    if (this.#written !== undefined && this.#hasRoom && isRead && isOpen) {
      const done = this.#written;
      this.#written = undefined;
      this.#idle.refresh();
      done();
    }
    this.#shutIfDrained();
    this.#stayAlive();
  }

  #shutIfDrained(): void {
    if (this.#drained === undefined) return;
    if (!this.#over && !this.#isShut) {
      // What the stream still holds of what was written comes first.
      if (this.#written !== undefined || this.writableLength > 0) return;
      this.#isShut = true;
      this.#engine.end();
    }
    this.#drained();
    this.#drained = undefined;
  }

  /** Nothing has been written for some time. */
  #pause(): void {
    const writtenAt = this.#writtenAt;
    // What came while this thread was busy is taken first.
    setImmediate(() => {
      if (this.destroyed || this.writableEnded || this.#over) return;
      this.#count();
      const late = performance.now() - this.#spokenAt;
      if (late < IDLE_MS) {
        clearTimeout(this.#idle);
        this.#idle = setTimeout(() => this.#pause(), Math.max(1, IDLE_MS - late));
      } else if (writtenAt === this.#writtenAt && this.#written === undefined) {
        this.#engine.idle();
      }
      this.#stayAlive();
    });
  }

  #stayAlive(): void {
    // Where a write waits for somebody to read, nothing more is to be expected of who is speaking.
    const speaks = this.#speaking && this.#written === undefined;
    const waits = speaks || this.#flushed || this.#engine.lagMs > 0;
    if (!waits || this.#over) {
      clearInterval(this.#alive);
      this.#alive = undefined;
    } else {
      this.#alive ??= setInterval(() => this.#stayAlive(), LOOK_MS);
    }
  }

  #hear(event: LiveEvent): void {
    if (this.destroyed) return;
    switch (event.kind) {
      case 'ready':
        this.#hasRoom = true;
        this.#goOn();
        return;
      case 'end':
        this.#end(event);
        return;
      case 'speech-start':
        this.#speaking = true;
        break;
      case 'speech-end':
        this.#speaking = false;
        break;
    }
    const told = toEvent(event);
    const last = this.#unread.at(-1);
    if (last?.type === 'interim' && told.type === 'interim' && last.utterance === told.utterance) {
      this.#unread.pop();
    }
    this.#unread.push(told);
    this.#give();
    this.#stayAlive();
  }

  #give(): void {
    while (this.#reads && this.#unread.length > 0) this.#reads = this.push(this.#unread.shift());
    const isLast = this.#over && this.#unread.length === 0 && this.#failure === undefined;
    if (isLast && !this.readableEnded) this.push(null);
    else this.#goOn();
  }

  /** Destroying the stream would take along what it still holds to be read. */
  #failIfRead(): void {
    const isRead = this.#unread.length === 0 && this.readableLength === 0;
    // Who has never read waits for nothing but this.
    if (isRead || !this.readableDidRead) this.destroy(this.#failure);
  }

  #end({ failure }: LiveEvent): void {
    this.#over = true;
    clearTimeout(this.#idle);
    this.#engine.close();
    if (isFailure(failure)) {
      this.#failure = toError(failure);
      setImmediate(() => this.#failIfRead());
    }
    this.#give();
    this.#flushed?.();
    this.#flushed = undefined;
    this.#refuse();
    this.#stayAlive();
  }
}

function toEvent({ kind, ...event }: LiveEvent): StreamEvent {
  return { type: kind, ...event } as StreamEvent;
}

/** `null` cannot be carried by streams of Node. */
function copied(chunk: unknown, none: unknown): unknown {
  if (chunk === null) return none;
  try {
    // A Buffer's own slice is a view.
    if (types.isUint8Array(chunk)) return Uint8Array.prototype.slice.call(chunk);
    return types.isFloat32Array(chunk) ? chunk.slice() : chunk;
  } catch {
    return DETACHED;
  }
}

function closed(): OpuscribeError {
  return new OpuscribeError('ERR_CLOSED', 'the stream is over; open another');
}

/** Packets that follow each other, and samples alone. */
function* runs(chunks: unknown[]): Generator<Uint8Array[] | Float32Array> {
  let packets: Uint8Array[] = [];
  for (const chunk of chunks) {
    if (types.isUint8Array(chunk)) {
      packets.push(chunk);
      continue;
    }
    if (!types.isFloat32Array(chunk)) {
      const what = chunk === DETACHED ? 'an array without its buffer' : describe(chunk);
      throw invalidArgument(
        `${what} was written; expected a Uint8Array, null for a lost packet, or a Float32Array`,
      );
    }
    if (packets.length > 0) yield packets;
    packets = [];
    yield chunk;
  }
  if (packets.length > 0) yield packets;
}
