// Transcribers that live for a moment, and whose worker is killed as they open or close.

import { setTimeout as sleep } from 'node:timers/promises';
import { Host } from './host.mjs';
import { Job } from './job.mjs';
import { childrenOf, comesTrue, living, signal } from './processes.mjs';

const PAUSE_MS = [1000, 15_000];
const MAX_JOBS = 5;
const MAX_QUEUE = 8;
const SERVE_MS = [0, 1500];
const START_MS = [0, 600];
const LATER_MS = [0, 150];
/** A process that does not free its models in ten seconds is killed. */
const GONE_MS = 15_000;
const WAYS = ['before', 'at once', 'later', 'stopped', 'opening'];
const ON_WINDOWS = ['before', 'at once', 'later'];

export class Closing {
  /** How often each was done. */
  counts = new Map();
  crashes = 0;
  #random;
  #cases;
  #shared;
  #engine;
  #goesOn;
  #number = 0;

  constructor({ random, cases, ledger, folder, engine, goesOn }) {
    this.#random = random;
    this.#cases = cases.filter(({ isLong }) => !isLong);
    this.#shared = { ledger, folder };
    this.#engine = engine;
    this.#goesOn = goesOn;
  }

  async run() {
    const ways = process.platform === 'win32' ? ON_WINDOWS : WAYS;
    for (let deck = []; this.#goesOn(); ) {
      if (deck.length === 0) deck = this.#random.shuffled(ways);
      const until = performance.now() + this.#random.logBetween(...PAUSE_MS);
      while (this.#goesOn() && performance.now() < until) await sleep(50);
      if (!this.#goesOn()) return;
      const way = deck.pop();
      try {
        await this.#one(way, this.#random.fork());
      } catch (error) {
        const thing = `a transcriber that lives for a moment, ${way}`;
        this.#shared.ledger.blame('other', thing, error.stack);
      }
    }
  }

  async #one(way, random) {
    const { ledger } = this.#shared;
    this.#number += 1;
    const name = `transcriber ${this.#number} that lives for a moment`;
    const host = new Host(name, { workers: 1, maxQueue: MAX_QUEUE, ...this.#shared });
    const before = new Set(childrenOf(process.pid));
    const opening = host.open(this.#engine);
    // Before it is open nobody tells its worker's number, but it has been started.
    const [started] = childrenOf(process.pid).filter((pid) => !before.has(pid));
    if (way === 'opening' && started !== undefined) {
      await sleep(random.between(...START_MS));
      host.provoke(started, 'it opens', 'SIGKILL');
      if (signal(started, 'SIGKILL')) this.#count('a transcriber opens');
    }
    await opening;
    const jobs = Array.from({ length: random.integer(0, MAX_JOBS) }, () =>
      host.submit(new Job(random.pick(this.#cases), random)),
    );
    await sleep(random.between(...SERVE_MS));
    const pids = [started, ...host.slots.map(({ pid }) => pid)].filter((pid) => pid !== undefined);
    await this.#close(host, way, random);
    await Promise.all(jobs);
    if (!(await comesTrue(() => living(pids).length === 0, GONE_MS))) {
      ledger.blame('orphan', host, `it is closed, and ${living(pids)} lives`);
    }
    await host.reported();
    host.audit();
    this.crashes += host.crashCount;
  }

  async #close(host, way, random) {
    const strike = (name) => {
      const [slot] = host.slots;
      const kind = `a transcriber closes: ${name} ${way}`;
      if (slot.pid !== undefined && host.strike(slot, kind, name)) this.#count(kind);
    };
    if (way === 'before') strike('SIGKILL');
    if (way === 'stopped') strike('SIGSTOP');
    const closed = host.close(random.pick(['now', 'drain']));
    if (way === 'at once') strike('SIGKILL');
    if (way === 'later') {
      await sleep(random.between(...LATER_MS));
      strike(random.pick(['SIGKILL', 'SIGSEGV', 'SIGABRT']));
    }
    await closed;
  }

  #count(kind) {
    const name = kind.replace(/: \w+ /, ', killed ').replace('killed stopped', 'stopped before');
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }
}
