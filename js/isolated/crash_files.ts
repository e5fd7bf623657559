// Crash reports as files: a bounded number of them.

import { chmod, lstat, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Input } from '../engine.js';
import type { CrashReport } from './crash.js';

/** Where crash reports go, and how many. */
export interface CrashReportOptions {
  /** Default: `opuscribe-crashes-` and the user's number, in the system's temporary folder. */
  folder?: string;
  /** Reports that are kept, 1 to 1000; the oldest go. Default 20. */
  keep?: number;
  /**
   * Also write the input of a job that will not run again, for reproduction: it is somebody's
   * speech. Default false.
   */
  saveInput?: boolean;
}

const REPORT = /^crash-[\w-]+\.json$/;

export class CrashFiles {
  readonly #folder: string;
  readonly #isShared: boolean;
  readonly #keep: number;
  readonly #saveInput: boolean;
  /** One write after the other, so that the number stays bounded. */
  #writing: Promise<unknown> = Promise.resolve();

  constructor({ folder, keep = 20, saveInput = false }: CrashReportOptions) {
    const user = process.getuid?.() ?? 'user';
    this.#folder = folder ?? join(tmpdir(), `opuscribe-crashes-${user}`);
    this.#isShared = folder === undefined;
    this.#keep = keep;
    this.#saveInput = saveInput;
  }

  /**
   * Writes the report, and if that is asked for the poisonous inputs: each at the place of its job.
   * Gives back where they are.
   */
  write(report: CrashReport, poison: (Input | undefined)[]): Promise<CrashReport> {
    const written = this.#writing.then(() => this.#write(report, poison));
    this.#writing = written.catch(() => {});
    return written;
  }

  async #write(report: CrashReport, poison: (Input | undefined)[]): Promise<CrashReport> {
    await this.#prepare();
    const path = join(this.#folder, `${report.id}.json`);
    const known = { ...report, jobs: report.jobs.map((job) => ({ ...job })), path };
    for (const [index, job] of known.jobs.entries()) {
      const input = poison[index];
      const saved = input && this.#saveInput ? serialize(input) : undefined;
      if (saved === undefined) continue;
      job.input = join(this.#folder, `${report.id}.${index}.${saved.extension}`);
      await writeFile(job.input, saved.bytes, { flag: 'wx', mode: 0o600 });
    }
    await writeFile(path, `${JSON.stringify(known, null, 2)}\n`, { flag: 'wx', mode: 0o600 });
    await this.#prune();
    return known;
  }

  /** Where everybody can write, somebody else may have been there first. */
  async #prepare(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    if (!this.#isShared) return;
    const stat = await lstat(this.#folder);
    const user = process.getuid?.();
    if (stat.isSymbolicLink() || (user !== undefined && stat.uid !== user)) {
      throw new Error(`'${this.#folder}' belongs to somebody else`);
    }
    if ((stat.mode & 0o022) !== 0) await chmod(this.#folder, 0o700);
  }

  async #prune(): Promise<void> {
    const names = await readdir(this.#folder);
    // Their names begin with the time.
    const reports = names.filter((name) => REPORT.test(name)).sort();
    for (const old of reports.slice(0, -this.#keep)) {
      const id = old.slice(0, -'.json'.length);
      const files = names.filter((name) => name === old || name.startsWith(`${id}.`));
      // Another transcriber may keep its reports here too, and have been faster.
      await Promise.all(files.map((name) => rm(join(this.#folder, name), { force: true })));
    }
  }
}

/**
 * The input as a file: packets as `splitPackets` reads them with `{ lengthBytes: 4, sequence:
 * 'before' }`, where a missing number is a lost packet; samples as a WAV file; a file as it is.
 */
export function serialize(input: Input): { extension: string; bytes: Uint8Array } | undefined {
  switch (input.kind) {
    case 'packets':
      return { extension: 'packets', bytes: framed(input.bytes, input.lengths) };
    case 'pcm':
      return { extension: 'wav', bytes: wav(input) };
    case 'file':
      return typeof input.source === 'string'
        ? undefined
        : { extension: 'media', bytes: input.source };
  }
}

function framed(bytes: Uint8Array, lengths: Int32Array): Uint8Array {
  const frames: Uint8Array[] = [];
  let at = 0;
  lengths.forEach((length, index) => {
    if (length < 0) return;
    const head = Buffer.alloc(8);
    head.writeUInt32LE(length, 0);
    head.writeUInt32LE(index, 4);
    frames.push(head, bytes.subarray(at, at + length));
    at += length;
  });
  return Buffer.concat(frames);
}

function wav({ pcm, sampleRate, channels }: Input & { kind: 'pcm' }): Uint8Array {
  const data = Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength);
  const width = pcm.BYTES_PER_ELEMENT;
  const head = Buffer.alloc(44);
  head.write('RIFF', 0);
  head.writeUInt32LE(36 + data.length, 4);
  head.write('WAVEfmt ', 8);
  head.writeUInt32LE(16, 16);
  // 3 is IEEE float, 1 is integer PCM.
  head.writeUInt16LE(pcm instanceof Float32Array ? 3 : 1, 20);
  head.writeUInt16LE(channels, 22);
  head.writeUInt32LE(sampleRate, 24);
  head.writeUInt32LE(sampleRate * channels * width, 28);
  head.writeUInt16LE(channels * width, 32);
  head.writeUInt16LE(width * 8, 34);
  head.write('data', 36);
  head.writeUInt32LE(data.length, 40);
  return Buffer.concat([head, data]);
}
