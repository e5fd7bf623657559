import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { OpuscribeError, type SplitOptions, splitPackets } from 'opuscribe';
import { packets, recording } from './fixtures';

const framed = readFileSync(join(__dirname, 'fixtures', 'jfk.packets'));

function refused(bytes: unknown, options: unknown, code: string, message: RegExp): OpuscribeError {
  try {
    splitPackets(bytes as Uint8Array, options as SplitOptions);
  } catch (error) {
    assert.ok(error instanceof OpuscribeError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return error;
  }
  throw new Error('accepted');
}

describe('splitPackets', () => {
  it('gives views of length-prefixed bytes', () => {
    const list = splitPackets(framed);
    assert.equal(list.length, recording('jfk').packets);
    const again = list.flatMap((packet) => {
      assert.ok(packet !== null);
      return [Uint8Array.of(packet.length & 255, packet.length >> 8), packet];
    });
    assert.deepEqual(Buffer.concat(again), framed);
    assert.equal(list[0]?.buffer, framed.buffer);
    assert.deepEqual(splitPackets(new Uint8Array(0)), []);
  });

  it('reads every framing it is told', () => {
    for (const lengthBytes of [2, 4] as const) {
      for (const endian of ['little', 'big'] as const) {
        for (const sequence of ['before', 'after'] as const) {
          const bytes = packets('jfk').flatMap((packet, index) => {
            const length = Buffer.alloc(lengthBytes);
            const number = Buffer.alloc(4);
            if (endian === 'little') {
              length.writeUIntLE(packet.length, 0, lengthBytes);
              number.writeUInt32LE(index);
            } else {
              length.writeUIntBE(packet.length, 0, lengthBytes);
              number.writeUInt32BE(index);
            }
            if (index === 7) return [];
            return sequence === 'before' ? [length, number, packet] : [length, packet, number];
          });
          const list = splitPackets(Buffer.concat(bytes), { lengthBytes, endian, sequence });
          assert.equal(list[7], null);
          assert.deepEqual(
            [...list.slice(0, 7), ...list.slice(8)],
            [...packets('jfk').slice(0, 7), ...packets('jfk').slice(8)],
          );
        }
      }
    }
  });

  it('an error has the byte offset; a cut tail may be left out', () => {
    const cut = framed.subarray(0, framed.length - 1);
    const last = packets('jfk').at(-1) as Buffer;
    const error = refused(cut, {}, 'ERR_INVALID_PACKET', /allowPartial/);
    assert.equal(error.byteOffset, framed.length - last.length - 2);
    assert.deepEqual(splitPackets(cut, { allowPartial: true }), packets('jfk').slice(0, -1));
    const wrong = refused(framed, { endian: 'big' }, 'ERR_INVALID_PACKET', /length|end/);
    assert.ok(wrong.byteOffset !== undefined);
  });

  it('refuses options that mean nothing', () => {
    for (const [options, message] of [
      [{ lengthBytes: 3 }, /lengthBytes is 3; expected 2 or 4/],
      [{ endian: 'middle' }, /endian is middle/],
      [{ sequence: 'between' }, /sequence is between/],
      [{ reorderWindow: -1 }, /reorderWindow/],
      [{ reorderWindow: 1e9 }, /reorderWindow/],
      [{ allowPartial: 'yes' }, /./],
      [null, /options is null/],
      ['x', /options is a string/],
    ] as const) {
      refused(framed, options, 'ERR_INVALID_ARGUMENT', message);
    }
    refused('abc', {}, 'ERR_INVALID_ARGUMENT', /bytes is a string/);
    refused(new Float32Array(3), {}, 'ERR_INVALID_ARGUMENT', /Float32Array/);
  });
});
