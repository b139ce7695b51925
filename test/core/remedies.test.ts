// What a refusal advises is true where there is one copy, and no other text of the program says that others have the data.

import fs from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { NEW_IDENTITY, REPLACE_OR_FIND, REPLACE_OR_RESTORE } from '../../src/core/remedies.ts';

const SOURCE = path.join(import.meta.dirname, '..', '..', 'src');

test('remedies: whoever has the only copy is told to keep it; the commands are those that there are', (t) => {
  for (const text of [NEW_IDENTITY, REPLACE_OR_FIND, REPLACE_OR_RESTORE]) {
    t.regex(text, /if it keeps none \(one node, or one copy\).*keep it/);
    t.regex(text, /sheep --join TOKEN/);
  }
  t.regex(REPLACE_OR_RESTORE, /if the cluster keeps other copies .*dog node forget/);
});

test('remedies: no text of the program claims that others have what may be the only copy', (t) => {
  const claim = /the (other copies are complete|others hold the data|other nodes hold)/;
  for (const file of fs.readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    t.notRegex(fs.readFileSync(path.join(SOURCE, file), 'utf8'), claim, file);
  }
});
