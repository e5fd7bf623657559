// One isolated transcriber: its workers, what was done to them, and what it said of it.

import { IsolatedTranscriber } from 'opuscribe/isolated';
import { patient } from '../patience.mjs';
import { label } from './ledger.mjs';
import { comesTrue, signal } from './processes.mjs';

const LOG_TARGET = 'opuscribe::isolated';
const READY = 'a worker process is ready';
const SPENT = 'a worker process has done enough';
const UNWRITTEN = 'cannot be written';
/** Kills are no reason to give up here. */
const CIRCUIT = { maxCrashes: 1000, windowMs: 60_000, cooldownMs: 500 };
const REPORT_MS = 5000;
export const HEARTBEAT_TIMEOUT_MS = 3000;
/** What was done to a process so long before its transcriber is closed, was noticed. */
const NOTICED_MS = patient(15_000);
/** What is done to one that is to lack memory. */
export const STARVED = 'out of memory';
/** What ends a process at once or, stopped, must be found to hang. */
const FATAL = ['SIGKILL', 'SIGSEGV', 'SIGABRT', 'SIGSTOP'];

export class Host {
  /** What it holds is given up, when it is closed without draining. */
  stopped = false;
  closing = false;
  transcriber;
  /** What is to be done as the next transcript comes, or the next segment of one. */
  awaited = { result: undefined, segment: undefined };
  /** Milliseconds from the last kill of a worker to the next that is ready there. */
  recoveries = { killed: [], stopped: [] };
  #name;
  #ledger;
  #folder;
  #unanswered = 0;
  /** What was done to each process, until its crash is told. */
  #done = new Map();
  #closingAt = Infinity;
  #recovering = new Map();
  #crashes = [];
  /** Errors that name a crash. */
  #named = [];
  #shortages = [];
  /** Processes that were replaced on purpose. */
  #recycled = new Set();

  constructor(name, { workers, maxQueue, recycleAfterJobs, ledger, folder }) {
    Object.assign(this, { workers, maxQueue, recycleAfterJobs });
    this.#name = name;
    this.#ledger = ledger;
    this.#folder = folder;
  }

  toString() {
    return this.#name;
  }

  async open(engine) {
    const opening = IsolatedTranscriber.open({
      ...engine,
      workers: this.workers,
      maxQueue: this.maxQueue,
      ...(this.recycleAfterJobs && { recycleAfterJobs: this.recycleAfterJobs }),
      heartbeatTimeoutMs: HEARTBEAT_TIMEOUT_MS,
      circuit: CIRCUIT,
      crashReports: this.#folder.options,
      onLog: (record) => this.#log(record),
      onCrash: (report) => this.#crashed(report),
    });
    this.transcriber = await this.#ledger.watch(label('opening', this), opening);
    return this;
  }

  #log({ target, message, fields }) {
    if (target !== LOG_TARGET) return;
    if (message.includes(UNWRITTEN)) this.#ledger.blame('report', this, message);
    if (message.startsWith(SPENT)) this.#recycled.add(fields.pid);
    if (!message.startsWith(READY)) return;
    const slot = this.slots.find(({ pid }) => pid === fields.pid);
    const hurt = slot && this.#recovering.get(slot.index);
    if (hurt === undefined) return;
    this.#recovering.delete(slot.index);
    const times = this.recoveries[hurt.name === 'SIGSTOP' ? 'stopped' : 'killed'];
    times.push(performance.now() - hurt.at);
  }

  /** Its places for workers, and who is there. */
  get slots() {
    const workers = this.transcriber?.stats().workers ?? [];
    return workers.map(({ pid, state }, index) => ({ host: this, index, pid, state }));
  }

  slot(index) {
    return this.slots[index];
  }

  /** Sends a signal to a worker. Whether there was one. */
  strike({ index, pid }, kind, name) {
    if (pid === undefined || !signal(pid, name)) return false;
    this.provoke(pid, kind, name);
    if (FATAL.includes(name)) this.#recovering.set(index, { name, at: performance.now() });
    return true;
  }

  /** What is done to a process, so that its crash is none that nobody provoked. */
  provoke(pid, kind, name) {
    this.#done.set(pid, [...this.doneTo(pid), { kind, name, at: performance.now() }]);
  }

  doneTo(pid) {
    return this.#done.get(pid) ?? [];
  }

  /** From now on, until what is given back is called, a worker may lack memory. */
  shortage() {
    const shortage = { endedAt: Infinity };
    this.#shortages.push(shortage);
    return () => {
      shortage.endedAt = performance.now();
    };
  }

  lackedMemory(since) {
    return this.#shortages.some(({ endedAt }) => endedAt >= since);
  }

  #crashed(report) {
    const { id, pid, jobs } = report;
    const crash = { id, jobs: jobs.map(({ id, rejected }) => ({ id, rejected })) };
    this.#crashes.push(crash);
    const fault = faultOfCrash(report, this.doneTo(pid));
    if (fault) this.#ledger.blame(fault[0], this, `${id}: ${fault[1]}`);
    // Another process may get its number.
    this.#done.delete(pid);
    this.#folder.look(report, this);
  }

  /** Resolves when the job is answered, whatever the answer; with the error, if it is one. */
  submit(job) {
    const { test, options } = job;
    const ahead = this.#unanswered;
    this.#unanswered += 1;
    const end = this.#ledger.start(job);
    job.startedAt = performance.now();
    const promise = this.transcriber[test.method](test.input, options);
    const answered = promise.then(
      (transcript) => this.#answer(job, end, { transcript }),
      (error) => this.#answer(job, end, { error }),
    );
    job.begun(this, ahead, (kind, what) => this.#ledger.blame(kind, job, what));
    return answered;
  }

  came(what) {
    const due = this.awaited[what];
    this.awaited[what] = undefined;
    due?.();
  }

  #answer(job, end, outcome) {
    if (outcome.transcript !== undefined) this.came('result');
    this.#unanswered -= 1;
    job.ended();
    end(job.nameOf(outcome));
    const fault = job.fault(outcome);
    if (fault !== undefined) this.#ledger.blame(fault[0], job, fault[1]);
    if (outcome.transcript) this.#ledger.audioMs += outcome.transcript.durationMs;
    if (outcome.error?.code === 'ERR_WORKER_CRASHED') this.named(job.id, outcome.error);
    return outcome.error;
  }

  /** A job or a stream rejected with a crash, which must be one of those that were told. */
  named(id, { crashId }) {
    this.#named.push({ id, crashId });
  }

  get recycles() {
    return this.#recycled.size;
  }

  /** How often crashes have interrupted a stream. */
  interruptions(id) {
    return this.#crashes.filter(({ jobs }) => jobs.some((job) => job.id === id)).length;
  }

  /** `how` is 'now' or 'drain'. */
  async close(how) {
    this.closing = true;
    this.#closingAt = performance.now();
    this.stopped = how === 'now';
    const closed = this.transcriber.close({ drain: how === 'drain' });
    await this.#ledger.watch(label('closing', this), closed);
  }

  /** Resolves when every crash has been told, which is when its report is written. */
  reported() {
    return comesTrue(() => this.transcriber.stats().crashes === this.crashCount, REPORT_MS);
  }

  /** When every report has been written: what was told of crashes is what was done. */
  audit() {
    const { crashes } = this.transcriber.stats();
    if (crashes !== this.#crashes.length) {
      const told = this.#crashes.length;
      this.#ledger.blame('report', this, `${crashes} crashes are counted, ${told} were told`);
    }
    for (const [pid, done] of this.#done) {
      // One that ends as it is asked to is not said to have crashed.
      if (this.#recycled.has(pid)) continue;
      const isNoticed = (one) => one.at + NOTICED_MS < this.#closingAt;
      const fatal = done.find((one) => isFatal(one) && isNoticed(one));
      if (!fatal) continue;
      this.#ledger.blame('report', this, `no crash was told of process ${pid}: ${fatal.kind}`);
    }
    for (const { id, crashId } of this.#named) {
      const crash = this.#crashes.find((one) => one.id === crashId);
      const job = crash?.jobs.find((one) => one.id === id);
      if (job?.rejected) continue;
      this.#ledger.blame('report', id, `rejected by ${crashId}, which says ${JSON.stringify(job)}`);
    }
  }

  get crashCount() {
    return this.#crashes.length;
  }
}

function isFatal({ name }) {
  return FATAL.includes(name);
}

/** What is wrong with a report of a process to which this was done. */
function faultOfCrash({ signal: name, hung, explanation }, done) {
  // A lack of memory ends it in many ways.
  if (done.some((one) => one.kind === STARVED)) return undefined;
  const fatal = done.filter(isFatal);
  if (fatal.length === 0) {
    const what = done.length > 0 ? 'after nothing but a short pause' : 'that nobody provoked';
    return ['error', `a crash ${what}: ${explanation}`];
  }
  const isStopped = fatal.some((one) => one.name === 'SIGSTOP');
  const isKilled = fatal.some((one) => one.name !== 'SIGSTOP');
  if (hung && !isStopped) return ['report', `hung, and it was ${fatal[0].kind}`];
  if (!hung && !isKilled) return ['report', 'not hung, and it was stopped'];
  return FATAL.includes(name) ? undefined : ['report', `signal is ${name} after ${fatal[0].kind}`];
}
