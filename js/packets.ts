import { types } from 'node:util';
import { invalidArgument } from './error.js';

/** A packet list in two arrays, which cross into the addon in two copies. */
export interface FlatPackets {
  /** Every packet's bytes, end to end. */
  bytes: Uint8Array;
  /** Length of each packet, -1 for a lost one. */
  lengths: Int32Array;
}

/** Stands for a lost packet where `null` cannot: in streams of Node. */
export const LOST = new Uint8Array(0);

/** Longest Opus packet that can hold meaning: 120 ms in 48 frames of 1275 bytes, and room. */
const MAX_PACKET_BYTES = 65_536;
/** Four hours of the shortest packets. */
const MAX_PACKETS = 5_760_000;

/** Checks the list and copies it; the caller may reuse the packets afterwards. */
export function flatten(opusPackets: ReadonlyArray<Uint8Array | null>): FlatPackets {
  if (!Array.isArray(opusPackets)) {
    throw invalidArgument(
      `opusPackets is ${describe(opusPackets)}; expected an array of Uint8Array or null`,
    );
  }
  const count = opusPackets.length;
  if (count > MAX_PACKETS) {
    throw invalidArgument(`opusPackets has ${count} entries; at most ${MAX_PACKETS} are taken`);
  }
  const lengths = new Int32Array(count);
  let total = 0;
  for (let index = 0; index < count; index += 1) {
    const packet: unknown = opusPackets[index];
    lengths[index] = packet === null ? -1 : packetLength(packet, index);
    total += Math.max(0, lengths[index] as number);
  }
  const bytes = new Uint8Array(total);
  let at = 0;
  for (let index = 0; index < count; index += 1) {
    const length = lengths[index] as number;
    if (length < 0) continue;
    copy(opusPackets[index] as Uint8Array, bytes, at, index);
    at += length;
  }
  return { bytes, lengths };
}

function copy(packet: Uint8Array, bytes: Uint8Array, at: number, index: number): void {
  try {
    bytes.set(packet, at);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw invalidArgument(`opusPackets[${index}] cannot be read: ${why}`, index);
  }
}

function packetLength(packet: unknown, index: number): number {
  if (!types.isUint8Array(packet)) {
    throw invalidArgument(
      `opusPackets[${index}] is ${describe(packet)}; expected a Uint8Array, or null for a lost packet`,
      index,
    );
  }
  if (packet.length > MAX_PACKET_BYTES) {
    throw invalidArgument(
      `opusPackets[${index}] has ${packet.length} bytes; an Opus packet has at most ${MAX_PACKET_BYTES}. ` +
        'Pass packets one by one, not a file',
      index,
    );
  }
  return packet.length;
}

export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'object') {
    const name = value.constructor?.name ?? 'object';
    return `${/^[AEIO]/i.test(name) ? 'an' : 'a'} ${name}`;
  }
  return `a ${typeof value}`;
}
