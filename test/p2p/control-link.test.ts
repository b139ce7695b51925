// A peer that takes a stream and closes it at once (it runs, and does not know us) must cost no more than one that is
// dead, and neither may fill the log.

import type { Stream } from '@libp2p/interface';
import test from 'ava';
import type { PeerKey } from '../../src/core/ids.ts';
import { ControlLink } from '../../src/p2p/control-link.ts';
import { FakeClock } from '../datapath/fake-clock.ts';

const PEER = 'peer-2' as PeerKey;
const STEP_MS = 10;

/** As much of a stream as a link uses: sends go nowhere. */
class FakeStream extends EventTarget {
  status = 'open';
  readonly writableNeedsDrain = false;
  send(): boolean {
    return true;
  }
  async close(): Promise<void> {
    this.status = 'closed';
    this.dispatchEvent(new Event('close'));
  }
  abort(): void {}
}

function world(open: () => FakeStream) {
  const clock = new FakeClock();
  const told: string[] = [];
  let dials = 0;
  const link = new ControlLink({
    clock,
    peer: PEER,
    trace: {
      event: (name, fields) => told.push(`${name} ${JSON.stringify(fields)}`),
      warn: () => undefined,
      count: () => undefined,
    },
    open: async () => {
      dials += 1;
      return open() as unknown as Stream;
    },
    onOpened: () => undefined,
  });
  /** Something is said every 10 ms. */
  const talk = async (ms: number): Promise<number> => {
    const before = dials;
    for (let at = 0; at < ms; at += STEP_MS) {
      link.send(Uint8Array.of(1));
      await new Promise(setImmediate);
      clock.run(STEP_MS);
    }
    return dials - before;
  };
  return { link, talk, told };
}

test('a peer that closes each stream at once is dialled ever more rarely, and told once, by name', async (t) => {
  const { link, talk, told } = world(() => {
    const stream = new FakeStream();
    stream.status = 'closed';
    return stream;
  });
  const dials = await talk(20_000);
  t.true(dials > 15 && dials < 30, `${dials} dials in 20 s`);
  t.is(told.length, 1);
  t.regex(told[0] ?? '', /^control\.link\.broken .*"peer":"peer-2".*closed/);
  link.stop();
});

test('a stream that is ended before anything was sent waits as well', async (t) => {
  const { link, talk } = world(() => {
    const stream = new FakeStream();
    setImmediate(() => void stream.close());
    return stream;
  });
  t.true((await talk(20_000)) < 30);
  link.stop();
});

test('another reason is told, and so is the next break of a link that lived', async (t) => {
  let stream = new FakeStream();
  let failure: string | undefined = 'refused';
  const { link, talk, told } = world(() => {
    if (failure !== undefined) throw new RangeError(failure);
    stream = new FakeStream();
    return stream;
  });
  await talk(5000);
  t.is(told.length, 1, 'one outage, one line');
  failure = 'no route';
  await talk(5000);
  t.is(told.length, 2);
  failure = undefined;
  await talk(5000);
  failure = 'no route';
  await stream.close();
  await talk(5000);
  t.is(told.length, 3, 'the same reason, another outage');
  link.stop();
});
