// How busy the GPU is, as its driver tells it, where it does.

import { spawn, spawnSync } from 'node:child_process';

const EVERY_MS = 200;
const isThere = spawnSync('nvidia-smi', ['-L'], { stdio: 'ignore' }).status === 0;

export class Watch {
  #process;
  #samples = [];

  constructor() {
    if (!isThere) return;
    const query = '--query-gpu=utilization.gpu,memory.used';
    const flags = [query, '--format=csv,noheader,nounits', `--loop-ms=${EVERY_MS}`, '--id=0'];
    this.#process = spawn('nvidia-smi', flags, { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#process.stdout.setEncoding('utf8').on('data', (text) => {
      for (const line of text.trim().split('\n')) {
        const [busy, megabytes] = line.split(',').map(Number);
        if (Number.isFinite(busy)) this.#samples.push({ busy, megabytes });
      }
    });
  }

  /** The mean of how busy it was, in percent, and the most memory, in MB; nothing where nobody tells. */
  async end() {
    if (this.#process === undefined) return {};
    const gone = new Promise((resolve) => this.#process.once('close', resolve));
    this.#process.kill();
    await gone;
    const samples = this.#samples;
    if (samples.length === 0) return {};
    return {
      busy: samples.reduce((sum, { busy }) => sum + busy, 0) / samples.length,
      megabytes: Math.max(...samples.map(({ megabytes }) => megabytes)),
    };
  }
}
