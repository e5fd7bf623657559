import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { splitPackets } from 'opuscribe';

export interface Recording {
  name: string;
  kind: 'speech' | 'noise';
  language: string | null;
  transcript: string;
  packets: number;
  durationMs: number;
}

const FOLDER = join(__dirname, 'fixtures');

export const recordings: Recording[] = json('manifest.json');
export const english = recordings.filter((recording) => recording.language === 'en');
export const noise = recordings.filter((recording) => recording.kind === 'noise');

export function recording(name: string): Recording {
  const found = recordings.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no recording ${name}`);
  return found;
}

export function json<Value>(file: string): Value {
  return JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as Value;
}

/** Each packet lies behind its length as uint16 little-endian. */
export function packets(name: string): Buffer[] {
  return splitPackets(readFileSync(join(FOLDER, `${name}.packets`))) as Buffer[];
}

/** 16 kHz mono, behind a 44-byte header. */
export function wav(name: string): Int16Array {
  const bytes = readFileSync(join(FOLDER, `${name}.wav`));
  return new Int16Array(bytes.buffer.slice(bytes.byteOffset + 44, bytes.byteOffset + bytes.length));
}
