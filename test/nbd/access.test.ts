import test from 'ava';
import { OperatingError } from '../../src/core/errors.ts';
import { MAX_ACCESS_LINES, parseKeys, parseRights } from '../../src/nbd/access.ts';

const KEY = '00112233445566778899aabbccddeeff';

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof OperatingError && error.code === 'usage') return error.message;
    throw error;
  }
  return 'nothing was refused';
}

test('keys are read as psktool writes them', (t) => {
  const keys = parseKeys(`# ours\nqemu:${KEY}\n\n tenant-a:${KEY.toUpperCase()}00\r\n`, 'f');
  t.deepEqual([...keys.keys()], ['qemu', 'tenant-a']);
  t.is(Buffer.from(keys.get('qemu') ?? []).toString('hex'), KEY);
  t.is(keys.get('tenant-a')?.length, 17);
});

test('a wrong line is named, and no key is ever told', (t) => {
  const wrong = (text: string) => refusal(() => parseKeys(text, 'keys.psk'));
  for (const line of [
    'qemu',
    `:${KEY}`,
    'qemu:',
    `qemu:${KEY.slice(2)}`,
    `qemu:${KEY}0`,
    `qemu:zz${KEY}`,
  ]) {
    const text = wrong(`a:${KEY}\n${line}`);
    t.regex(text, /^line 2 of keys\.psk is not NAME:KEY/, line);
    t.false(text.includes(KEY.slice(4)));
  }
  t.regex(wrong(`a b:${KEY}`), /client name/);
  t.regex(wrong(`a:${KEY}\na:${KEY}`), /line 2 .* a second time/);
  t.is(wrong('# nothing\n'), 'keys.psk holds no key');
  t.regex(wrong('\n'.repeat(MAX_ACCESS_LINES + 1)), /more than/);
});

test('rights name volumes, or how their names begin', (t) => {
  const rule = parseRights('# who what\na  web db-*\nroot *\n', 'f');
  const may = (name: string) => ['web', 'web2', 'db-', 'db-1', 'db'].filter(rule(name).mayAttach);
  t.deepEqual(may('a'), ['web', 'db-', 'db-1']);
  t.deepEqual(may('root').length, 5);
  t.deepEqual(may('b'), []);
  t.deepEqual([rule('a').isKnown, rule('b').isKnown], [true, false]);
});

test('rights that say nothing, or more than is meant, are refused', (t) => {
  const wrong = (text: string) => refusal(() => parseRights(text, 'rights'));
  t.regex(wrong('a'), /line 1 of rights names no volume for "a"/);
  t.regex(wrong('a x*y'), /a \* inside of x\*y/);
  t.regex(wrong('a x\na y'), /line 2 .* a second time/);
  t.regex(wrong('a/b x'), /client name/);
});
