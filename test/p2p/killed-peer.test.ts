// A peer in a process of its own that dies without a word: its channels close at once, and the next dial says that
// nobody listens (C1.8), within tens of milliseconds on an idle machine.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { hasCode, messageOf } from '../../src/core/errors.ts';
import type { PeerAddress } from '../../src/ports/ports.ts';
import { addressOf, newNetwork } from './network-fixtures.ts';

const child = fileURLToPath(new URL('./peer-process.ts', import.meta.url));
const MAX_NOTICE_MS = 1000;

/** While the kernel takes a killed process apart, its listening socket may outlive its channels by some milliseconds. */
async function dialUntilRefused(dial: () => Promise<unknown>, untilMs: number): Promise<unknown> {
  for (;;) {
    const error = await dial().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (hasCode(error, 'refused') || performance.now() >= untilMs) return error;
  }
}

test('a killed process is noticed by the broken channel and a refused dial', async (t) => {
  const a = await newNetwork();
  t.teardown(() => a.stop());
  const peer = spawn(process.execPath, [child, JSON.stringify(addressOf(a))], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface({ input: peer.stdout }), 'line')) as [string];
  const b = JSON.parse(line) as PeerAddress & { rssMiB: number };
  a.setPeers([b]);
  const channel = await a.openChannel(b.peer);
  const closed = new Promise<void>((resolve) => channel.onClose(resolve));
  const start = performance.now();
  peer.kill('SIGKILL');
  await closed;
  const error = await dialUntilRefused(() => a.openChannel(b.peer), start + MAX_NOTICE_MS);
  const tookMs = performance.now() - start;
  t.true(hasCode(error, 'refused'), messageOf(error));
  t.log(`noticed after ${tookMs.toFixed(0)} ms; the idle peer had ${b.rssMiB.toFixed(0)} MiB RSS`);
  t.true(tookMs < MAX_NOTICE_MS, `took ${tookMs} ms`);
  t.true(b.rssMiB < 150, `an idle network takes ${b.rssMiB} MiB`);
});
