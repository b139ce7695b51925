// What `dog vdi attach` prints, given to those it is for. Method: QEMU starts with the arguments, does not run, and says by
// QMP what it has made of them; libvirt's schemas and parser read a whole domain; the kernel's client reads its command
// line. Volumes are in memory behind our NBD server, with names that need quoting everywhere.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import type { Socket } from 'node:net';
import path from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { ExecutionContext } from 'ava';
import {
  type Attachment,
  kernelCommands,
  labelOf,
  libvirtArguments,
  libvirtText,
  qemuArguments,
  qemuText,
} from '../../src/cli/attach-text.ts';
import { MIB } from '../../src/core/units.ts';
import { until } from '../e2e/cluster.ts';
import { MemoryVolume } from '../nbd/memory-volume.ts';
import { type Served, serve } from '../nbd/served.ts';
import { addKey, filesAt, makeAuthority, makeCertificate } from '../nbd/tls-files.ts';
import { run, succeed, toolOrSkip } from '../nbd/tools.ts';
import { tryConnect } from '../try-connect.ts';

const SIZE = 8 * MIB;
/** Needs quoting in QEMU's words, in XML, in a shell and in an URI. */
const ODD = `9a,b'c"d&<e>$f;é`;
const QEMU_MS = 30_000;
const MACHINE = ['-machine', 'q35,accel=tcg', '-m', '32', '-nodefaults', '-display', 'none', '-S'];
const SCHEMA = '/usr/share/libvirt/schemas/domaincommon.rng';

interface Node {
  readonly 'node-name': string;
  readonly detect_zeroes: string;
  readonly cache: Record<string, boolean>;
  readonly image: { readonly 'virtual-size': number };
}

class Qmp {
  readonly #socket: Socket;
  readonly #lines: AsyncIterator<string>;

  constructor(socket: Socket, lines: Interface) {
    this.#socket = socket;
    this.#lines = lines[Symbol.asyncIterator]();
  }

  async ask<Result>(execute: string, parameters: object = {}): Promise<Result> {
    this.#socket.write(`${JSON.stringify({ execute, arguments: parameters })}\n`);
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done === true) throw new RangeError(`QEMU ended at ${execute}`);
      const said = JSON.parse(value) as { return?: Result; error?: { desc: string } };
      if (said.error !== undefined) throw new RangeError(said.error.desc);
      if (said.return !== undefined) return said.return;
    }
  }
}

/** QEMU with these words behind the machine's; its process ends after `body`. */
async function withQemu(
  dir: string,
  start: (machine: readonly string[]) => readonly [string, readonly string[]],
  body: (qmp: Qmp) => Promise<void>,
): Promise<void> {
  const at = path.join(dir, 'qmp');
  const [program, args] = start([...MACHINE, '-qmp', `unix:${at},server=on,wait=off`]);
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  try {
    let found: Socket | undefined;
    const isThere = async () => {
      if (child.exitCode !== null) throw new RangeError(said);
      found = await tryConnect(at);
      return found !== undefined;
    };
    await until(`QEMU listens ${said}`, isThere, QEMU_MS);
    const socket = found as unknown as Socket;
    try {
      const qmp = new Qmp(socket, createInterface({ input: socket }));
      await qmp.ask('qmp_capabilities');
      await body(qmp);
    } finally {
      socket.destroy();
    }
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

/** What QEMU has made of it: one node on our server with the flags that we mean, on a disk with a thread of its own. */
async function judge(t: ExecutionContext, qmp: Qmp, name: string): Promise<void> {
  const label = labelOf(name);
  const nodes = await qmp.ask<readonly Node[]>('query-named-block-nodes', { flat: true });
  t.is(nodes.length, 1);
  const [node] = nodes as readonly [Node];
  t.is(node['node-name'], label);
  t.is(node.image['virtual-size'], SIZE, 'it has talked to the server');
  t.is(node.detect_zeroes, 'unmap');
  t.deepEqual(node.cache, { direct: true, 'no-flush': false, writeback: true });
  const [disk] = await qmp.ask<readonly { qdev: string }[]>('query-block');
  const property = (of: string) => qmp.ask('qom-get', { path: disk?.qdev, property: of });
  t.is(await property('drive'), label);
  t.is(await property('serial'), label);
  t.is(await property('iothread'), `/objects/${label}-io`);
  t.is((await qmp.ask<unknown[]>('query-iothreads')).length, 1);
}

async function withVolume(
  credentials: Parameters<typeof serve>[1],
  body: (served: Served) => Promise<void>,
): Promise<void> {
  const served = await serve(
    [new MemoryVolume('demo', SIZE), new MemoryVolume(ODD, SIZE)],
    credentials,
  );
  try {
    await body(served);
  } finally {
    await served.stop();
  }
}

const NO_PROOF = { dir: '', user: '' };
const qemu = toolOrSkip('qemu-system-x86_64');

qemu(
  'QEMU takes its arguments by unix socket and in the clear, whatever the volume is called',
  async (t) => {
    await withVolume(undefined, async ({ dir, socket, port }) => {
      const unix = { kind: 'unix', path: socket } as const;
      const plain = { kind: 'tcp-plain', host: '127.0.0.1', port, proofs: [] } as const;
      for (const attachment of [
        { name: 'demo', door: unix, proof: NO_PROOF },
        { name: ODD, door: unix, proof: NO_PROOF },
        { name: ODD, door: plain, proof: NO_PROOF },
      ]) {
        const words = qemuArguments(attachment);
        const start = (machine: readonly string[]) =>
          ['qemu-system-x86_64', [...machine, ...words]] as const;
        await withQemu(dir, start, (qmp) => judge(t, qmp, attachment.name));
        fs.rmSync(path.join(dir, 'qmp'), { force: true });
      }
    });
  },
);

qemu(
  'a shell reads the printed text as the same words, on a path that needs quoting',
  async (t) => {
    await withVolume(undefined, async ({ dir, socket }) => {
      const folder = path.join(dir, `it's, a $x`);
      fs.mkdirSync(folder);
      fs.symlinkSync(socket, path.join(folder, 'nbd.sock'));
      const door = { kind: 'unix', path: path.join(folder, 'nbd.sock') } as const;
      const text = qemuText({ name: ODD, door, proof: NO_PROOF }, '  ');
      const start = (machine: readonly string[]) =>
        ['sh', ['-c', `exec qemu-system-x86_64 "$@" \\\n${text}`, 'sh', ...machine]] as const;
      await withQemu(dir, start, (qmp) => judge(t, qmp, ODD));
    });
  },
);

toolOrSkip(
  'qemu-system-x86_64',
  'psktool',
  'certtool',
)('QEMU takes its arguments with keys and with certificates', async (t) => {
  const files = fs.mkdtempSync(path.join(process.env['TMPDIR'] ?? '/tmp', 'sheep-attach-'));
  t.teardown(() => fs.rmSync(files, { recursive: true, force: true }));
  addKey(files, 'web');
  makeAuthority(files);
  makeCertificate(files, 'server', 'node');
  makeCertificate(files, 'client', 'web');
  for (const how of ['keys', 'certificates'] as const) {
    const given = how === 'keys' ? { keys: path.join(files, 'keys.psk') } : { x509: files };
    await withVolume(filesAt(given), async ({ dir, port }) => {
      const door = { kind: 'tcp', host: '127.0.0.1', port, proofs: [how] } as const;
      const words = qemuArguments({ name: 'demo', door, proof: { dir: files, user: 'web' } });
      const start = (machine: readonly string[]) =>
        ['qemu-system-x86_64', [...machine, ...words]] as const;
      await withQemu(dir, start, (qmp) => judge(t, qmp, 'demo'));
    });
  }
});

/** A whole domain with what is printed in it. */
function domain(devices: string, beside = ''): string {
  return `<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
<name>guest</name><memory unit='MiB'>64</memory><vcpu>1</vcpu><iothreads>1</iothreads>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices>${devices}</devices>${beside}</domain>\n`;
}

const DOORS: readonly Attachment['door'][] = [
  { kind: 'unix', path: `/run/sheep/n,b'd.sock` },
  { kind: 'tcp', host: '10.0.0.1', port: 10809, proofs: ['certificates'] },
  { kind: 'tcp-plain', host: '127.0.0.1', port: 10809, proofs: [] },
];

toolOrSkip('virt-xml-validate', 'xmllint')(
  "libvirt's schema takes a domain with the element, and one with the arguments passed through",
  async (t) => {
    const dir = fs.mkdtempSync(path.join('/tmp', 'sheep-attach-'));
    t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
    const file = path.join(dir, 'domain.xml');
    const check = async (text: string): Promise<number | null> => {
      fs.writeFileSync(file, text);
      return (await run('virt-xml-validate', [file, 'domain'])).code;
    };
    const nbd = /name="diskSourceNetworkProtocolNBD"[\s\S]*?<\/define>/.exec(
      fs.readFileSync(SCHEMA, 'utf8'),
    );
    // Since 9.1. An older one must take all the rest.
    const knowsReconnect = nbd?.[0].includes('reconnect') === true;
    for (const door of DOORS) {
      const attachment = { name: ODD, door, proof: { dir: '/etc/sheep', user: 'web' } };
      const printed = libvirtText(attachment);
      const fit = knowsReconnect ? printed : printed.replace(/ *<reconnect .*\n/, '');
      t.is(await check(domain(fit)), 0, `${fit}`);
      t.not(await check(domain(fit.replace('protocol=', 'portocol='))), 0, 'it does look');
      t.is(await check(domain('', libvirtArguments(attachment))), 0);
      fs.writeFileSync(file, domain(printed));
      const define = `define ${file}; dumpxml guest`;
      const { stdout } = await succeed(t, 'virsh', ['-c', 'test:///default', define]);
      t.regex(stdout, /iothread='1' detect_zeroes='unmap'/);
      t.regex(stdout, /<source protocol='nbd' name='9a,b&apos;c&quot;d&amp;&lt;e&gt;\$f;é'/);
    }
  },
);

toolOrSkip('nbd-client')(
  "the kernel's client reads its command line as far as the node",
  async (t) => {
    for (const door of DOORS) {
      const attachment = { name: ODD, door, proof: { dir: '/etc/sheep', user: 'web' } };
      const [, begin = ''] = kernelCommands(attachment);
      // Where nobody listens: a line that it does not understand ends with its usage instead.
      const nowhere = begin
        .replace('10.0.0.1 10809', '127.0.0.1 1')
        .replace('127.0.0.1 10809', '127.0.0.1 1');
      const { code, stderr, stdout } = await run('sh', ['-c', nowhere]);
      t.not(code, 0);
      t.notRegex(stdout + stderr, /Usage|unrecognized|invalid option/);
      t.regex(stderr, /CONNECT failed|Connection refused|certificate|TLS/i, nowhere);
    }
  },
);
