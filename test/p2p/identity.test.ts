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
        target.set((files.get(path) ?? new Uint8Array(0)).subarray(0, target.length));
        return target.length;
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
