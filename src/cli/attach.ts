// `dog vdi attach`: prints how a guest gets a volume through the node that is asked. It takes nothing: the guest's first
// read or write does.

import { type Command, Option } from 'commander';
import type { AdminAnswer, AttachData, DoorData } from '../core/admin-shapes.ts';
import { checkName } from '../core/volume.ts';
import {
  type Attachment,
  kernelCommands,
  libvirtArguments,
  libvirtText,
  nbdUri,
  qemuArguments,
  qemuText,
} from './attach-text.ts';
import { helpTail, type Io, type Session, sessionOf } from './context.ts';
import { CommandError } from './failure.ts';
import { show } from './output.ts';

interface AttachOptions {
  readonly libvirt?: boolean;
  readonly libvirtArgs?: boolean;
  readonly nbdClient?: boolean;
  readonly tcp?: boolean;
  readonly tlsDir: string;
  readonly tlsUser: string;
}

/** `--json`: everything at once. Null where the door is not for that client. */
interface AttachDocument extends AttachData {
  readonly door: DoorData;
  readonly uri: string;
  readonly qemu: readonly string[];
  readonly libvirt: string | null;
  readonly nbdClient: readonly string[] | null;
}

export function addAttach(vdi: Command, io: Io): void {
  vdi
    .command('attach <name>')
    .description(
      "print how a guest gets the volume through this node: QEMU's arguments, one per line with -r; takes nothing",
    )
    .option('--libvirt', "libvirt's disk element instead")
    .addOption(
      new Option('--libvirt-args', 'the same for a libvirt older than 9.1').conflicts('libvirt'),
    )
    .addOption(
      new Option('--nbd-client', "the commands of the kernel's client instead").conflicts([
        'libvirt',
        'libvirtArgs',
      ]),
    )
    .option('--tcp', 'by TCP, for a guest on another host, where the node serves both')
    .option('--tls-dir <dir>', "keys or certificates on the guest's host", '/etc/sheep')
    .option('--tls-user <name>', 'who the guest is, by its key', 'guest')
    .addHelpText(
      'after',
      helpTail('dog vdi attach demo', 'dog vdi attach demo --libvirt > disk.xml'),
    )
    .action(async (name: string, _options, command: Command) => {
      checkName(name);
      const session = sessionOf(command, io);
      await attach(session, name, command.opts<AttachOptions>());
    });
}

async function attach(session: Session, name: string, options: AttachOptions): Promise<void> {
  const answer = await session.ask<AttachData>(`/v1/volumes/${encodeURIComponent(name)}/attach`);
  const attachment: Attachment = {
    name: answer.data.name,
    door: chosenDoor(answer.data, options.tcp === true),
    proof: { dir: options.tlsDir, user: options.tlsUser },
  };
  const certificatesOnly = needsKeys(attachment.door);
  if (certificatesOnly && (options.libvirt === true || options.nbdClient === true)) {
    const who = options.libvirt === true ? 'libvirt' : "the kernel's client";
    throw new CommandError(
      'unsupported',
      `${who} proves itself by certificates, and ${answer.data.node} takes keys only`,
      'start the node with --nbd-certs DIR as well, or attach through its unix socket',
    );
  }
  const document: AdminAnswer<AttachDocument> = {
    ...answer,
    data: {
      ...answer.data,
      door: attachment.door,
      uri: nbdUri(attachment),
      qemu: qemuArguments(attachment),
      libvirt: certificatesOnly ? null : libvirtText(attachment),
      nbdClient: certificatesOnly ? null : kernelCommands(attachment),
    },
  };
  show(session, document, 'vdi.attach', {
    human: () => chosenText(attachment, options),
    raw: ({ qemu }) => rawText(attachment, options, qemu),
  });
}

function chosenText(attachment: Attachment, options: AttachOptions): string {
  if (options.libvirt === true) {
    return `<!-- the domain needs <iothreads>1</iothreads>; libvirt before 9.1: docs/GUESTS.md -->
${libvirtText(attachment)}`;
  }
  if (options.libvirtArgs === true) return libvirtArguments(attachment);
  if (options.nbdClient !== true) return `${qemuText(attachment)}\n`;
  const [load, begin, end] = kernelCommands(attachment);
  return `# as root; not on a host whose node needs the memory that the disk's pages take (docs/GUESTS.md)
${load}
${begin}
# to detach:
${end}
`;
}

/** For programs: no comments, nothing quoted for a shell that does not run. */
function rawText(attachment: Attachment, options: AttachOptions, qemu: readonly string[]): string {
  if (options.libvirt === true) return libvirtText(attachment);
  if (options.libvirtArgs === true) return libvirtArguments(attachment);
  const lines = options.nbdClient === true ? kernelCommands(attachment) : qemu;
  return lines.map((line) => `${line}\n`).join('');
}

/** A unix socket is the shortest way; TCP with TLS reaches further than in the clear. */
function chosenDoor({ doors, node }: AttachData, wantsTcp: boolean): DoorData {
  if (doors.length === 0) {
    const remedy =
      'ask a node that does (-a HOST, --dir DIR), or start this one with --nbd unix:PATH';
    throw new CommandError('missing', `${node} serves no guests: it has no --nbd address`, remedy);
  }
  const order: readonly DoorData['kind'][] = ['unix', 'tcp', 'tcp-plain'];
  for (const kind of order.slice(wantsTcp ? 1 : 0)) {
    const found = doors.find((door) => door.kind === kind);
    if (found !== undefined) return found;
  }
  const remedy = 'leave out --tcp, or start the node with --nbd tcp:HOST:PORT';
  throw new CommandError('missing', `${node} serves guests by its unix socket only`, remedy);
}

function needsKeys(door: DoorData): boolean {
  return door.kind === 'tcp' && !door.proofs.includes('certificates');
}
