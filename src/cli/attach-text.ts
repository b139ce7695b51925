// How a guest gets a volume, in the words of those who attach it: QEMU's arguments, libvirt's element, the commands of the
// kernel's client. Pure, and the only place that knows; `dog vdi attach`, `npm start` and the README say what this says.
// docs/GUESTS.md has the reasons for each word.

import type { DoorData } from '../core/admin-shapes.ts';
import { hashText } from '../core/hash.ts';

/** QEMU keeps requests so long while the node's process is away, then answers EIO. Seconds. */
export const RECONNECT_S = 300;
/** Of the kernel's client: what waits on one connection holds up the rest of that one only. */
export const KERNEL_CONNECTIONS = 4;
/** Longest name of a block node of QEMU is 31 characters, of a virtio disk's serial 20. */
const MAX_LABEL_CHARACTERS = 20;

/** Where a guest's keys or certificates lie on its host, and who it says it is. */
export interface GuestProof {
  readonly dir: string;
  readonly user: string;
}

export interface Attachment {
  /** Of the export: the volume. */
  readonly name: string;
  readonly door: DoorData;
  readonly proof: GuestProof;
}

/** Arguments of qemu-system-*, each as the program gets it: nothing is quoted for a shell. */
export function qemuArguments({ name, door, proof }: Attachment): readonly string[] {
  const label = labelOf(name);
  const credentials = tlsObject(label, door, proof);
  const block = [
    ...['driver=nbd', `node-name=${label}`],
    ...serverWords(door),
    `export=${qemuValue(name)}`,
    ...(credentials === undefined ? [] : [`tls-creds=${label}-tls`]),
    ...[`reconnect-delay=${RECONNECT_S}`, 'discard=unmap', 'detect-zeroes=unmap'],
    ...['cache.direct=on', 'cache.no-flush=off'],
  ];
  return [
    ...(credentials === undefined ? [] : ['-object', credentials]),
    ...['-object', `iothread,id=${label}-io`],
    ...['-blockdev', block.join(',')],
    ...['-device', `virtio-blk-pci,drive=${label},iothread=${label}-io,serial=${label}`],
  ];
}

/** The same for a shell: an option and its value on a line, `indent` before each. */
export function qemuText(attachment: Attachment, indent = ''): string {
  const words = qemuArguments(attachment).map(shellWord);
  const lines: string[] = [];
  for (let at = 0; at < words.length; at += 2) {
    lines.push(`${indent}${words[at]} ${words[at + 1]}`);
  }
  return lines.join(' \\\n');
}

/** The disk element of a domain, which needs `<iothreads>1</iothreads>` beside it. */
export function libvirtText({ name, door }: Attachment): string {
  const tls = door.kind === 'tcp' ? " tls='yes'" : '';
  const host =
    door.kind === 'unix'
      ? `<host transport='unix' socket='${xmlValue(door.path)}'/>`
      : `<host name='${xmlValue(door.host)}' port='${door.port}'/>`;
  return `<disk type='network' device='disk'>
  <driver name='qemu' type='raw' cache='none' discard='unmap' detect_zeroes='unmap' iothread='1'/>
  <source protocol='nbd' name='${xmlValue(name)}'${tls}>
    ${host}
    <reconnect delay='${RECONNECT_S}'/>
  </source>
  <target dev='vda' bus='virtio'/>
  <serial>${labelOf(name)}</serial>
</disk>
`;
}

/** For a libvirt before 9.1, which drops `<reconnect>` in silence: the arguments passed through, beside `<devices>`. */
export function libvirtArguments(attachment: Attachment): string {
  const words = qemuArguments(attachment);
  const values = words.map((word, at) => {
    // Libvirt gives out the low places of the bus by itself.
    const isDevice = words[at - 1] === '-device';
    return `  <qemu:arg value='${xmlValue(isDevice ? `${word},addr=0x1e` : word)}'/>\n`;
  });
  return `<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
${values.join('')}</qemu:commandline>
`;
}

/** To attach, and to detach again. */
export function kernelCommands({ name, door, proof }: Attachment): readonly string[] {
  const device = '/dev/nbd0';
  const where =
    door.kind === 'unix'
      ? ['-unix', shellWord(door.path), device]
      : [shellWord(door.host), String(door.port), device];
  const tls = door.kind === 'tcp' ? certificateWords(proof.dir) : [];
  const words = [
    ...['nbd-client', ...where, '-name', shellWord(name)],
    ...['-block-size', '4096', '-connections', String(KERNEL_CONNECTIONS)],
    ...tls,
  ];
  return ['modprobe nbd', words.join(' '), `nbd-client -d ${device}`];
}

/** `nbd+unix:///NAME?socket=PATH` and the like, for qemu-img, nbdcopy and nbdinfo. */
export function nbdUri({ name, door }: Attachment): string {
  const path = encodeURIComponent(name);
  if (door.kind === 'unix') {
    return `nbd+unix:///${path}?socket=${encodeURIComponent(door.path).replaceAll('%2F', '/')}`;
  }
  const host = door.host.includes(':') ? `[${door.host}]` : door.host;
  return `${door.kind === 'tcp' ? 'nbds' : 'nbd'}://${host}:${door.port}/${path}`;
}

/** One word of a shell, quoted only where it has to be. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/**
 * What ids of QEMU and serials may be made of; the guest finds the disk as /dev/disk/by-id/virtio-LABEL. A name that
 * does not fit ends with a mark of its own: two volumes of one guest must not be called alike.
 */
export function labelOf(name: string): string {
  const clean = name.replace(/[^A-Za-z0-9._-]/g, '-');
  const label = /^[A-Za-z]/.test(clean) ? clean : `v${clean}`;
  if (label === name && label.length <= MAX_LABEL_CHARACTERS) return label;
  const mark = `-${hashText(name).toString(36)}`;
  return label.slice(0, MAX_LABEL_CHARACTERS - mark.length) + mark;
}

function serverWords(door: DoorData): readonly string[] {
  if (door.kind === 'unix') return ['server.type=unix', `server.path=${qemuValue(door.path)}`];
  return ['server.type=inet', `server.host=${qemuValue(door.host)}`, `server.port=${door.port}`];
}

/** Keys where the node takes them: they need no authority. */
function tlsObject(label: string, door: DoorData, { dir, user }: GuestProof): string | undefined {
  if (door.kind !== 'tcp') return undefined;
  const where = `id=${label}-tls,endpoint=client,dir=${qemuValue(dir)}`;
  if (!door.proofs.includes('keys')) return `tls-creds-x509,${where},verify-peer=on`;
  return `tls-creds-psk,${where},username=${qemuValue(user)}`;
}

function certificateWords(dir: string): readonly string[] {
  return [
    ...['-certfile', shellWord(`${dir}/client-cert.pem`)],
    ...['-keyfile', shellWord(`${dir}/client-key.pem`)],
    ...['-cacertfile', shellWord(`${dir}/ca-cert.pem`)],
  ];
}

/** A comma ends a value, two are one. */
function qemuValue(text: string): string {
  return text.replaceAll(',', ',,');
}

function xmlValue(text: string): string {
  const names: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    "'": '&apos;',
    '"': '&quot;',
  };
  return text.replace(/[&<>'"]/g, (one) => names[one] ?? one);
}
