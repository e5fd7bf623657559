// The crash reports as files: there, whole, few, and without anything that was said.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const KEEP = 20;
/** A report is written before the oldest goes, by each transcriber that shares the folder. */
const WRITERS = 4;
/** So many words in a row happen in no report by chance. */
const PHRASE_WORDS = 4;
const FIELDS = ['id', 'time', 'phase', 'jobs', 'log', 'explanation', 'versions', 'memory'];

export class CrashFolder {
  #folder = mkdtempSync(join(tmpdir(), 'opuscribe-chaos-'));
  #ledger;
  #secrets;
  looked = 0;
  printed = 0;

  /** `secrets` are texts. */
  constructor(ledger, secrets) {
    this.#ledger = ledger;
    this.#secrets = new Set(secrets.flatMap(phrases));
  }

  get options() {
    return { folder: this.#folder, keep: KEEP };
  }

  /** As soon as it is told. */
  look(report, host) {
    this.looked += 1;
    if (report.printed !== '') this.printed += 1;
    const names = readdirSync(this.#folder).sort();
    if (names.length > KEEP + WRITERS) {
      this.#ledger.blame('report', host, `${names.length} files in the folder, ${KEEP} are kept`);
    }
    if (report.path === undefined) {
      this.#ledger.blame('report', host, `${report.id} has no path`);
      return;
    }
    try {
      this.#check(report.id, readFileSync(report.path, 'utf8'));
    } catch (error) {
      const name = `${report.id}.json`;
      const wasPruned = error.code === 'ENOENT' && names.length >= KEEP && name < names[0];
      if (!wasPruned) this.#ledger.blame('report', host, `${report.id}: ${error.message}`);
    }
  }

  #check(id, text) {
    const report = JSON.parse(text);
    const lacking = FIELDS.filter((field) => report[field] === undefined);
    if (lacking.length > 0) this.#ledger.blame('report', id, `it lacks ${lacking.join(', ')}`);
    if (report.id !== id) this.#ledger.blame('report', id, `it is of ${report.id}`);
    const told = phrases(text).filter((phrase) => this.#secrets.has(phrase));
    if (told.length > 0) this.#ledger.blame('report', id, `it tells what was said: ${told[0]}`);
  }

  /** When everything is closed. */
  end() {
    const names = readdirSync(this.#folder);
    if (names.length > KEEP) {
      this.#ledger.blame('report', 'the folder', `${names.length} files are left, of ${KEEP}`);
    }
    for (const name of names) {
      const id = name.replace(/\.json$/, '');
      if (id === name) this.#ledger.blame('report', name, 'is no report');
      else this.#check(id, readFileSync(join(this.#folder, name), 'utf8'));
    }
    rmSync(this.#folder, { recursive: true });
    return names.length;
  }
}

function phrases(text) {
  const words = text.toLowerCase().match(/[\p{L}']+/gu) ?? [];
  const count = Math.max(0, words.length - PHRASE_WORDS + 1);
  return Array.from({ length: count }, (_, at) => words.slice(at, at + PHRASE_WORDS).join(' '));
}
