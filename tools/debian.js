// The judges that are not ours: QEMU, libnbd, fio and so on. Installed by apt-get when missing and this is root on a
// Debian; else the tests that need one are skipped and say so. Plain JavaScript without packages.

import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import path from 'node:path';

/** A package and the file that proves it: a command on PATH, or an absolute path. */
const WANTED = [
  ['qemu-system-x86', 'qemu-system-x86_64'],
  ['qemu-utils', 'qemu-io'],
  ['libnbd-bin', 'nbdcopy'],
  ['python3-libnbd', '/usr/lib/python3/dist-packages/nbd.py'],
  ['nbd-client', 'nbd-client'],
  ['nbdkit', 'nbdkit'],
  ['fio', 'fio'],
  ['gnutls-bin', 'psktool'],
  ['socat', 'socat'],
  ['busybox-static', 'busybox'],
  ['cpio', 'cpio'],
  ['kmod', 'modprobe'],
  ['e2fsprogs', 'mkfs.ext4'],
  ['iproute2', 'ip'],
  ['nftables', 'nft'],
  ['jq', 'jq'],
  ['strace', 'strace'],
  ['libvirt-clients', 'virt-xml-validate'],
  ['libxml2-utils', 'xmllint'],
  ['chromium', 'chromium'],
];
const FOLDERS = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/bin', '/bin'];
const APT_TIMEOUT_MS = 8 * 60 * 1000;

/** Never throws: a judge that can not be had is a skipped test, and CI counts those. */
export function ensureDebianPackages() {
  const missing = missingPackages();
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0 || !isPresent('apt-get')) {
    report(missing, 'not root on a Debian, so nothing is installed');
    return;
  }
  process.stderr.write(`Installing Debian packages for the tests: ${missing.join(' ')} ...\n`);
  apt(['update']);
  apt(['install', '-y', '--no-install-recommends', ...missing]);
  const left = missingPackages();
  if (left.length > 0) report(left, 'apt-get could not install them');
}

function missingPackages() {
  return WANTED.filter(([, proof]) => !isPresent(proof)).map(([name]) => name);
}

function isPresent(proof) {
  if (proof.startsWith('/')) return existsSync(proof);
  return FOLDERS.some((folder) => {
    try {
      accessSync(path.join(folder, proof), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function apt(args) {
  const result = spawnSync('apt-get', ['-qq', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: APT_TIMEOUT_MS,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
  });
  if (result.status === 0) return;
  const cause =
    result.error?.message ?? (result.stderr ?? '').trim().split('\n').slice(-3).join('; ');
  process.stderr.write(`apt-get ${args[0]} failed: ${cause}\n`);
}

function report(missing, reason) {
  process.stderr.write(
    `Tests that need one of these are skipped (${reason}): ${missing.join(', ')}\n`,
  );
}
