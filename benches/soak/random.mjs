// Chance that a seed repeats.

export class Random {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** Mulberry32; from 0 to below 1. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let word = this.#state;
    word = Math.imul(word ^ (word >>> 15), word | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  }

  chance(probability) {
    return this.next() < probability;
  }

  between(low, high) {
    return low + (high - low) * this.next();
  }

  /** As many between 1 and 2 as between 10 and 20. */
  logBetween(low, high) {
    return low * (high / low) ** this.next();
  }

  /** Both ends included. */
  integer(low, high) {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  pick(list) {
    return list[this.integer(0, list.length - 1)];
  }

  /** One of the keys, by its weight. */
  weighed(weights) {
    const entries = Object.entries(weights);
    let left = this.next() * entries.reduce((total, [, weight]) => total + weight, 0);
    return entries.find(([, weight]) => {
      left -= weight;
      return left < 0;
    })[0];
  }

  shuffled(list) {
    return list
      .map((item) => [this.next(), item])
      .sort(([a], [b]) => a - b)
      .map(([, item]) => item);
  }

  /** Another generator, so that what one user draws does not depend on when others draw. */
  fork() {
    return new Random(this.next() * 2 ** 32);
  }
}
