// The streams of a pool, and which worker has which.

import type { LiveEvent, LiveOptions } from '../../index.js';
import type { CrashFailure } from './failures.js';
import { RemoteStream } from './stream.js';
import type { Worker } from './worker.js';

export class Streams {
  readonly #workers: readonly Worker[];
  /** After a stream has ended, or has caught up, a worker may have room. */
  readonly #onRoom: () => void;
  readonly #places = new Map<RemoteStream, Worker>();

  constructor(workers: readonly Worker[], onRoom: () => void) {
    this.#workers = workers;
    this.#onRoom = onRoom;
  }

  get size(): number {
    return this.#places.size;
  }

  get all(): RemoteStream[] {
    return [...this.#places.keys()];
  }

  open(key: number, options: LiveOptions, onEvent: (event: LiveEvent) => void): RemoteStream {
    const stream = new RemoteStream(key, options, {
      onEvent,
      onFinal: (stream) => this.#places.get(stream)?.worked(),
      onOver: (stream) => {
        const worker = this.#leave(stream);
        worker?.attachStreams();
        this.#onRoom();
      },
      onCaughtUp: (stream) => {
        this.#places.get(stream)?.attachStreams();
        this.#onRoom();
      },
    });
    this.place(stream);
    return stream;
  }

  /** Gives the stream to the worker that has the fewest. */
  place(stream: RemoteStream): void {
    this.#leave(stream);
    const load = (worker: Worker) =>
      worker.streams.size + (worker.isServing ? 0 : 1e6) + (worker.isDown ? 1e9 : 0);
    const worker = this.#workers.reduce((best, next) => (load(next) < load(best) ? next : best));
    this.#places.set(stream, worker);
    worker.hold(stream);
  }

  #leave(stream: RemoteStream): Worker | undefined {
    const worker = this.#places.get(stream);
    this.#places.delete(stream);
    worker?.streams.delete(stream.key);
    return worker;
  }
}

/** The stream cannot go on; its audio is wanted again, of another. */
export function lose(stream: RemoteStream, crash: CrashFailure): void {
  const { resumeFromMs } = stream;
  const from = Math.floor(resumeFromMs);
  stream.fail({
    ...crash,
    resumeFromMs,
    message: `${crash.message}; open another stream and write the audio from ${from} ms on again`,
  } as CrashFailure);
}
