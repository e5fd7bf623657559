// One live stream: fed faster than anybody speaks, and every event looked at.

import { crashIsNamed } from './job.mjs';

const TICK_MS = 50;
/** A word's time is known to the next half second or so. */
const SLACK_MS = 1000;

export class Talk {
  texts = [];
  /** Set when it is over. */
  error;
  #stream;
  #blame;
  #chunks;
  #chunkMs;
  #isOver = false;
  #written = 0;
  #next = 0;
  #committed = new Map();
  #speech = { type: 'speech-end', atMs: Number.NEGATIVE_INFINITY };
  #saidMs = Number.NEGATIVE_INFINITY;

  /** `blame` is called with what is wrong. */
  constructor(transcriber, { chunks, chunkMs, options, blame }) {
    this.#chunks = chunks;
    this.#chunkMs = chunkMs;
    this.#blame = blame;
    this.#stream = transcriber.createStream(options);
    this.#stream.on('data', (event) => this.#hear(event));
  }

  /** Resolves when it is closed. `speed` is called for how many times as fast as it was said. */
  async run(speed) {
    const closed = new Promise((resolve) => {
      this.#stream.on('error', (error) => {
        if (this.error) this.#blame('twice', `failed again: ${error}`);
        this.error = error;
      });
      this.#stream.on('close', () => {
        if (this.#isOver) this.#blame('twice', 'closed again');
        this.#isOver = true;
        resolve();
      });
    });
    await Promise.race([this.#speak(speed), closed]);
    await closed;
    this.#checkEnd();
  }

  async #speak(speed) {
    let due = 0;
    for (let last = performance.now(); due < this.#chunks.length; ) {
      const now = performance.now();
      due += ((now - last) * speed()) / this.#chunkMs;
      last = now;
      await this.#write(Math.min(due, this.#chunks.length));
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    }
    this.#stream.end();
  }

  /** Waits where the stream asks for it. */
  async #write(until) {
    for (; this.#written < until && !this.#isOver; this.#written += 1) {
      if (this.#stream.write(this.#chunks[this.#written])) continue;
      await this.#room();
    }
  }

  #room() {
    return new Promise((resolve) => {
      const done = () => {
        this.#stream.off('drain', done).off('close', done);
        resolve();
      };
      this.#stream.on('drain', done).on('close', done);
    });
  }

  #hear(event) {
    if (this.#isOver) this.#blame('twice', `told ${event.type} after its end`);
    switch (event.type) {
      case 'speech-start':
      case 'speech-end':
        if (event.type === this.#speech.type || event.atMs < this.#speech.atMs) {
          this.#blame('wrong', `${said(event)} after ${said(this.#speech)}`);
        }
        this.#speech = event;
        return;
      case 'interim':
        this.#hearText(event, event.committed);
        return;
      case 'final':
        this.#hearFinal(event);
        return;
      default:
        this.#blame('wrong', `an event of type ${event.type}`);
    }
  }

  #hearText({ type, utterance }, text) {
    if (utterance < this.#next) {
      this.#blame('wrong', `${type} of utterance ${utterance}, and ${this.#next} is next`);
    }
    const before = this.#committed.get(utterance) ?? '';
    if (!text.startsWith(before)) {
      const what = `${JSON.stringify(before)} became ${JSON.stringify(text)}`;
      this.#blame('wrong', `utterance ${utterance}, ${type}: ${what}`);
    }
    this.#committed.set(utterance, text);
  }

  #hearFinal(event) {
    const { utterance, transcript } = event;
    this.#hearText(event, transcript.text);
    if (utterance !== this.#next) {
      this.#blame('wrong', `final of utterance ${utterance}, and ${this.#next} is next`);
    }
    this.#next = utterance + 1;
    this.#committed.delete(utterance);
    this.texts.push(transcript.text);
    const lengthMs = this.#chunks.length * this.#chunkMs;
    for (const { startMs, endMs } of transcript.segments) {
      if (startMs < this.#saidMs - SLACK_MS || endMs > lengthMs + SLACK_MS || endMs < startMs) {
        const times = `${startMs.toFixed()}-${endMs.toFixed()}`;
        this.#blame(
          'wrong',
          `a segment at ${times} ms, behind one at ${this.#saidMs.toFixed()} ms`,
        );
      }
      this.#saidMs = Math.max(this.#saidMs, startMs);
    }
  }

  #checkEnd() {
    if (this.error) {
      const { code, resumeFromMs } = this.error;
      if (code === 'ERR_WORKER_CRASHED' && !(crashIsNamed(this.error) && resumeFromMs >= 0)) {
        this.#blame('error', `no crash is named: ${JSON.stringify(this.error)}`);
      }
      return;
    }
    if (this.#speech.type !== 'speech-end') this.#blame('wrong', 'ended in the middle of speech');
    if (this.#written < this.#chunks.length) this.#blame('wrong', 'ended before it was written');
    if (this.#committed.size > 0) {
      this.#blame('wrong', `no final text of utterance ${[...this.#committed.keys()]}`);
    }
  }
}

function said({ type, atMs }) {
  return `${type} at ${atMs} ms`;
}
