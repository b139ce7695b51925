import test from 'ava';
import { MAX_JOURNAL_BYTES, MIN_JOURNAL_BYTES, nodeConfig } from '../src/config.ts';
import { hasCode } from '../src/core/errors.ts';
import { MAX_WEIGHT } from '../src/core/limits.ts';
import { MIB } from '../src/core/units.ts';

test('config: what is not given has a default that is legal, and the whole is frozen', (t) => {
  const config = nodeConfig();
  t.deepEqual(config, {
    zone: '',
    weight: 1,
    isWitness: false,
    isInspected: false,
    isRecoveryEnabled: true,
    mapLog: {},
    journalBytes: 256 * MIB,
    scrubLightMs: 86_400_000,
    scrubDeepMs: 604_800_000,
    scrubBytesPerSecond: 32 * 1024 * 1024,
    dataTls: 'auto',
    nearfull: 0.85,
    full: 0.95,
  });
  t.true(Object.isFrozen(config));
  t.deepEqual(nodeConfig({ weight: 3 }), { ...config, weight: 3 });
});

test('config: the bounds themselves are legal', (t) => {
  for (const weight of [0, MAX_WEIGHT]) t.is(nodeConfig({ weight }).weight, weight);
  for (const journalBytes of [MIN_JOURNAL_BYTES, MAX_JOURNAL_BYTES]) {
    t.is(nodeConfig({ journalBytes }).journalBytes, journalBytes);
  }
  t.is(nodeConfig({ zone: 'r'.repeat(64) }).zone.length, 64);
});

test('config: what does not fit is refused, and the flag is named', (t) => {
  const wrong = [
    ['--zone', { zone: 'r'.repeat(65) }],
    ['--zone', { zone: 'rack 1' }],
    ['--zone', { zone: 'räck' }],
    ['--weight', { weight: -1 }],
    ['--weight', { weight: 1.5 }],
    ['--weight', { weight: MAX_WEIGHT + 1 }],
    ['--weight', { weight: Number.NaN }],
    ['--journal', { journalBytes: MIN_JOURNAL_BYTES - MIB }],
    ['--journal', { journalBytes: MAX_JOURNAL_BYTES + MIB }],
    ['--journal', { journalBytes: MIN_JOURNAL_BYTES + 1 }],
    ['--journal', { journalBytes: Number.NaN }],
    ['--full', { full: 0.99 }],
    ['--full', { full: Number.NaN }],
    ['--nearfull', { nearfull: 0.96 }],
    ['--data-tls', { dataTls: 'sometimes' as never }],
  ] as const;
  for (const [flag, changes] of wrong) {
    const error = t.throws(() => nodeConfig(changes));
    t.true(hasCode(error, 'usage'));
    t.true(error?.message.startsWith(flag), `${flag} ${JSON.stringify(changes)}`);
  }
});
