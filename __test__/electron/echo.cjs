// A utility process that tells what it was sent, and what it is.

const { parentPort } = process;

parentPort.on('message', ({ data }) => {
  parentPort.postMessage({
    name: Object.prototype.toString.call(data),
    isBuffer: Buffer.isBuffer(data),
    lengths: [data.length, data.buffer.byteLength],
    send: typeof process.send,
    type: process.type,
  });
});
