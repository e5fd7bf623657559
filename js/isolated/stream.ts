// A live stream on this side. What was written is kept until its text is there, so that another
// process can go on with it.

import type { Failure, LiveEvent, LiveOptions, StreamResume } from '../../index.js';
import type { EngineStream } from '../engine.js';
import type { Child } from './child.js';
import type { CrashedJob } from './crash.js';
import { type Run, type StreamState, sendable } from './protocol.js';

/**
 * Sent again before what is still needed, for the decoder and the detector to find their way. What
 * Opus remembers of a frame fades by a fifth with each (RFC 6716, section 4.3.2.1): after so many
 * the same samples come out.
 */
const CONTEXT_MS = 3000;
/** Behind by less, a stream has caught up. */
const CAUGHT_UP_MS = 1000;
/** More than an utterance of 30 s and 30 s of lag need. */
const MAX_KEPT_BYTES = 64 * 1024 * 1024;
/** Writes that no process has taken yet, above which the writer is to wait: 30 s of packets. */
const MAX_UNTAKEN = 1500;
const MAX_UNTAKEN_BYTES = 8 * 1024 * 1024;
/** Who has nothing to say about what it hears again may not hold up others for longer. */
const MAX_CATCHING_UP_MS = 5000;
/** After so many crashes in one utterance it goes on alone at first, so that it is known whose they are. */
const SUSPICIOUS = 2;
/** So many are its own in any case. */
const MAX_CRASHES = 5;
/** Two events of one kind are further apart. */
const SAME_MS = 100;

type Entry =
  | { kind: 'write'; number: number; run: Run; bytes: number; count: number; endMs?: number }
  | { kind: 'idle' | 'end' };

/** Audio that is still needed, and by which utterance. */
interface Kept {
  fromMs: number;
  /** Where somebody was first heard to speak in it; missing as long as it has not begun. */
  spokenMs?: number;
}

export interface StreamListeners {
  onEvent(event: LiveEvent): void;
  /** Its process has told a text. */
  onFinal(stream: RemoteStream): void;
  /** It is over. */
  onOver(stream: RemoteStream): void;
  /** What it was asked to take again after a crash has been heard. */
  onCaughtUp(stream: RemoteStream): void;
}

export class RemoteStream implements EngineStream {
  readonly id: string;
  readonly #options: LiveOptions;
  readonly #listeners: StreamListeners;
  #child: Child | undefined;
  #over = false;
  #ended = false;
  /** What may have to be written again, and where on the timeline it begins. */
  #entries: Entry[] = [];
  #keptBytes = 0;
  #untakenBytes = 0;
  #begin = { writtenMs: 0, received: 0 };
  #isTorn = false;
  #number = 0;
  #state: StreamState = { taken: -1, writtenMs: 0, lagMs: 0, hasRoom: true };
  #waits = false;
  // What was told, and what a stream would need to go on from it.
  #kept = new Map<number, Kept>([[0, { fromMs: 0 }]]);
  #committed = new Map<number, string>();
  #utterance = 0;
  #previous: string | undefined;
  #speech: { kind: string; atMs: number } = { kind: 'speech-end', atMs: Number.NEGATIVE_INFINITY };
  #spokenMs = 0;
  /** Set as long as a process may tell again what another has told. */
  #isRepeating = false;
  #writtenMs = 0;
  #crashes = 0;
  /** The last write that came before the crash, until it has been heard again. */
  #behind: number | undefined;
  #heardAgain = false;
  #hurry: NodeJS.Timeout | undefined;

  constructor(
    readonly key: number,
    { id = `stream-${key + 1}`, ...rest }: LiveOptions,
    listeners: StreamListeners,
  ) {
    this.id = id;
    this.#options = sendable({ ...rest, id }) as LiveOptions;
    this.#listeners = listeners;
  }

  /** A process that goes on from another begins with less. */
  get writtenMs(): number {
    return this.#writtenMs;
  }

  get lagMs(): number {
    const { lagMs, taken } = this.#state;
    // What the process tells of it comes some time after the events.
    const isBehind = taken < this.#number - 1 || this.#lacksText;
    return isBehind ? Math.max(lagMs, 1) : lagMs;
  }

  /** Nobody speaks any more, and what was said has no text yet. */
  get #lacksText(): boolean {
    return this.#speech.kind === 'speech-end' && this.#isOpen;
  }

  /** An utterance has begun that has no text yet. */
  get #isOpen(): boolean {
    return !this.#over && [...this.#kept.values()].some(({ spokenMs }) => spokenMs !== undefined);
  }

  /** From here on audio has to be written again, to somebody else. */
  get resumeFromMs(): number {
    return Math.min(...[...this.#kept.values()].map(({ fromMs }) => fromMs));
  }

  get isAttached(): boolean {
    return this.#child !== undefined;
  }

  get isSuspect(): boolean {
    return this.#crashes >= SUSPICIOUS;
  }

  get isCatchingUp(): boolean {
    return this.#behind !== undefined;
  }

  writePackets(bytes: Uint8Array, lengths: Int32Array): boolean {
    return this.#write({ bytes, lengths }, bytes.length + 4 * lengths.length, lengths.length);
  }

  writeFloats(samples: Float32Array): boolean {
    return this.#write(samples, samples.byteLength, samples.length);
  }

  idle(): void {
    this.#note({ kind: 'idle' });
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#note({ kind: 'end' });
  }

  /** Nobody wants to hear more. */
  close(): void {
    this.#child?.send({ type: 'abandon', key: this.key });
    this.#finish();
  }

  /** It cannot go on. */
  fail(failure: Failure): void {
    if (this.#over) return;
    this.#finish();
    this.#listeners.onEvent({ kind: 'end', failure });
  }

  #write(run: Run, bytes: number, count: number): boolean {
    const number = this.#number;
    this.#number += 1;
    this.#keptBytes += bytes;
    this.#untakenBytes += bytes;
    this.#note({ kind: 'write', number, run, bytes, count });
    if (this.#keptBytes > MAX_KEPT_BYTES) this.#forget();
    this.#waits = !this.#hasRoom;
    return !this.#waits;
  }

  get #hasRoom(): boolean {
    const { hasRoom, taken } = this.#state;
    const isFull = this.#untakenBytes > MAX_UNTAKEN_BYTES;
    return hasRoom && !isFull && this.#number - taken <= MAX_UNTAKEN;
  }

  /** The number of the first write that is kept. */
  get #first(): number {
    const first = this.#entries.find((entry) => entry.kind === 'write');
    return first?.kind === 'write' ? first.number : this.#number;
  }

  /** More was written than could be kept, or it is not known where it lies. */
  get #lacksAudio(): boolean {
    return this.#isTorn || this.#begin.writtenMs > this.resumeFromMs + 1;
  }

  #note(entry: Entry): void {
    if (this.#over) return;
    this.#entries.push(entry);
    this.#send(entry);
  }

  #send(entry: Entry): void {
    const { key } = this;
    if (entry.kind !== 'write') this.#child?.send({ type: entry.kind, key });
    else this.#child?.send({ type: 'write', key, number: entry.number, run: entry.run });
  }

  /** Begins in a process, or goes on there. What it is told by another counts no more. */
  attach(child: Child): void {
    if (this.#lacksAudio) {
      const { resumeFromMs } = this;
      const message =
        'too much was written while the worker process was replaced; write less at once';
      this.fail({ code: 'ERR_WORKER_CRASHED', message, resumeFromMs } as Failure);
      return;
    }
    this.#child = child;
    for (const later of this.#kept.keys()) {
      if (later > this.#utterance) this.#kept.delete(later);
    }
    // The speech that the last process told of later is told again.
    this.#spokenMs = this.#kept.get(this.#utterance)?.spokenMs ?? 0;
    const { key } = this;
    const taken = this.#first - 1;
    child.send({ type: 'stream', key, options: this.#options, resume: this.#resume(), taken });
    for (const entry of this.#entries) this.#send(entry);
    clearTimeout(this.#hurry);
    if (this.isCatchingUp) {
      this.#hurry = setTimeout(() => this.#caughtUp(1), MAX_CATCHING_UP_MS).unref();
    }
  }

  /** Leaves a process that is to be replaced, or is no more. */
  detach(): void {
    this.#child?.send({ type: 'abandon', key: this.key });
    this.#child = undefined;
    clearTimeout(this.#hurry);
    // What it was told by the process that is gone says nothing of the next.
    this.#state = { ...this.#state, taken: this.#first - 1, hasRoom: true };
    this.#untakenBytes = this.#keptBytes;
    this.#behind = this.#number - 1;
    this.#heardAgain = false;
    this.#isRepeating = true;
  }

  /** The process crashed. Whether the stream cannot go on: it is to blame, or lacks audio. */
  crashed(alone: boolean): boolean {
    this.#crashes += 1;
    if (alone && this.#crashes > SUSPICIOUS) return true;
    return this.#crashes >= MAX_CRASHES || this.#lacksAudio;
  }

  #resume(): StreamResume {
    const from = this.#kept.get(this.#utterance) ?? { fromMs: this.resumeFromMs };
    const last = Math.max(this.#utterance, ...this.#committed.keys());
    const committed: string[] = [];
    for (let utterance = this.#utterance; utterance <= last; utterance += 1) {
      committed.push(this.#committed.get(utterance) ?? '');
    }
    return {
      ...this.#begin,
      fromMs: from.fromMs,
      utterance: this.#utterance,
      committed,
      ...(from.spokenMs !== undefined && { spokenMs: from.spokenMs }),
      ...(this.#previous !== undefined && { previous: this.#previous }),
    };
  }

  /** Its process has told how far it is. */
  hearState(state: StreamState, child: Child): void {
    if (child !== this.#child) return;
    this.#state = state;
    this.#writtenMs = Math.max(this.#writtenMs, state.writtenMs);
    const entry = this.#entries.find(
      (entry) => entry.kind === 'write' && entry.number === state.taken,
    );
    if (entry?.kind === 'write') entry.endMs = state.writtenMs;
    this.#untakenBytes = this.#entries.reduce(
      (sum, each) => (each.kind === 'write' && each.number > state.taken ? sum + each.bytes : sum),
      0,
    );
    this.#forget();
    if (this.#waits && this.#hasRoom) {
      this.#waits = false;
      this.#listeners.onEvent({ kind: 'ready' });
    }
    this.#checkCaughtUp();
  }

  hear(event: LiveEvent, child: Child): void {
    if (child !== this.#child) return;
    const { kind, utterance = 0, atMs = 0 } = event;
    switch (kind) {
      case 'kept':
        if (utterance < this.#utterance) return;
        this.#kept.set(utterance, {
          fromMs: atMs,
          ...(event.isOpen && { spokenMs: this.#spokenIn(utterance, atMs) }),
        });
        this.#forget();
        return;
      case 'ready':
        this.#state = { ...this.#state, hasRoom: true };
        if (!this.#waits || !this.#hasRoom) return;
        this.#waits = false;
        break;
      case 'speech-start':
      case 'speech-end':
        if (kind === 'speech-start') this.#spokenMs = atMs;
        // What was told before a crash is not told again.
        this.#isRepeating &&= kind === this.#speech.kind || atMs < this.#speech.atMs + SAME_MS;
        if (this.#isRepeating) return;
        this.#speech = { kind, atMs };
        break;
      case 'interim':
        if (utterance < this.#utterance) return;
        this.#committed.set(utterance, event.committed ?? '');
        this.#heardAgain = true;
        break;
      case 'final':
        if (utterance < this.#utterance) return;
        this.#settle(utterance, event);
        break;
      case 'end':
        this.#finish();
    }
    this.#listeners.onEvent(event);
    this.#checkCaughtUp();
  }

  /** It begins with the speech that was told last, or where the one before was cut. */
  #spokenIn(utterance: number, fromMs: number): number {
    // One that goes on has begun with speech that may not be the last any more.
    return this.#kept.get(utterance)?.spokenMs ?? Math.max(this.#spokenMs, fromMs);
  }

  #settle(utterance: number, { transcript }: LiveEvent): void {
    const kept = this.#kept.get(utterance);
    this.#kept.delete(utterance);
    this.#committed.delete(utterance);
    this.#utterance = utterance + 1;
    if (!this.#kept.has(this.#utterance)) {
      const fromMs = (kept?.fromMs ?? 0) + (transcript?.durationMs ?? 0);
      this.#kept.set(this.#utterance, { fromMs });
    }
    if (transcript?.text) this.#previous = transcript.text;
    this.#crashes = 0;
    this.#heardAgain = true;
    this.#forget();
    this.#listeners.onFinal(this);
  }

  /** Lets go of what no text to come needs, and of what is too much. */
  #forget(): void {
    const needed = this.resumeFromMs - CONTEXT_MS;
    let last = -1;
    this.#entries.forEach((entry, index) => {
      if (entry.kind === 'write' && entry.endMs !== undefined && entry.endMs <= needed) {
        last = index;
      }
    });
    if (last >= 0) this.#drop(last + 1);
    while (this.#keptBytes > MAX_KEPT_BYTES) {
      const [oldest] = this.#entries;
      if (oldest?.kind === 'write' && oldest.number > this.#state.taken) return;
      this.#isTorn ||= oldest?.kind === 'write' && oldest.endMs === undefined;
      this.#drop(1);
    }
  }

  #drop(count: number): void {
    for (const entry of this.#entries.splice(0, count)) {
      if (entry.kind !== 'write') continue;
      this.#keptBytes -= entry.bytes;
      this.#begin.received += entry.count;
      if (entry.endMs !== undefined) this.#begin.writtenMs = entry.endMs;
    }
  }

  #checkCaughtUp(): void {
    if (this.#behind === undefined || this.#over) return;
    const { taken, lagMs } = this.#state;
    const heard = this.#child !== undefined && taken >= this.#behind && lagMs < CAUGHT_UP_MS;
    const isOpen =
      this.#options.interim !== false && this.#kept.get(this.#utterance)?.spokenMs !== undefined;
    if (heard && (!isOpen || this.#heardAgain)) this.#caughtUp(0);
  }

  /** A suspect that was alone has shown that the crashes were not its own. */
  #caughtUp(crashes: number): void {
    clearTimeout(this.#hurry);
    if (this.isSuspect) this.#crashes = crashes;
    this.#behind = undefined;
    if (!this.#over) this.#listeners.onCaughtUp(this);
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#child = undefined;
    this.#behind = undefined;
    clearTimeout(this.#hurry);
    this.#entries = [];
    this.#keptBytes = 0;
    this.#untakenBytes = 0;
    this.#state = { ...this.#state, lagMs: 0, taken: this.#number - 1 };
    this.#listeners.onOver(this);
  }

  describe(rejected: boolean): CrashedJob {
    const { initialPrompt, id: _, ...options } = this.#options;
    return {
      id: this.id,
      kind: 'stream',
      bytes: this.#keptBytes,
      options: { ...options, ...(initialPrompt && { initialPromptLength: initialPrompt.length }) },
      crashes: this.#crashes,
      rejected,
    };
  }
}
