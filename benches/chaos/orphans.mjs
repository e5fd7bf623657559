// Processes that use opuscribe and are killed, or have too little memory: their workers must not stay.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { patient } from '../patience.mjs';
import { addressSpace, childrenOf, comesTrue, living, signal } from './processes.mjs';

const PARENT = join(import.meta.dirname, 'parent.mjs');
const PAUSE_MS = [2000, 25_000];
const OPEN_MS = patient(60_000);
const SERVE_MS = [0, 4000];
const START_MS = [100, 1500];
const STOPPED_MS = 500;
/** A machine may be busy; a worker has nothing to wait for. */
const GONE_MS = 10_000;
/** So long jobs may take that lack memory, with all crashes and pauses. */
const ENDED_MS = patient(120_000);
/** Of the address space of a worker that serves: from too little to start, to enough. */
const LIMIT_SHARE = [0.55, 1.1];
/** Where nobody has told how much that is. */
const WORKER_BYTES = 2 * 2 ** 30;
const WAYS = ['serving', 'stopped', 'limited', 'starting', 'limited'];

export class Orphans {
  /** How often each was done. */
  counts = new Map();
  outcomes = new Map();
  skipped = [];
  #random;
  #ledger;
  #model;
  #goesOn;
  #workerBytes = WORKER_BYTES;
  #folder = mkdtempSync(join(tmpdir(), 'opuscribe-chaos-parent-'));

  constructor({ random, ledger, model, goesOn }) {
    this.#random = random;
    this.#ledger = ledger;
    this.#model = model;
    this.#goesOn = goesOn;
    this.ways = process.platform === 'win32' ? [] : WAYS;
    if (process.platform === 'win32')
      this.skipped.push('orphans: Windows does not tell of children');
    if (process.platform === 'darwin') {
      this.ways = WAYS.filter((way) => way !== 'limited');
      this.skipped.push('ulimit -v: macOS does not keep it');
    }
  }

  async run() {
    for (let deck = []; this.#goesOn() && this.ways.length > 0; ) {
      if (deck.length === 0) deck = this.#random.shuffled(this.ways);
      const way = deck.pop();
      try {
        if (way === 'limited') await this.#limited();
        else await this.#killed(way);
      } catch (error) {
        this.#ledger.blame('other', `a parent, ${way}`, error.stack);
      }
      const until = performance.now() + this.#random.logBetween(...PAUSE_MS);
      while (this.#goesOn() && performance.now() < until) await sleep(50);
    }
    rmSync(this.#folder, { recursive: true });
  }

  /** Killed, as it works or as its workers start. */
  async #killed(way) {
    const parent = this.#start('serve');
    const isUp = () => parent.lines.length > 0 || parent.isOver;
    if (way !== 'starting') {
      await comesTrue(isUp, OPEN_MS);
      await sleep(this.#random.between(...SERVE_MS));
    } else {
      await comesTrue(() => childrenOf(parent.pid).length > 0 || parent.isOver, OPEN_MS);
      await sleep(this.#random.between(...START_MS));
    }
    const workers = childrenOf(parent.pid);
    this.#workerBytes = addressSpace(workers[0]) ?? this.#workerBytes;
    if (way === 'stopped') for (const pid of workers) signal(pid, 'SIGSTOP');
    parent.kill();
    this.#count(`a parent is killed, ${way}`);
    await parent.over;
    if (way === 'stopped') {
      await sleep(STOPPED_MS);
      for (const pid of workers) signal(pid, 'SIGCONT');
    }
    if (workers.length === 0) this.#ledger.blame('other', parent, `no worker, ${parent.said}`);
    await this.#seeGone(parent, workers);
  }

  /** Every promise settles, or the process dies; either way nobody stays. */
  async #limited() {
    const bytes = this.#workerBytes * this.#random.between(...LIMIT_SHARE);
    const parent = this.#start('finish', Math.round(bytes / 1024));
    const workers = new Set();
    const note = () => {
      for (const pid of childrenOf(parent.pid)) workers.add(pid);
      return parent.isOver;
    };
    this.#count('a parent has little memory');
    const ended = await comesTrue(note, ENDED_MS);
    if (!ended) {
      this.#ledger.blame('other', parent, `it does not end: ${parent.said}`);
      parent.kill();
      await parent.over;
    }
    const last = parent.lines.at(-1) ?? {};
    const { begun, settled, failed } = last;
    if (begun === undefined) this.#outcome(`dead: ${parent.end}`);
    else this.#outcome(failed ? `failed: ${failed.split('\n')[0]}` : JSON.stringify(last.outcomes));
    // Node ends so when nothing is left that could settle what is awaited.
    const isSilent = begun === undefined && /exit code (0|13)$/.test(parent.end);
    if (begun !== settled || isSilent)
      this.#ledger.blame('other', parent, `lost some: ${parent.said}`);
    await this.#seeGone(parent, [...workers]);
  }

  async #seeGone(parent, workers) {
    if (await comesTrue(() => living(workers).length === 0, GONE_MS)) return;
    const left = living(workers);
    this.#ledger.blame('orphan', parent, `it has ended, and its workers ${left} have not`);
    for (const pid of left) signal(pid, 'SIGKILL');
  }

  #start(mode, limitKb) {
    const argv = [PARENT, this.#folder, mode, this.#model];
    const limited = `ulimit -v ${limitKb} && exec "$@"`;
    const child = limitKb
      ? spawn('sh', ['-c', limited, 'sh', process.execPath, ...argv], { stdio: STDIO })
      : spawn(process.execPath, argv, { stdio: STDIO });
    const parent = {
      pid: child.pid,
      lines: [],
      printed: '',
      isOver: false,
      end: '',
      // Its number may be another's when it has ended.
      kill: () => child.kill('SIGKILL'),
      get said() {
        return `${JSON.stringify(this.lines)}, ${this.end}, ${this.printed}`;
      },
      toString: () => `a parent that is to ${mode}${limitKb ? `, with ${limitKb} kB` : ''}`,
    };
    createInterface({ input: child.stdout }).on('line', (line) => {
      parent.lines.push(JSON.parse(line));
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      parent.printed = (parent.printed + text).slice(-1000);
    });
    parent.over = new Promise((resolve) => {
      child.on('close', (code, name) => {
        parent.isOver = true;
        parent.end = name ?? `exit code ${code}`;
        resolve();
      });
    });
    return parent;
  }

  #count(what) {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  #outcome(what) {
    this.outcomes.set(what, (this.outcomes.get(what) ?? 0) + 1);
  }
}

const STDIO = ['ignore', 'pipe', 'pipe'];
