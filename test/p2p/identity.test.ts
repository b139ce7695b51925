import test from 'ava';
import { hasCode } from '../../src/core/errors.ts';
import { KEY_FILE, loadOrCreateKey } from '../../src/p2p/identity.ts';
import type { Disk, DiskFile } from '../../src/ports/ports.ts';

/** Files in memory, and in which order what was made durable. */
function createMemoryDisk() {
  const files = new Map<string, Uint8Array>();
  const steps: string[] = [];
  const fileOf = (path: string): DiskFile =>
    ({
      sizeSync: () => files.get(path)?.length ?? 0,
      readSync: (target: Uint8Array) => {
        const bytes = (files.get(path) ?? new Uint8Array(0)).subarray(0, target.length);
        target.set(bytes);
        return bytes.length;
      },
      writeSync: (bytes: Uint8Array) => files.set(path, bytes.slice()),
      sync: (done: (error: Error | undefined) => void) => {
        steps.push(`sync ${path}`);
        done(undefined);
      },
      close: () => undefined,
    }) as unknown as DiskFile;
  const disk = {
    open: (path: string, { create }: { create: boolean }) =>
      create || files.has(path) ? fileOf(path) : undefined,
    remove: (path: string) => files.delete(path),
    rename: (from: string, to: string) => {
      steps.push(`rename to ${to}`);
      files.set(to, files.get(from) as Uint8Array);
      files.delete(from);
    },
    syncFolder: (path: string, done: (error: Error | undefined) => void) => {
      steps.push(`sync folder '${path}'`);
      done(undefined);
    },
  } as unknown as Disk;
  return { disk, files, steps };
}

test('a key is synced before it is used, and the same ever after', async (t) => {
  const { disk, files, steps } = createMemoryDisk();
  const first = await loadOrCreateKey(disk);
  t.deepEqual(steps, ['sync identity.key.new', `rename to ${KEY_FILE}`, "sync folder ''"]);
  const second = await loadOrCreateKey(disk);
  t.is(second.peerKey, first.peerKey);
  t.deepEqual(second.privateKey, first.privateKey);
  t.deepEqual([...files.keys()], [KEY_FILE]);
});

test('a damaged key file is an error with a cure, not a new identity', async (t) => {
  const { disk, files } = createMemoryDisk();
  await loadOrCreateKey(disk);
  files.set(KEY_FILE, Uint8Array.of(1, 2, 3));
  const error = await t.throwsAsync(loadOrCreateKey(disk));
  t.true(hasCode(error, 'corrupt'));
});

test('a bit turned anywhere in the key file is found, and the file named', async (t) => {
  const { disk, files } = createMemoryDisk();
  await loadOrCreateKey(disk);
  const whole = files.get(KEY_FILE) as Uint8Array;
  for (let bit = 0; bit < whole.length * 8; bit += 1) {
    const turned = whole.slice();
    turned[bit >> 3]! ^= 1 << (bit & 7);
    files.set(KEY_FILE, turned);
    const error = await t.throwsAsync(loadOrCreateKey(disk), undefined, `bit ${bit}`);
    t.true(hasCode(error, 'corrupt') && error.message.includes(KEY_FILE), `bit ${bit}: ${error}`);
    t.deepEqual(files.get(KEY_FILE), turned, 'left for a person to look at');
  }
  for (const bytes of [new Uint8Array(0), whole.subarray(0, 67), new Uint8Array([...whole, 0])]) {
    files.set(KEY_FILE, bytes);
    t.true(hasCode(await t.throwsAsync(loadOrCreateKey(disk)), 'corrupt'));
  }
});

test('a data directory that lost its key does not become another node', async (t) => {
  const { disk, files } = createMemoryDisk();
  await loadOrCreateKey(disk);
  files.delete(KEY_FILE);
  files.set('superblock', Uint8Array.of(1));
  const error = await t.throwsAsync(loadOrCreateKey(disk));
  t.true(hasCode(error, 'corrupt') && /identity\.key is missing/.test(error.message));
  t.deepEqual([...files.keys()], ['superblock'], 'and no key was made');
});
