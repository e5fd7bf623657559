// Everything that was begun, from its start to its end, and everything that was wrong.

/** More would only scroll by. */
const FAULTS_KEPT = 30;

/** What a fault is counted as; each is a row of the table. */
export const FAULTS = {
  wrong: 'wrong results',
  twice: 'settled or told something twice, or too late',
  error: 'errors that nobody provoked',
  report: 'crash reports missing, wrong or too many',
  orphan: 'orphans',
  other: 'anything else',
};

export class Ledger {
  started = 0;
  settled = 0;
  /** How many of each outcome. */
  outcomes = new Map();
  audioMs = 0;
  counts = Object.fromEntries(Object.keys(FAULTS).map((kind) => [kind, 0]));
  faults = [];
  /** What should have ended, and has not. */
  lost = [];
  #pending = new Map();

  /** Gives back what its end is to be told with. */
  start(thing) {
    this.started += 1;
    this.#pending.set(thing, performance.now());
    return (outcome) => this.#end(thing, outcome);
  }

  #end(thing, outcome) {
    if (!this.#pending.delete(thing)) this.blame('twice', thing, `ended again, with ${outcome}`);
    this.settled += 1;
    this.count(outcome);
  }

  count(outcome) {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }

  /** Opening or closing, which must settle too and never fail. */
  async watch(label, promise) {
    const end = this.start(label);
    try {
      const value = await promise;
      end(label.kind);
      return value;
    } catch (error) {
      end(`${label.kind} failed`);
      this.blame('error', label, error.stack);
      throw error;
    }
  }

  blame(kind, thing, what) {
    this.counts[kind] += 1;
    if (this.faults.length < FAULTS_KEPT) this.faults.push(`${kind}: ${thing}:\n    ${what}`);
  }

  findLost() {
    this.lost = [...this.#pending.keys()];
  }

  get oldestMs() {
    const [first] = this.#pending.values();
    return first === undefined ? 0 : performance.now() - first;
  }

  get failed() {
    return this.lost.length > 0 || Object.values(this.counts).some((count) => count > 0);
  }
}

/** A name for what is watched. */
export function label(kind, name) {
  return { kind, toString: () => `${kind} ${name}` };
}
