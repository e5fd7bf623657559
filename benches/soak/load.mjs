// The load: streams of calls, bursts beyond the queue, and transcribers that come and go.

import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import v8 from 'node:v8';
import vm from 'node:vm';
import { patient } from '../patience.mjs';
import { Host } from './host.mjs';
import { Job } from './job.mjs';

const STREAMS = 10;
const THINK_MS = [5, 2000];
const BURST_PAUSE_S = [10, 40];
const CHURN_PAUSE_S = [3, 20];
const MAX_QUEUES = [4, 16, 64, 64];
/** A run of this length has the pauses above; a shorter one shorter ones, to see all there is. */
const FULL_PACE_MINUTES = 5;
/** How long promises may take to settle when everything is closed. */
const SETTLE_MS = patient(120_000);
/** And the threads of engines behind them. */
const THREADS_END_MS = patient(5000);

// An abandoned transcriber holds 100 MB of which V8 knows nothing, so it would not hurry.
v8.setFlagsFromString('--expose-gc');
const collect = vm.runInNewContext('gc');

export class Load {
  /** Transcribers that hold memory: from before they are open until they are closed. */
  alive = 0;
  longestCollectMs = 0;
  /** The latest way of opening and closing. */
  doing = 'nothing';
  #open = [];
  /** Closed or closing, and called now and then nevertheless. */
  #gone;
  #over = false;

  constructor({ cases, random, tally, open, minutes }) {
    Object.assign(this, { cases, random, tally, minutes });
    this.openTranscriber = open;
    this.pace = Math.max(0.1, Math.min(1, minutes / FULL_PACE_MINUTES));
    this.registry = new FinalizationRegistry(() => {
      this.tally.collected += 1;
    });
  }

  /** Runs for its minutes, closes everything, and waits for what has not settled. */
  async run() {
    await this.#openHost();
    this.end = performance.now() + this.minutes * 60_000;
    for (let stream = 0; stream < STREAMS; stream += 1) this.#go(this.#stream(this.random.fork()));
    this.#go(this.#bursts(this.random.fork()));
    const churn = this.#churn(this.random.fork());
    while (this.#goesOn) await sleep(Math.min(100, Math.max(1, this.end - performance.now())));
    this.#over = true;
    const deadline = performance.now() + SETTLE_MS;
    await until(deadline, churn);
    const closes = this.#open.map((host, index) => this.#close(host, index % 2 ? 'drain' : 'now'));
    await until(deadline, Promise.allSettled(closes));
    while (this.tally.pending.length > 0 && performance.now() < deadline) await sleep(20);
    await this.#seeThreadsEnd();
    this.#collect();
  }

  /** Whatever the counters say: an engine that lives has threads. */
  async #seeThreadsEnd() {
    const deadline = performance.now() + THREADS_END_MS;
    while (enginesByThreads() > 0 && performance.now() < deadline) await sleep(20);
    const left = enginesByThreads();
    if (left > 0) this.tally.blame('after the end', `threads of ${left} engines are left`);
  }

  stop() {
    this.#over = true;
  }

  get #goesOn() {
    return !this.#over && performance.now() < this.end;
  }

  /** What fails here is a fault of opuscribe or of the soak, and not to be overlooked. */
  #go(task) {
    task.catch((error) => this.tally.blame('the load', error.stack));
  }

  /** Calls one after the other, and now and then one more without waiting. */
  async #stream(random) {
    while (this.#goesOn) {
      await sleep(random.logBetween(...THINK_MS));
      const test = random.pick(this.cases);
      const answered = this.#persist(test, random, 'stream');
      if (random.chance(0.75)) await answered;
      else this.#go(answered);
    }
  }

  /** Refused calls wait for as long as they are told to and are made again. */
  async #persist(test, random, disturbances) {
    while (this.#goesOn) {
      const host = await this.#host(random);
      if (host === undefined) return;
      const error = await host.submit(test, new Job(test, random, disturbances));
      if (error?.code !== 'ERR_QUEUE_FULL' || random.chance(0.3)) return;
      // Longer, or all of a burst would come again at once.
      await sleep(error.retryAfterMs * random.logBetween(1, 20));
    }
  }

  async #bursts(random) {
    while (this.#goesOn) {
      await this.#pause(random, BURST_PAUSE_S);
      const places = this.#open[0]?.maxQueue ?? 0;
      const count = Math.round(places * random.between(0.5, 1.5));
      for (let call = 0; call < count && this.#goesOn; call += 1) {
        this.#go(this.#persist(random.pick(this.cases), random, 'burst'));
        // Building a job is the soak's own work, which is not to hold the loop up.
        await turn();
      }
    }
  }

  async #host(random) {
    if (this.#gone !== undefined && random.chance(0.02)) return this.#gone;
    while (this.#open.length === 0 && this.#goesOn) await sleep(10);
    return this.#open.length > 0 ? random.pick(this.#open) : undefined;
  }

  /** All ways to open and close, in ever new order. */
  async #churn(random) {
    const ways = {
      restart: () => this.#replace('now', random),
      drain: () => this.#replace('drain', random),
      hurry: () => this.#replace(random.between(0, 2000), random),
      second: () => this.#second(random),
      abandon: () => this.#abandon(random),
    };
    for (let deck = []; this.#goesOn; ) {
      if (deck.length === 0) deck = random.shuffled(Object.keys(ways));
      await this.#pause(random, CHURN_PAUSE_S);
      if (!this.#goesOn) return;
      this.doing = deck.pop();
      try {
        await ways[this.doing]();
      } catch (error) {
        this.tally.blame('opening and closing', error.stack);
      }
      this.doing = 'nothing';
    }
  }

  /** Another one in its place, before or after. */
  async #replace(how, random) {
    const [old] = this.#open;
    if (random.chance(0.5)) {
      const opening = this.#openHost();
      await this.#close(old, how);
      await opening;
    } else {
      await this.#close(old, how);
      await this.#openHost();
    }
  }

  async #second(random) {
    const host = await this.#openHost();
    await this.#pause(random, CHURN_PAUSE_S);
    await this.#close(host, random.pick(['now', 'drain']));
  }

  /** Left to the garbage collector, with jobs that run or when they are done. */
  async #abandon(random) {
    const collected = this.tally.collected + 1;
    const early = random.chance(0.5);
    const { answered } = await this.#useAndForget(random);
    if (!early) await answered;
    // Jobs that run hold their transcriber, so before they are done nothing may be collected.
    if (early) this.#collect();
    await answered;
    // A collection that was under way may leave its native half to the next. That is then closed by
    // a thread of its own. Nothing else opens or closes meanwhile.
    const isLeft = () => this.tally.collected < collected || enginesByThreads() >= this.alive;
    for (let tries = 0; tries < 100 && isLeft(); tries += 1) {
      this.#collect();
      await sleep(50);
    }
    if (isLeft()) this.tally.blame('abandoned', 'it was not collected');
    this.alive -= 1;
  }

  /** Keeps nothing but the promise, which is wrapped so that nobody waits for it yet. */
  async #useAndForget(random) {
    const host = await this.#openHost({ listed: false });
    const jobs = Array.from({ length: random.integer(0, 4) }, () => {
      const test = random.pick(this.cases);
      return host.submit(test, new Job(test, random, 'stream'));
    });
    host.abandon();
    return { answered: Promise.all(jobs) };
  }

  #collect() {
    const started = performance.now();
    collect();
    this.longestCollectMs = Math.max(this.longestCollectMs, performance.now() - started);
  }

  async #openHost({ listed = true } = {}) {
    this.alive += 1;
    const maxQueue = this.random.pick(MAX_QUEUES);
    const opening = this.openTranscriber({ maxQueue });
    const transcriber = await this.tally.watch('opening a transcriber', opening);
    this.tally.opened += 1;
    const host = new Host(transcriber, maxQueue, this.tally);
    if (listed) this.#open.push(host);
    else this.registry.register(transcriber);
    return host;
  }

  async #close(host, how) {
    this.#open = this.#open.filter((other) => other !== host);
    this.#gone = host;
    await host.close(how);
    this.alive -= 1;
  }

  /** Not beyond the end. */
  async #pause(random, seconds) {
    const ms = 1000 * this.pace * random.between(...seconds);
    const until = Math.min(this.end, performance.now() + ms);
    while (!this.#over && performance.now() < until) {
      await sleep(Math.min(200, until - performance.now()));
    }
  }
}

/**
 * How many engines live, by the one thread of each that nothing else is named after: ggml's threads
 * have the name of the one that started them. Elsewhere than on Linux nobody tells.
 */
function enginesByThreads() {
  if (process.platform !== 'linux') return 0;
  const names = readdirSync('/proc/self/task').map(threadName);
  return names.filter((name) => name === 'opuscribe-vad').length;
}

function threadName(id) {
  try {
    return readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim();
  } catch {
    // It has just ended.
    return '';
  }
}

async function until(deadline, promise) {
  const waiting = new AbortController();
  const { signal } = waiting;
  const ms = Math.max(0, deadline - performance.now());
  await Promise.race([promise, sleep(ms, undefined, { signal }).catch(() => {})]);
  waiting.abort();
}
