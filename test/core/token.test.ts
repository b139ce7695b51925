import test from 'ava';
import fc from 'fast-check';
import { hasCode } from '../../src/core/errors.ts';
import { decodeToken, encodeToken, MAX_TOKEN_ADDRESSES } from '../../src/core/token.ts';
import { CLUSTER_ID } from '../fixtures.ts';

const token = {
  clusterId: CLUSTER_ID,
  addresses: ['/ip4/10.0.0.1/tcp/7001/p2p/12D3KooWabc'],
  inviteId: 'a1b2c3',
  secret: 'c2VjcmV0',
};

const pack = (value: unknown): string =>
  `sheep1.${Buffer.from(JSON.stringify(value), 'utf8').toString('base64url')}`;

test('token: what was encoded is decoded, as one line without blanks', (t) => {
  const line = encodeToken(token);
  t.regex(line, /^[\w.-]+$/);
  t.deepEqual(decodeToken(line), token);
  t.deepEqual(decodeToken(`  ${line}\n`), token, 'as a terminal pastes it');
});

test('token: more addresses than a token holds are left out, not refused', (t) => {
  const addresses = Array.from({ length: 40 }, (_, i) => `/ip4/10.0.0.${i}/tcp/7001/p2p/key${i}`);
  const decoded = decodeToken(encodeToken({ ...token, addresses }));
  t.deepEqual(decoded.addresses, addresses.slice(0, MAX_TOKEN_ADDRESSES));
});

test('token: no part of a token passes for a whole one', (t) => {
  const line = encodeToken(token);
  for (let length = 0; length < line.length; length += 1) {
    const error = t.throws(() => decodeToken(line.slice(0, length)));
    t.true(hasCode(error, 'usage'), `${length}`);
  }
});

test('token: whatever lacks a field, or has one of another type, is refused as wrong usage', (t) => {
  const whole = { c: 'c', a: ['x'], i: 'i', s: 's' };
  t.notThrows(() => decodeToken(pack(whole)));
  const wrong: unknown[] = [
    null,
    7,
    'text',
    [],
    {},
    { ...whole, a: [] },
    { ...whole, a: [7] },
    { ...whole, a: 'x' },
    { ...whole, a: Array.from({ length: MAX_TOKEN_ADDRESSES + 1 }, () => 'x') },
    { ...whole, c: 1 },
    { ...whole, i: undefined },
    { ...whole, s: null },
  ];
  for (const value of wrong) {
    t.true(
      hasCode(
        t.throws(() => decodeToken(pack(value))),
        'usage',
      ),
      JSON.stringify(value),
    );
  }
});

test('token: any text is refused with a cure, or is a token', (t) => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), (text) => {
      try {
        decodeToken(`sheep1.${text}`);
      } catch (error) {
        return hasCode(error, 'usage');
      }
      return true;
    }),
  );
  t.true(
    hasCode(
      t.throws(() => decodeToken(`sheep1.${'A'.repeat(10_000)}`)),
      'usage',
    ),
  );
});
