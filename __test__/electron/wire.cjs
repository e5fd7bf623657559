// Messages between the double of Electron and its utility processes, over a pipe of their own: with
// Node's channel there would be process.send and 'disconnect', which a utility process has not.

const { Deserializer, Serializer } = require('node:v8');

const HEAD_BYTES = 4;

/**
 * As Electron clones: with V8's own serializer, which makes Buffers plain Uint8Arrays, takes the
 * whole buffer along with a view of it, and throws for functions and shared memory.
 */
function encode(message) {
  const serializer = new Serializer();
  serializer.writeHeader();
  serializer.writeValue(message);
  const body = serializer.releaseBuffer();
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32LE(body.length);
  return Buffer.concat([head, body]);
}

/** Calls with each message that has arrived whole. */
function decoder(onMessage) {
  let chunks = [];
  let length = 0;
  return (chunk) => {
    chunks.push(chunk);
    length += chunk.length;
    for (;;) {
      if (length < HEAD_BYTES) return;
      if (chunks[0].length < HEAD_BYTES) chunks = [Buffer.concat(chunks)];
      const end = HEAD_BYTES + chunks[0].readUInt32LE();
      if (length < end) return;
      const all = Buffer.concat(chunks);
      chunks = [all.subarray(end)];
      length -= end;
      const deserializer = new Deserializer(all.subarray(HEAD_BYTES, end));
      deserializer.readHeader();
      onMessage(deserializer.readValue());
    }
  };
}

module.exports = { encode, decoder };
