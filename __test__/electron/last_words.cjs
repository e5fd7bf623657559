// Loaded into a worker process, which prints something and crashes when it is asked to.

const { writeSync } = require('node:fs');

process.on('SIGUSR2', () => {
  writeSync(2, 'these are the last words\n');
  process.abort();
});
