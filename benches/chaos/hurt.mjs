// What is done to the workers, at random moments.

import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { works } from '../../scripts/tools.mjs';
import { patient } from '../patience.mjs';
import { STARVED } from './host.mjs';
import { addressSpace, comesTrue, signal } from './processes.mjs';

/** From one to the next, in the mean. */
const PAUSE_MS = { mean: 4000, least: 50, most: 12_000 };
/** How long is waited for the moment that a way needs. */
const MOMENT_MS = 15_000;
/** Address space that is left: none of it, or enough for some allocations. */
const SPARE_BYTES = [2 ** 20, 2 ** 26];
/** A worker that has not come to its limit by then has all it needs. */
const SHORTAGE_MS = 10_000;
const SHORT_PAUSE_MS = 1000;
const PATIENCE_MS = patient(60_000);

/** Dealt in turn, shuffled, so that a short run sees every one. */
const DECK = {
  SIGKILL: 4,
  SIGSEGV: 2,
  SIGABRT: 2,
  SIGSTOP: 2,
  [STARVED]: 2,
  'as it starts': 2,
  'twice in 50 ms': 2,
  'as a result comes': 3,
  'as a segment comes': 3,
  'every worker': 1,
  'paused for 1 s': 1,
};
/** Elsewhere a process can only be ended. */
const ON_WINDOWS = [
  'SIGKILL',
  'as it starts',
  'twice in 50 ms',
  'as a result comes',
  'as a segment comes',
];

export class Hurter {
  /** How often each was done. */
  counts = new Map();
  skipped = [];
  survivedShortages = 0;
  #random;
  #hosts;
  #goesOn;
  #busy = new Set();
  #under = new Set();
  #deck = [];

  constructor({ random, hosts, goesOn }) {
    this.#random = random;
    this.#hosts = hosts;
    this.#goesOn = goesOn;
    const missing = (kind) => {
      if (process.platform === 'win32' && !ON_WINDOWS.includes(kind))
        return 'Windows has no signals';
      if (kind !== STARVED) return undefined;
      const has = process.platform === 'linux' && works('prlimit');
      return has ? undefined : 'there is no prlimit';
    };
    this.kinds = Object.keys(DECK).filter((kind) => {
      const why = missing(kind);
      if (why) this.skipped.push(`${kind}: ${why}`);
      return why === undefined;
    });
  }

  async run() {
    while (this.#goesOn()) {
      await this.#pause();
      if (!this.#goesOn()) break;
      const slot = this.#choose();
      if (slot) this.#start(slot);
    }
    await Promise.all(this.#under);
  }

  async #pause() {
    const { mean, least, most } = PAUSE_MS;
    const ms = -mean * Math.log(1 - this.#random.next());
    const until = performance.now() + Math.min(most, Math.max(least, ms));
    while (this.#goesOn() && performance.now() < until) {
      await sleep(Math.min(100, Math.max(0, until - performance.now())));
    }
  }

  /** A worker that serves and to which nothing is being done. */
  #choose() {
    const slots = this.#hosts.flatMap(({ slots }) => slots);
    const free = slots.filter((slot) => slot.state === 'serving' && !this.#busy.has(place(slot)));
    return free.length > 0 ? this.#random.pick(free) : undefined;
  }

  #start(slot) {
    if (this.#deck.length === 0) {
      const cards = this.kinds.flatMap((kind) => Array(DECK[kind]).fill(kind));
      this.#deck = this.#random.shuffled(cards);
    }
    const kind = this.#deck.pop();
    this.#busy.add(place(slot));
    const doing = this.#do(kind, slot, this.#random.fork()).finally(() => {
      this.#busy.delete(place(slot));
      this.#under.delete(doing);
    });
    this.#under.add(doing);
  }

  #count(kind) {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
  }

  async #do(kind, slot, random) {
    const { host } = slot;
    const kill = (target, name = 'SIGKILL') => {
      const hit = host.strike(target, kind, name);
      if (hit) this.#count(kind);
      return hit;
    };
    switch (kind) {
      case 'SIGSTOP':
        if (kill(slot, 'SIGSTOP')) await this.#replaced(slot);
        return;
      case STARVED:
        return this.#starve(slot, random);
      case 'as it starts':
        return this.#asItStarts(slot, kill, random);
      case 'twice in 50 ms':
        kill(slot);
        await sleep(random.between(0, 50));
        kill(host.slot(slot.index));
        return;
      case 'as a result comes':
      case 'as a segment comes':
        return this.#asItComes(kind.includes('result') ? 'result' : 'segment', slot, kill);
      case 'every worker':
        for (const other of host.slots) {
          if (other.index === slot.index || !this.#busy.has(place(other))) kill(other);
        }
        return;
      case 'paused for 1 s':
        return this.#pauseIt(slot);
      default:
        kill(slot, kind);
    }
  }

  /** A stopped process is no longer in its place. */
  #replaced({ host, index, pid }) {
    return comesTrue(() => host.slot(index).pid !== pid, PATIENCE_MS);
  }

  async #asItComes(what, { host, index }, kill) {
    const due = () => kill(host.slot(index));
    host.awaited[what] = due;
    await comesTrue(() => host.awaited[what] !== due || !this.#goesOn(), MOMENT_MS);
    if (host.awaited[what] === due) host.awaited[what] = undefined;
  }

  /** Once or more, and sooner or later in its start. */
  async #asItStarts({ host, index, pid }, kill, random) {
    let last = pid;
    kill(host.slot(index));
    for (let more = random.integer(1, 3); more > 0; more -= 1) {
      const isNext = () => ![undefined, last].includes(host.slot(index).pid);
      if (!(await comesTrue(isNext, MOMENT_MS))) return;
      await sleep(random.between(0, 600));
      const next = host.slot(index);
      last = next.pid;
      kill(next);
    }
  }

  /** The system gives it little more, and then all it wants again. */
  async #starve({ host, index, pid }, random) {
    const size = addressSpace(pid);
    if (size === undefined) return;
    const limit = Math.round(size + random.logBetween(...SPARE_BYTES));
    const ended = host.shortage();
    host.provoke(pid, STARVED);
    // Before its end, as it may be a worker's own.
    if (!limitTo(pid, limit)) return ended();
    this.#count(STARVED);
    const gone = await comesTrue(() => host.slot(index).pid !== pid, SHORTAGE_MS);
    if (!gone) {
      this.survivedShortages += 1;
      limitTo(pid, 'unlimited');
    }
    ended();
  }

  /** Too short to be taken for hanging. */
  async #pauseIt(slot) {
    const { host, pid } = slot;
    if (!signal(pid, 'SIGSTOP')) return;
    host.provoke(pid, 'paused for 1 s', 'SIGCONT');
    this.#count('paused for 1 s');
    await sleep(SHORT_PAUSE_MS);
    signal(pid, 'SIGCONT');
  }
}

function place({ host, index }) {
  return `${host} ${index}`;
}

/** Only the soft limit, so that it can be taken back. */
function limitTo(pid, bytes) {
  try {
    execFileSync('prlimit', ['--pid', String(pid), `--as=${bytes}:`], { stdio: 'ignore' });
    return true;
  } catch {
    // It has just ended.
    return false;
  }
}
