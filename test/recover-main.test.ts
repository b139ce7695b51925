// `sheep unsafe-recover` before it does anything: a directory that is not a member's is refused, and nothing is made there.

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import test from 'ava';
import { hasCode } from '../src/core/errors.ts';
import { unsafeRecover } from '../src/recover-main.ts';

const TERMINAL = { say: () => undefined, ask: undefined, exists: fs.existsSync };

test('unsafe-recover: a mistyped directory is refused, not made', async (t) => {
  const parent = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-recover-'));
  const directory = path.join(parent, 'typo', 'deeper');
  const error = await t.throwsAsync(unsafeRecover([directory, '--yes-i-accept-loss'], TERMINAL));
  t.true(hasCode(error, 'missing'), String(error));
  t.true(error?.message.includes(directory));
  t.deepEqual(fs.readdirSync(parent), []);
  fs.rmSync(parent, { recursive: true });
});

test('unsafe-recover: a directory of something else is left as it is', async (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-recover-'));
  fs.writeFileSync(path.join(directory, 'letter'), 'hello');
  const error = await t.throwsAsync(unsafeRecover([directory, '--yes-i-accept-loss'], TERMINAL));
  t.regex(String(error), /belongs to no cluster/);
  t.deepEqual(fs.readdirSync(directory), ['letter']);
  fs.rmSync(directory, { recursive: true });
});
