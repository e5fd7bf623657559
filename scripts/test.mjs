// The Rust tests, then the JavaScript tests against the built addon. Expects what setup brings.
//
//     npm test                              everything
//     npm test -- __test__/errors.spec.ts   one file of the JavaScript tests

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { cargo, root, run } from './tools.mjs';

const chosen = process.argv.slice(2);
const specs =
  chosen.length > 0
    ? chosen
    : readdirSync(join(root, '__test__'))
        .filter((name) => name.endsWith('.spec.ts'))
        .map((name) => join('__test__', name));

// Without the binding: these tests need neither napi nor Node.
if (chosen.length === 0) cargo(['test', '--no-default-features']);

run(process.execPath, ['--import', 'tsx', '--test', '--test-reporter', 'spec', ...specs]);
