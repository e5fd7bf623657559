// Resident memory over time, and whether it grows.

import { trend } from './trend.mjs';

const EVERY_MS = 1000;
const MB = 2 ** 20;
/** What is behind before memory is judged: this share of the run, at least so many minutes. */
const WARM_UP_SHARE = 0.2;
const WARM_UP_MINUTES = 5;
/** A shorter run is all warm-up. */
const SHORTEST_MINUTES = 15;
/** An interval that lies above this is growth: 5 MB/h are 120 MB in a day. */
const TOLERANCE_MB_PER_HOUR = 5;

export class Memory {
  samples = [];
  beforeMb = process.memoryUsage.rss() / MB;
  #started = performance.now();
  #timer;

  /** `alive` tells how many transcribers hold memory. */
  constructor(alive) {
    this.#timer = setInterval(() => this.#sample(alive()), EVERY_MS);
  }

  #sample(alive) {
    const { rss, heapTotal, external } = process.memoryUsage();
    const minutes = (performance.now() - this.#started) / 60_000;
    const [rssMb, jsMb] = [rss / MB, (heapTotal + external) / MB];
    this.samples.push({ minutes, rssMb, jsMb, alive });
  }

  /** When everything is closed. */
  stop() {
    clearInterval(this.#timer);
    this.afterMb = process.memoryUsage.rss() / MB;
  }

  /** Only moments with one transcriber are compared: each more is a model more. */
  #steady() {
    const { minutes = 0 } = this.samples.at(-1) ?? {};
    const warm = Math.max(WARM_UP_SHARE * minutes, Math.min(WARM_UP_MINUTES, minutes / 2));
    return this.samples.filter((sample) => sample.alive === 1 && sample.minutes >= warm);
  }

  /** MB an hour, with a verdict. */
  judge() {
    const long = (this.samples.at(-1)?.minutes ?? 0) >= SHORTEST_MINUTES;
    const steady = long ? this.#steady() : [];
    const hours = steady.map(({ minutes }) => minutes / 60);
    const trendOf = (key) =>
      trend(
        hours,
        steady.map((sample) => sample[key]),
      );
    const rss = trendOf('rssMb');
    const grows = rss !== undefined && rss.low > TOLERANCE_MB_PER_HOUR;
    return { rss, js: trendOf('jsMb'), grows, verdict: verdict(rss, grows) };
  }

  /** Medians of so many stretches of the run, with one transcriber open. */
  overTime(stretches) {
    const end = this.samples.at(-1)?.minutes ?? 0;
    return Array.from({ length: stretches }, (_, index) => {
      const [from, to] = [(index * end) / stretches, ((index + 1) * end) / stretches];
      const inside = this.samples.filter(
        ({ minutes, alive }) => alive === 1 && minutes >= from && minutes <= to,
      );
      return { from, to, rssMb: median(inside.map(({ rssMb }) => rssMb)) };
    });
  }

  get peakMb() {
    return process.resourceUsage().maxRSS / 1024;
  }
}

function verdict(rss, grows) {
  if (rss === undefined) return `not judged in less than ${SHORTEST_MINUTES} minutes`;
  if (grows) return `grows by more than ${TOLERANCE_MB_PER_HOUR} MB/h`;
  if (rss.low > 0) return 'grows, within what is tolerated';
  if (rss.high < 0) return 'shrinks';
  return 'indistinguishable from zero';
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
