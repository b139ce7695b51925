// A client whose host vanishes without a word keeps nothing for long; one that lives and does not read keeps its connection.
// Method: channels that say how silent they are, and real ones in a network namespace where packets are just dropped.

import path from 'node:path';
import test from 'ava';
import { MAX_SILENT_MS, SILENCE_LOOK_MS, SilentClients } from '../../src/nbd/silent-clients.ts';
import { missingFaults } from '../e2e/faulty-net.ts';
import { missingNamespaces } from '../e2e/hosts.ts';
import { ManualClock, MemoryChannel, quietTrace } from './duplex.ts';
import { declareUnless, missingTools, run, succeed } from './tools.ts';

class TcpChannel extends MemoryChannel {
  silentMs = 0;

  silentForMs(): number {
    return this.silentMs;
  }
}

test('who acknowledges nothing is ended at the second look; who answers in between is not', (t) => {
  const clock = new ManualClock();
  const warned: unknown[] = [];
  const trace = { ...quietTrace, warn: (...all: unknown[]) => warned.push(all) };
  const silent = new SilentClients(clock, trace);
  const [gone, slow, fine] = [new TcpChannel(), new TcpChannel(), new TcpChannel()];
  for (const channel of [gone, slow, fine]) silent.watch(channel);
  gone.silentMs = MAX_SILENT_MS;
  slow.silentMs = MAX_SILENT_MS + 1;
  fine.silentMs = MAX_SILENT_MS - 1;
  clock.advance(SILENCE_LOOK_MS);
  t.false(gone.isDestroyed, 'this machine itself may have stood still');
  slow.silentMs = 0;
  clock.advance(SILENCE_LOOK_MS);
  t.deepEqual(
    [gone, slow, fine].map((one) => one.isDestroyed),
    [true, false, false],
  );
  t.is(warned.length, 1);
  slow.silentMs = MAX_SILENT_MS;
  clock.advance(SILENCE_LOOK_MS);
  t.false(slow.isDestroyed, 'counted anew');
  for (const channel of [gone, slow, fine]) silent.forget(channel);
  t.is(clock.timerCount, 0, 'nobody is left to look at');
});

test('channels that no network carries are not looked at', (t) => {
  const clock = new ManualClock();
  const silent = new SilentClients(clock, quietTrace);
  silent.watch(new MemoryChannel());
  t.is(clock.timerCount, 0);
});

declareUnless(missingNamespaces() || missingFaults() || missingTools('ip'), 'expected')(
  'a client that vanishes with a reply on its way is gone in seconds; one that does not read for as long is served',
  async (t) => {
    t.timeout(120_000);
    const space = `sheep${process.pid}-silent`;
    await succeed(t, 'ip', ['netns', 'add', space]);
    try {
      await succeed(t, 'ip', ['-n', space, 'link', 'set', 'lo', 'up']);
      const script = path.join(import.meta.dirname, 'silent-host.ts');
      const inside = ['netns', 'exec', space, process.execPath, script];
      const { stdout } = await succeed(t, 'ip', inside);
      const told = JSON.parse(stdout);
      t.log(told);
      t.true(told.isEnded, 'the kernel alone would take a quarter of an hour');
      t.true(told.endedMs >= 2_000);
      t.true(told.isServed, `it read on after ${told.stalledMs} ms`);
      t.deepEqual(told.warned, ['nbd.silent']);
    } finally {
      await run('ip', ['netns', 'del', space]);
    }
  },
);
