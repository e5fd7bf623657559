import { types } from 'node:util';
import type { SplitOptions } from '../index.js';
import { callNative, invalidArgument, unwrap } from './error.js';
import * as native from './native.js';
import { describe } from './packets.js';

/**
 * The packets of length-prefixed bytes, as sockets and dumps carry them: views of `bytes`, and
 * `null` for each one that is missing between two sequence numbers. Duplicates are dropped, and
 * late packets take their place.
 *
 * Throws `ERR_INVALID_PACKET` with `byteOffset` for a length that no Opus packet has, for a sequence
 * number far from all others, and for bytes that end inside a packet.
 */
export function splitPackets(
  bytes: Uint8Array,
  options: SplitOptions = {},
): Array<Uint8Array | null> {
  if (!types.isUint8Array(bytes)) {
    throw invalidArgument(`bytes is ${describe(bytes)}; expected a Uint8Array`);
  }
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument(`options is ${describe(options)}; expected an object`);
  }
  const bounds = unwrap(callNative(() => native.splitPackets(bytes, options))) as Float64Array;
  const packets: Array<Uint8Array | null> = [];
  for (let at = 0; at < bounds.length; at += 2) {
    const start = bounds[at] as number;
    packets.push(start < 0 ? null : bytes.subarray(start, bounds[at + 1]));
  }
  return packets;
}
