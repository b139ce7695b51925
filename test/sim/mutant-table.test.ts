// The table of mutants: what is counted, how a row reads, and that the document has one for each.

import { readFileSync } from 'node:fs';
import test from 'ava';
import { withPart } from '../../sim/marked-part.ts';
import { SOURCE_MUTANTS } from '../../sim/mutants/source-mutants.ts';
import { allMutants, HEAD, rowOf, withRow } from '../../sim/mutants/table.ts';
import { scenarioNamed } from '../../sim/scenario-list.ts';

const DOC = new URL('../../docs/SIMULATOR.md', import.meta.url);
const ONE = { name: 'a', breaks: 'R4: x | y', story: 's', isOfSource: false };

test('a row names the seeds of each trial and their median', (t) => {
  const catches = [
    { seeds: 7, by: 'C-lin' },
    { seeds: 1, by: 'I2' },
    { seeds: 2, by: 'C-lin' },
  ];
  t.is(rowOf(ONE, catches), '| a | R4: x \\| y | s | C-lin, I2 | 7, 1, 2 | 2 |');
  t.is(rowOf(ONE, [{}]), '| a | R4: x \\| y | s |  | none | none |');
});

test('a table takes the place of the old one, and of nothing else', (t) => {
  const document = 'one\n<!-- begin mutants -->\nold\n<!-- end mutants -->\ntwo\n';
  const renewed = 'one\n<!-- begin mutants -->\nnew\n<!-- end mutants -->\ntwo\n';
  t.is(withPart(document, 'mutants', ['new']), renewed);
  t.throws(() => withPart('nothing', 'mutants', ['new']), {
    message: /no <!-- begin mutants --> in/,
  });
});

test('a mutant that was hunted alone renews its own row', (t) => {
  const document = 'one\n| a | x |\n| ab | x |\ntwo\n';
  t.is(withRow(document, '| a | y |'), 'one\n| a | y |\n| ab | x |\ntwo\n');
  t.throws(() => withRow(document, '| b | y |'), { message: /no row of b/ });
});

test('mutants have names of their own and stories that exist; the document has a caught row for each', (t) => {
  const mutants = allMutants();
  t.true(mutants.length >= 25);
  t.is(new Set(mutants.map(({ name }) => name)).size, mutants.length);
  const document = readFileSync(DOC, 'utf8');
  t.true(document.includes(HEAD.join('\n')), 'npm run sim:mutants -- --write docs/SIMULATOR.md');
  for (const { name, story } of mutants) {
    t.truthy(scenarioNamed(story), name);
    const row = document.split('\n').find((line) => line.startsWith(`| ${name} |`));
    t.truthy(
      row,
      `${name}: npm run sim:mutants -- --only ${name}, and its row into docs/SIMULATOR.md`,
    );
    t.notRegex(row ?? '', /\| none, none, none \|/, name);
  }
});

test('the text that a mutant of the source replaces is there, once', (t) => {
  for (const mutant of SOURCE_MUTANTS) {
    for (const { file, from } of [mutant, ...(mutant.also ?? [])]) {
      const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
      t.is(text.split(from).length, 2, `${mutant.name}: ${file}`);
    }
  }
});
