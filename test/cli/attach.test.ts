// `dog vdi attach` against a fake node behind the real HTTP front: which door, which words, which refusals. Whether QEMU and
// libvirt understand the words: attach-judges.test.ts.

import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { labelOf, qemuText, shellWord } from '../../src/cli/attach-text.ts';
import type { DoorData } from '../../src/core/admin-shapes.ts';
import { FakeNode } from '../api/fake-node.ts';
import { served } from '../api/served.ts';
import { clusterOf, entryBodies } from '../fixtures.ts';
import { dog } from './dog.ts';

const UNIX: DoorData = { kind: 'unix', path: '/run/sheep/nbd.sock' };
const TLS: DoorData = { kind: 'tcp', host: '0.0.0.0', port: 10809, proofs: ['keys'] };
const PLAIN: DoorData = { kind: 'tcp-plain', host: '127.0.0.1', port: 4711, proofs: [] };

async function withDoors(t: ExecutionContext, ...doors: DoorData[]) {
  const node = new FakeNode(clusterOf({ nodes: 3 }), 2);
  node.cell.apply(entryBodies.volumeCreate({ name: 'demo' }));
  const addresses = ['/ip4/0.0.0.0/tcp/7001', '/ip4/10.0.0.2/tcp/7001'];
  node.cell.apply({ ...entryBodies.nodeUp({ node: 2, incarnation: 2 }), addresses });
  const { socketPath } = await served(t, node, doors);
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  return (...args: string[]) => dog(['vdi', 'attach', ...args], env);
}

test("QEMU's arguments: three lines for a shell, one word per line with -r", async (t) => {
  const attach = await withDoors(t, PLAIN, UNIX);
  const { out, code } = await attach('demo');
  t.is(code, 0);
  t.is(
    out,
    `-object iothread,id=demo-io \\
-blockdev driver=nbd,node-name=demo,server.type=unix,server.path=/run/sheep/nbd.sock,export=demo,reconnect-delay=300,discard=unmap,detect-zeroes=unmap,cache.direct=on,cache.no-flush=off \\
-device virtio-blk-pci,drive=demo,iothread=demo-io,serial=demo
`,
  );
  const raw = (await attach('demo', '-r')).out.trimEnd().split('\n');
  t.is(raw.length, 6);
  t.is(raw.map(shellWord).join(' '), out.replaceAll(' \\\n', ' ').trimEnd());
});

test('libvirt and the kernel: the same door in their words', async (t) => {
  const attach = await withDoors(t, UNIX, PLAIN);
  t.regex(
    (await attach('demo', '--libvirt')).out,
    /<host transport='unix' socket='\/run\/sheep\/nbd\.sock'\/>\s+<reconnect delay='300'\/>/,
  );
  const passed = (await attach('demo', '--libvirt-args')).out;
  t.regex(passed, /value='driver=nbd,.*,reconnect-delay=300,/);
  t.regex(passed, /value='virtio-blk-pci,.*,addr=0x1e'/);
  const kernel = (await attach('demo', '--nbd-client', '-r')).out.split('\n');
  t.is(kernel[0], 'modprobe nbd');
  t.is(
    kernel[1],
    'nbd-client -unix /run/sheep/nbd.sock /dev/nbd0 -name demo -block-size 4096 -connections 4',
  );
  t.regex((await attach('demo', '--nbd-client', '--tcp')).out, /nbd-client 127\.0\.0\.1 4711 /);
});

test('by TCP: TLS before the clear; who listens everywhere is reached where members reach it', async (t) => {
  const attach = await withDoors(t, UNIX, PLAIN, TLS);
  const { out } = await attach('demo', '--tcp', '--tls-user', 'web', '--tls-dir', '/etc/a,b');
  t.regex(out, /-object tls-creds-psk,id=demo-tls,endpoint=client,dir=\/etc\/a,,b,username=web/);
  t.regex(out, /server\.type=inet,server\.host=10\.0\.0\.2,server\.port=10809,/);
  t.regex(out, /,tls-creds=demo-tls,/);
});

test('--json says everything at once', async (t) => {
  const attach = await withDoors(t, UNIX, TLS);
  const both = JSON.parse((await attach('demo', '--json')).out);
  t.is(both.schema, 'dog/vdi.attach/1');
  t.like(both.data, { name: 'demo', node: 'n2', door: UNIX });
  t.is(both.data.uri, 'nbd+unix:///demo?socket=/run/sheep/nbd.sock');
  t.is(both.data.doors.length, 2);
  t.is(both.data.qemu.length, 6);
  t.regex(both.data.libvirt, /^<disk /);
  t.is(both.data.nbdClient.length, 3);
  const keys = JSON.parse((await attach('demo', '--json', '--tcp')).out);
  t.is(keys.data.libvirt, null);
  t.is(keys.data.nbdClient, null);
});

test('refusals name the cure', async (t) => {
  const none = await withDoors(t);
  const dark = await none('demo');
  t.is(dark.code, 5);
  t.regex(dark.err, /n2 serves no guests: it has no --nbd address\n {2}cure: .*--nbd unix:PATH/);
  const attach = await withDoors(t, UNIX);
  const missing = await attach('dmeo');
  t.is(missing.code, 5);
  t.regex(missing.err, /there is no volume "dmeo"\n {2}cure: list them with "dog vdi list"/);
  t.regex(
    (await attach('demo', '--tcp')).err,
    /by its unix socket only\n {2}cure: leave out --tcp/,
  );
  t.is((await attach('demo', '--tcp')).code, 5);
  t.is((await attach('demo', '--libvirt', '--nbd-client')).code, 64);
  t.is((await attach('a/b')).code, 64);
  const keys = await withDoors(t, TLS);
  for (const how of ['--libvirt', '--nbd-client']) {
    const { code, err } = await keys('demo', how);
    t.is(code, 64);
    t.regex(err, /proves itself by certificates, and n2 takes keys only\n {2}cure: .*--nbd-certs/);
  }
});

test('whatever a volume is called: one word of a shell, one label that QEMU takes', (t) => {
  t.is(shellWord("it's"), `'it'\\''s'`);
  t.is(shellWord('/run/a b'), `'/run/a b'`);
  t.is(labelOf('demo'), 'demo');
  t.regex(labelOf('9lives,&<'), /^v9lives----[0-9a-z]{4,7}$/);
  const alike = ['a,b', 'a=b', 'a b', '9x', 'v9x', 'v9x,', 'production-database-primary-1'];
  const labels = [...alike, 'production-database-primary-2'].map(labelOf);
  t.is(new Set(labels).size, labels.length, labels.join(' '));
  t.is(labelOf('x'.repeat(200)).length, 20);
  t.regex(labelOf('Größe'), /^[A-Za-z][A-Za-z0-9._-]*$/);
});

test('the README says what the command says', (t) => {
  const door = { kind: 'unix', path: '$PWD/.sheepdog/n1/nbd.sock' } as const;
  const words = qemuText({ name: 'demo', door, proof: { dir: '', user: '' } }, '  ');
  // The shell is to fill in where it is: quoted the other way.
  t.true(readFileSync('README.md', 'utf8').includes(words.replaceAll("'", '')));
});
