// The limits of a request's fields: what a receiver drops the channel for, and what it must not drop it for.

import test from 'ava';
import { requestFault } from '../../src/p2p/channel-rules.ts';
import { emptyFrame, FLAG, type Frame, OP } from '../../src/wire/frame.ts';

function request(fields: Partial<Frame>): Frame {
  return Object.assign(emptyFrame(), fields);
}

const DATA = new Uint8Array(4096);
const WRITE = {
  op: OP.WRITE,
  flags: FLAG.SECOND,
  count: DATA.length,
  payload: DATA,
  sums: new Uint8Array(4),
};

test('a gateway tells its strain in the status byte of its reads, writes and zeroes', (t) => {
  for (const status of [0, 32, 64, 255]) {
    t.is(requestFault(request({ op: OP.READ, count: 4096, status })), undefined);
    t.is(requestFault(request({ op: OP.ZERO, count: 4096, status })), undefined);
    t.is(requestFault(request({ ...WRITE, status })), undefined);
  }
});

test('the status byte of any other request is 0', (t) => {
  for (const op of [OP.SYNC, OP.SEAL, OP.CLOSE, OP.FETCH, OP.PING]) {
    t.is(requestFault(request({ op })), undefined);
    t.is(requestFault(request({ op, status: 32 })), 'a status in a request');
  }
});

test('unknown operations, ranges beyond the object and writes without data, version or sums are refused', (t) => {
  t.is(requestFault(request({ op: 250 })), 'unknown operation 250');
  t.is(
    requestFault(request({ op: OP.READ, offset: 4 * 1024 * 1024, count: 1 })),
    'a range beyond the object',
  );
  t.is(requestFault(request({ ...WRITE, payload: new Uint8Array(0) })), 'a write without its data');
  t.is(requestFault(request({ ...WRITE, flags: 0 })), 'a write without its version');
  t.is(requestFault(request({ ...WRITE, sums: new Uint8Array(0) })), 'a write without its sums');
});
