import test from 'ava';
import {
  type Answer,
  type Command,
  type CommandKind,
  judgeCommands,
} from '../../sim/checkers/linearizable.ts';
import { SimRandom } from '../../sim/sim-random.ts';

type Line = readonly [
  kind: CommandKind,
  start: number,
  end: number,
  answer: string,
  session?: number,
  name?: string,
];

/** `ok 7`, `held`, ...; `?` = no answer. */
function history(...lines: readonly Line[]): readonly Command[] {
  return lines.map(([kind, start, end, text, session = 0, name = 'a']) => {
    const [code = '', id] = text.split(' ');
    const named = id === undefined ? {} : { id: Number(id) };
    const answer = code === '?' ? undefined : { code: code as Answer['code'], ...named };
    return { kind, name, session, start, end: answer === undefined ? Infinity : end, answer };
  });
}

const LIFE = history(
  ['delete', 1, 2, 'missing'],
  ['create', 3, 4, 'ok 1'],
  ['create', 5, 6, 'exists'],
  ['lock', 7, 8, 'ok 1', 1],
  ['delete', 9, 10, 'held'],
  ['lock', 11, 12, 'held', 2],
  ['release', 13, 14, 'ok', 1],
  ['lock', 15, 16, 'ok 1', 2],
  ['release', 17, 18, 'ok', 2],
  ['delete', 19, 20, 'ok'],
  ['lock', 21, 22, 'missing', 3],
  ['create', 23, 24, 'ok 4'],
);

const RIGHT: Readonly<Record<string, readonly Command[]>> = {
  'one after the other': LIFE,
  'two creates at once, one wins': history(['create', 1, 10, 'exists'], ['create', 2, 9, 'ok 1']),
  'a create without an answer takes effect late': history(
    ['create', 1, 0, '?'],
    ['delete', 2, 3, 'missing'],
    ['create', 4, 5, 'exists'],
    ['lock', 6, 7, 'ok 9', 1],
  ),
  'or never': history(['create', 1, 0, '?'], ['delete', 2, 3, 'missing']),
  'a delete without an answer takes effect late': history(
    ['create', 1, 2, 'ok 1'],
    ['delete', 3, 0, '?'],
    ['create', 4, 5, 'exists'],
    ['create', 6, 7, 'ok 2'],
  ),
  'the lock of a node that something befell is taken over': history(
    ['create', 1, 2, 'ok 1'],
    ['lock', 3, 4, 'ok 1', 1],
    ['lapse', 5, 0, '?', 1],
    ['lock', 6, 7, 'held', 2],
    ['lock', 8, 9, 'ok 1', 2],
    ['release', 10, 11, 'ok', 1],
    ['delete', 12, 13, 'held'],
  ),
  'a lock without an answer is swept': history(
    ['create', 1, 2, 'ok 1'],
    ['lock', 3, 0, '?', 1],
    ['release', 4, 0, '?', 1],
    ['delete', 5, 6, 'held'],
    ['delete', 7, 8, 'ok'],
  ),
  'who opened what was deleted hears that it is gone': history(
    ['create', 1, 2, 'ok 1'],
    ['delete', 3, 4, 'ok'],
    ['create', 5, 6, 'ok 2'],
    ['lock', 7, 8, 'gone 1', 1],
  ),
  'names do not meet': history(
    ['create', 1, 2, 'ok 1', 0, 'a'],
    ['delete', 3, 4, 'missing', 0, 'b'],
    ['create', 5, 6, 'ok 2', 0, 'b'],
  ),
};

for (const [what, commands] of Object.entries(RIGHT)) {
  test(`right: ${what}`, (t) => {
    t.deepEqual(judgeCommands(commands), { outcome: 'right', reason: '' });
  });
}

const WRONG: Readonly<Record<string, readonly Command[]>> = {
  'missing for what was made before the question': history(
    ['create', 1, 2, 'ok 1'],
    ['delete', 3, 4, 'missing'],
  ),
  'exists for what was deleted before the question': history(
    ['create', 1, 2, 'ok 1'],
    ['delete', 3, 4, 'ok'],
    ['create', 5, 6, 'exists'],
  ),
  'exists, and nobody ever made it': history(['create', 1, 2, 'exists']),
  'applied twice: deleted again after a second create': history(
    ['create', 1, 2, 'ok 1'],
    ['delete', 3, 4, 'ok'],
    ['create', 5, 6, 'ok 2'],
    ['delete', 7, 8, 'missing'],
  ),
  'two creates of one name are done': history(['create', 1, 10, 'ok 1'], ['create', 2, 9, 'ok 2']),
  'two deletes of one volume are done': history(
    ['create', 1, 2, 'ok 1'],
    ['delete', 3, 10, 'ok'],
    ['delete', 4, 9, 'ok'],
  ),
  'two holders, and nothing befell the first': history(
    ['create', 1, 2, 'ok 1'],
    ['lock', 3, 4, 'ok 1', 1],
    ['lock', 5, 6, 'ok 1', 2],
  ),
  'taken over before anything befell the holder': history(
    ['create', 1, 2, 'ok 1'],
    ['lock', 3, 4, 'ok 1', 1],
    ['lock', 5, 6, 'ok 1', 2],
    ['lapse', 7, 0, '?', 1],
  ),
  'held after it was given back': history(
    ['create', 1, 2, 'ok 1'],
    ['lock', 3, 4, 'ok 1', 1],
    ['release', 5, 6, 'ok', 1],
    ['lock', 7, 8, 'held', 2],
  ),
  'deleted under its holder': history(
    ['create', 1, 2, 'ok 1'],
    ['lock', 3, 4, 'ok 1', 1],
    ['delete', 5, 6, 'ok'],
  ),
  'a lock of another volume than the one that is there': history(
    ['create', 1, 2, 'ok 1'],
    ['delete', 3, 4, 'ok'],
    ['create', 5, 6, 'ok 2'],
    ['lock', 7, 8, 'ok 1', 1],
  ),
  'gone, though it is there': history(['create', 1, 2, 'ok 1'], ['lock', 3, 4, 'gone 1', 1]),
  'an effect before its command was given': history(
    ['create', 1, 2, 'exists'],
    ['create', 3, 0, '?'],
  ),
  'a number comes twice': history(
    ['create', 1, 2, 'ok 1'],
    ['delete', 3, 4, 'ok'],
    ['create', 5, 6, 'ok 1'],
  ),
};

for (const [what, commands] of Object.entries(WRONG)) {
  test(`wrong: ${what}`, (t) => {
    const { outcome, reason } = judgeCommands(commands);
    t.is(outcome, 'wrong');
    t.regex(reason, /^C2\.3: no order of commands explains /);
  });
}

/** Every other answer that a command of this kind can have. */
const OTHERS: Readonly<Record<CommandKind, readonly string[]>> = {
  create: ['ok', 'exists'],
  delete: ['ok', 'missing', 'held'],
  lock: ['ok', 'held', 'missing'],
  release: [],
  lapse: [],
};

test('a right history with any one answer changed is rejected', (t) => {
  let count = 0;
  for (const [at, command] of LIFE.entries()) {
    for (const code of OTHERS[command.kind]) {
      if (code === command.answer?.code) continue;
      const changed: Command = { ...command, answer: { code: code as Answer['code'] } };
      t.is(judgeCommands(LIFE.with(at, changed)).outcome, 'wrong', `${at} ${code}`);
      count += 1;
    }
  }
  t.true(count > 12);
});

test('a hundred commands without an answer do not drown the search', (t) => {
  const doubts = Array.from(
    { length: 100 },
    (_, i): Line => [i % 2 === 0 ? 'create' : 'delete', i + 1, 0, '?'],
  );
  t.is(judgeCommands(history(...doubts, ['create', 201, 202, 'exists'])).outcome, 'right');
  const wrong = history(
    ...doubts.slice(0, 12),
    ['create', 201, 202, 'exists'],
    ['lock', 203, 204, 'held', 1],
  );
  t.is(judgeCommands(wrong).outcome, 'wrong');
});

interface Plain {
  readonly isHere: boolean;
  readonly holder: number;
}

/** What the command answers here, and what is then: a second telling of the rules, without numbers and lapses. */
function tell({ isHere, holder }: Plain, kind: CommandKind, session: number): [string, Plain] {
  const now = { isHere, holder };
  if (kind === 'create') return isHere ? ['exists', now] : ['ok', { isHere: true, holder: 0 }];
  if (kind === 'release') return ['ok', holder === session ? { isHere, holder: 0 } : now];
  if (!isHere) return ['missing', now];
  if (kind === 'delete') return holder === 0 ? ['ok', { isHere: false, holder }] : ['held', now];
  return holder === 0 || holder === session ? ['ok', { isHere, holder: session }] : ['held', now];
}

/** Tries every order of all commands. */
function isOrdered(left: readonly Command[], state: Plain): boolean {
  if (!left.some(({ answer }) => answer !== undefined)) return true;
  return left.some((command) => {
    if (left.some(({ end }) => end < command.start)) return false;
    const [code, next] = tell(state, command.kind, command.session);
    if (command.answer !== undefined && command.answer.code !== code) return false;
    return isOrdered(
      left.filter((other) => other !== command),
      next,
    );
  });
}

test('the search judges small histories as trying every order does', (t) => {
  const kinds: readonly CommandKind[] = ['create', 'delete', 'lock', 'release'];
  const seen = { right: 0, wrong: 0, undecided: 0 };
  for (let round = 0; round < 3000; round += 1) {
    const random = new SimRandom(`history ${round}`);
    const draw = (below: number): number => random.between(0, below - 1);
    const lines = Array.from({ length: 3 + draw(4) }, (_, i): Line => {
      const kind = kinds[draw(4)] as CommandKind;
      const codes = kind === 'release' ? ['ok'] : OTHERS[kind];
      const code = draw(6) === 0 ? '?' : (codes[draw(codes.length)] as string);
      const session = kind === 'lock' || kind === 'release' ? 1 + draw(2) : 0;
      const start = 10 * draw(6) + i / 10;
      return [kind, start, start + 1 + draw(30) + i / 100, code, session];
    });
    const commands = history(...lines);
    const { outcome } = judgeCommands(commands);
    seen[outcome] += 1;
    const isRight = isOrdered(commands, { isHere: false, holder: 0 });
    t.is(outcome, isRight ? 'right' : 'wrong', `round ${round}: ${JSON.stringify(lines)}`);
  }
  t.true(seen.right > 200 && seen.wrong > 200, JSON.stringify(seen));
});
