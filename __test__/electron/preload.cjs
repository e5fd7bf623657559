// Loaded with --require, before a script that is to believe that it runs in Electron: in its main
// process, or in one of the type that ELECTRON_DOUBLE_TYPE names, '' for none.

const childProcess = require('node:child_process');
const Module = require('node:module');
const { disguise } = require('./disguise.cjs');
const electron = require('./electron.cjs');

const { ELECTRON_DOUBLE_TYPE: type = 'browser' } = process.env;
disguise(type || undefined);

const { observed } = electron;
// Elsewhere the module has neither an app nor utility processes.
const exposed = type === 'browser' ? electron : { observed };
const load = Module._load;
Module._load = (request, ...rest) =>
  request === 'electron' ? exposed : load.call(Module, request, ...rest);

const { fork } = childProcess;
childProcess.fork = (...forked) => {
  observed.childForks += 1;
  return fork(...forked);
};
