// The live streams: one after the other on each transcriber. A crash may interrupt them, and what
// they tell in all is what they tell where nothing does.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FIXTURES, floats, packets, repeated } from './cases.mjs';
import { Talk } from './talk.mjs';
import { wordErrorRate } from './words.mjs';

/** Times as fast as it was said. */
const SPEED = [2, 5];
/** When the time is over, the rest is written as fast as it is taken. */
const HURRIED = 1000;
const PACKET_MS = 20;
const CHUNK_MS = 100;
const CHUNK_SAMPLES = 1600;
/** Whether with interim texts, and how fast, it is heard undisturbed. */
const ALONE = [
  [false, HURRIED],
  [true, HURRIED],
  [true, 8],
];
/** By so much an interrupted stream may have more words wrong than an undisturbed one. */
const TOLERANCE_POINTS = 5;

/** What is said, with what is heard of it where nothing disturbs it. */
export async function makeSpeeches(transcriber, isShort) {
  const transcripts = new Map(
    JSON.parse(readFileSync(join(FIXTURES, 'manifest.json'), 'utf8')).map(
      ({ name, transcript }) => [name, transcript],
    ),
  );
  const joined = (...names) => ({
    name: names.join(', '),
    said: names.map((name) => transcripts.get(name)).join(' '),
    chunks: names.flatMap(packets),
    chunkMs: PACKET_MS,
  });
  const jfk = transcripts.get('jfk');
  const speeches = [
    joined('jfk', 'lj050', 'libri_stew', 'libri_waiting'),
    joined('libri_moses'),
    {
      name: 'jfk, three times, as samples',
      said: [jfk, jfk, jfk].join(' '),
      chunks: pieces(repeated(floats('jfk'))),
      chunkMs: CHUNK_MS,
    },
    joined('libri_stew', 'wind', 'jfk'),
  ];
  const some = isShort ? speeches.slice(-1) : speeches;
  await Promise.all(some.map((speech) => hearAlone(speech, transcriber)));
  return some;
}

/**
 * Interim texts come when they can, and what they commit stays: so there is more than one text, and
 * the worst of them is what an interrupted stream is compared with.
 */
async function hearAlone(speech, transcriber) {
  const { said } = speech;
  const rates = [];
  for (const [interim, speed] of ALONE) {
    const blame = (kind, what) => {
      throw new Error(`${speech.name}, undisturbed: ${kind}, ${what}`);
    };
    const talk = new Talk(transcriber, { ...speech, options: { interim }, blame });
    await talk.run(() => speed);
    if (talk.error) throw talk.error;
    const heard = talk.texts.join(' ');
    rates.push(wordErrorRate(said, heard));
    if (!interim) speech.exact = heard;
  }
  speech.rate = Math.max(...rates);
}

function pieces(samples) {
  const count = Math.ceil(samples.length / CHUNK_SAMPLES);
  return Array.from({ length: count }, (_, index) =>
    samples.subarray(index * CHUNK_SAMPLES, (index + 1) * CHUNK_SAMPLES),
  );
}

export class Streams {
  /** Word error rates less those of the undisturbed stream, in points of a percent. */
  points = { interrupted: [], undisturbed: [] };
  interruptions = 0;
  #speeches;
  #random;
  #ledger;
  #goesOn;
  #nextId = 0;

  constructor({ speeches, random, ledger, goesOn }) {
    this.#speeches = speeches;
    this.#random = random;
    this.#ledger = ledger;
    this.#goesOn = goesOn;
  }

  /** Until it is over, and the last stream of each has been heard out. */
  async run(hosts) {
    await Promise.all(hosts.map((host) => this.#talk(host, this.#random.fork())));
  }

  async #talk(host, random) {
    while (this.#goesOn()) {
      const speech = random.pick(this.#speeches);
      const interim = random.chance(0.6);
      const speed = random.between(...SPEED);
      try {
        await this.#one(host, speech, interim, () => (this.#goesOn() ? speed : HURRIED));
      } catch (error) {
        this.#ledger.blame('other', 'the streams', error.stack);
      }
    }
  }

  /** One that crashes end is gone on with in another, from where it says. */
  async #one(host, speech, interim, speed) {
    const texts = [];
    // Nobody tells whose streams had to go on elsewhere when a process was replaced on purpose.
    let interruptions = -host.recycles;
    let thing;
    for (let chunks = speech.chunks; chunks !== undefined; ) {
      const id = `chaos-stream-${this.#nextId++}`;
      thing = `${id} of ${host}, ${speech.name}, interim ${interim}`;
      const blame = (kind, what) => this.#ledger.blame(kind, thing, what);
      const startedAt = performance.now();
      const end = this.#ledger.start({ toString: () => thing });
      const { chunkMs } = speech;
      const talk = new Talk(host.transcriber, { chunks, chunkMs, options: { id, interim }, blame });
      await talk.run(speed);
      texts.push(...talk.texts);
      interruptions += host.interruptions(id);
      end(outcomeOf(talk.error, host.interruptions(id)));
      if (talk.error === undefined) break;
      chunks = this.#rest(host, id, { ...speech, chunks }, talk.error, startedAt, blame);
      if (chunks === undefined) return;
    }
    interruptions += host.recycles;
    this.interruptions += interruptions;
    this.#compare(thing, texts, speech, interim, interruptions);
  }

  /** What is to be written again, if it may end so. */
  #rest(host, id, { chunks, chunkMs }, error, startedAt, blame) {
    if (error.code === 'ERR_WORKER_CRASHED') {
      host.named(id, error);
      return chunks.slice(Math.floor(error.resumeFromMs / chunkMs));
    }
    const ofMemory = ['ERR_OUT_OF_MEMORY', 'ERR_WORKER_FAILED'].includes(error.code);
    if (!(ofMemory && host.lackedMemory(startedAt))) blame('error', error.stack);
    return undefined;
  }

  /** Exact is what has neither interim texts nor interruptions. */
  #compare(thing, texts, { said, exact, rate }, interim, interruptions) {
    const heard = texts.join(' ');
    const points = wordErrorRate(said, heard) - rate;
    this.points[interruptions > 0 ? 'interrupted' : 'undisturbed'].push(points);
    const isAsAlone = interruptions > 0 || interim || heard === exact;
    if (isAsAlone && points <= TOLERANCE_POINTS) return;
    const what = `${points.toFixed(1)} points more words are wrong after ${interruptions} interruptions`;
    this.#ledger.blame('wrong', thing, `${what}:\n    ${heard}\n    ${exact}`);
  }
}

function outcomeOf(error, interruptions) {
  if (error?.code === 'ERR_WORKER_CRASHED')
    return 'stream ended by crashes, gone on with in another';
  if (error) return `stream: ${error.code ?? error}`;
  return interruptions > 0 ? 'stream, interrupted' : 'stream, not interrupted';
}
