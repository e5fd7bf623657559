import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { OpuscribeError } from './error.js';

const LIBRARY =
  process.platform === 'win32'
    ? 'onnxruntime.dll'
    : process.platform === 'darwin'
      ? 'libonnxruntime.1.dylib'
      : 'libonnxruntime.so.1';

/**
 * The absolute path of the ONNX Runtime library: the one `ORT_DYLIB_PATH` names, the one beside the
 * addon, or the one in the package `onnxruntime-node`, whose own addon is not loaded.
 */
export function onnxRuntimePath(): string {
  const { ORT_DYLIB_PATH } = process.env;
  if (ORT_DYLIB_PATH) return ORT_DYLIB_PATH;
  const beside = join(__dirname, '..', LIBRARY);
  if (existsSync(beside)) return beside;
  const installed = inOnnxruntimeNode();
  if (installed !== undefined) return installed;
  throw new OpuscribeError(
    'ERR_DEVICE_UNAVAILABLE',
    `no ONNX Runtime library was found: neither ORT_DYLIB_PATH nor '${beside}' nor the package ` +
      "onnxruntime-node. Run 'npm install --ignore-scripts onnxruntime-node' (its script fetches a GPU build) or set ORT_DYLIB_PATH to the library's path",
  );
}

function inOnnxruntimeNode(): string | undefined {
  let bin: string;
  try {
    const main = require.resolve('onnxruntime-node', { paths: [__dirname, process.cwd()] });
    bin = join(dirname(main), '..', 'bin');
  } catch {
    return undefined;
  }
  // One folder for each version of Node-API, of which a package has one.
  const folders = existsSync(bin)
    ? readdirSync(bin).filter((name) => name.startsWith('napi-v'))
    : [];
  return folders
    .map((folder) => join(bin, folder, process.platform, process.arch, LIBRARY))
    .find((path) => existsSync(path));
}
