import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { invalidArgument, OpuscribeError } from './error.js';
import { describe } from './packets.js';

/** A bare name such as `tiny.en` or `large-v3-turbo-q5_0`: no separator, no file extension. */
const CATALOGUE_NAME = /^[a-z0-9][a-z0-9._-]*$/;

/** What is kept from one run to the next, models included; `OPUSCRIBE_CACHE` replaces it. */
export function cacheFolder(): string {
  const { OPUSCRIBE_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  if (OPUSCRIBE_CACHE) return OPUSCRIBE_CACHE;
  switch (process.platform) {
    case 'darwin':
      return join(homedir(), 'Library', 'Caches', 'opuscribe');
    case 'win32':
      return join(LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local'), 'opuscribe');
    default:
      return join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'opuscribe');
  }
}

/** The folder that holds models by catalogue name; `OPUSCRIBE_MODELS` replaces it. */
export function modelsFolder(): string {
  return process.env.OPUSCRIBE_MODELS || join(cacheFolder(), 'models');
}

/** The path of a model that is given by path or by catalogue name. */
export function resolveModel(model: string): string {
  if (typeof model !== 'string' || model === '') {
    throw invalidArgument(
      `model is ${model === '' ? 'empty' : describe(model)}; expected a path or a name such as 'tiny.en'`,
    );
  }
  if (!CATALOGUE_NAME.test(model) || /\.(bin|ggml|gguf)$/.test(model)) return model;
  const path = join(modelsFolder(), `ggml-${model}.bin`);
  if (existsSync(path)) return path;
  throw new OpuscribeError(
    'ERR_MODEL_NOT_FOUND',
    `model '${model}' is not there: no file '${path}'. Put the ggml file there, set ` +
      'OPUSCRIBE_MODELS to the folder that has it, or pass its path',
  );
}
