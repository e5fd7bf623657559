// Makes this process look like one of Electron's.

/** `type` is 'browser' in the main process, and undefined in what child_process.fork starts. */
function disguise(type) {
  const { versions } = process;
  Object.defineProperty(process, 'versions', {
    ...Object.getOwnPropertyDescriptor(process, 'versions'),
    value: Object.freeze({ ...versions, electron: '33.4.11', chrome: '130.0.6723.191' }),
  });
  if (type !== undefined) Object.defineProperty(process, 'type', { enumerable: true, value: type });
}

module.exports = { disguise };
