// The command line of `sheep`: flags to options, checked. One process serves one data directory.

import { parseArgs } from 'node:util';
import { type ApiAddress, parseApiAddress } from './api/http-server.ts';
import { type DataTls, NEVER_MS, type NodeConfig, nodeConfig } from './config.ts';
import { parseDuration } from './core/duration.ts';
import { messageOf, OperatingError } from './core/errors.ts';
import { decodeToken } from './core/token.ts';
import { parseBytes } from './core/volume.ts';
import type { TlsFiles } from './nbd/credentials.ts';
import { type NbdAddress, parseNbdAddress } from './nbd/nbd-server.ts';

export const HELP = `sheep --data DIR [options]: one node of a Sheepdog cluster

  --data DIR           the node's directory; a fresh one waits for 'dog cluster format' or --join
  --listen MULTIADDR   control address, default /ip4/127.0.0.1/tcp/7001; data channels take the next port
  --zone Z             what fails together with this node, default: the host's name; for a fresh directory: a member
                       keeps its zone until 'dog node zone'
  --weight N           share of the data relative to the other nodes, default 1; 0 = gateway only
  --witness            votes, holds no data, serves no guest: the third vote of two nodes
  --nbd unix:PATH      where guests attach; may be given more than once
  --nbd tcp:HOST:PORT  the same over TCP, with TLS only; needs one of the next two
                       sockets passed by systemd (LISTEN_FDS) are those of the --nbd flags, in their order
  --nbd-psk FILE       keys of guests, as 'psktool -u NAME -p FILE' writes them
  --nbd-certs DIR      ca-cert.pem, server-cert.pem, server-key.pem; guests need a certificate of the same authority
  --nbd-access FILE    lines 'GUEST VOLUME...': what each may attach (db-* = all that begin so); default: everything
  --nbd tcp-plain:HOST:PORT  in the clear, loopback addresses only
  --api unix:PATH      where dog asks; default DIR/sheep.sock; may be given more than once
  --api HOST:PORT      the same over TCP, loopback addresses only
  --join TOKEN         the line that 'dog cluster invite' printed; a member of that cluster uses it only where it
                       lost its map and no member that it knows answers
  --journal SIZE       journal of a fresh directory, 8MiB to 4GiB, default 256MiB; an older one keeps its size
  --nearfull SHARE     of the data disk in use: from here on no ring moves, default 0.85
  --full SHARE         from here on no new data, default 0.95; overwrites go on until 0.98
  --scrub-light TIME   compare copies with other nodes this often, default 1d; never = only when asked
  --scrub-deep TIME    read and check every byte this often, default 7d; never = only when asked
  --scrub-rate SIZE    bytes that a scrub reads per second, default 32MiB
  --no-recovery        start with recovery held on this node, until 'dog cluster recover enable'
  --replace            end the process that serves DIR as soon as this one is loaded, and take its place: an upgrade
                       for which guests wait the shortest time
  --data-tls MODE      auto (between hosts only), always, never
  --quiet              log warnings only
  --inspect            log every change of state of the node's actors (event actor.moved; docs/ACTORS.md)
  --print-config, --version, --help

sheep log DIR: the map log, entry by entry, with hashes to compare nodes by (sheep log --help)
sheep unsafe-recover DIR: a majority of the voters is lost for good (sheep unsafe-recover --help)

examples
  sheep --data /var/lib/sheep --listen /ip4/10.0.0.1/tcp/7001 --zone rack-1 --nbd unix:/run/nbd.sock
  sheep --data /var/lib/sheep --listen /ip4/10.0.0.2/tcp/7001 --zone rack-2 --join sheep1.eyJj...

exit codes: 0 orderly end, 1 failed, 64 wrong usage, 70 an invariant broke (the log says which)
`;

export interface SheepOptions {
  readonly data: string;
  readonly listen: string;
  readonly nbd: readonly NbdAddress[];
  /** Undefined: no address asks for TLS. */
  readonly nbdTls: TlsFiles | undefined;
  readonly api: readonly ApiAddress[];
  readonly joinToken: string | undefined;
  readonly isQuiet: boolean;
  /** Ends the process that serves the directory, and takes its place. */
  readonly isReplacement: boolean;
  readonly config: NodeConfig;
}

/** What the command line asks for. */
export type SheepCommand =
  | { readonly kind: 'help' }
  | { readonly kind: 'version' }
  | { readonly kind: 'run' | 'print-config'; readonly options: SheepOptions };

const FLAGS = {
  data: { type: 'string' },
  listen: { type: 'string' },
  zone: { type: 'string' },
  weight: { type: 'string' },
  witness: { type: 'boolean' },
  nbd: { type: 'string', multiple: true },
  'nbd-psk': { type: 'string' },
  'nbd-certs': { type: 'string' },
  'nbd-access': { type: 'string' },
  api: { type: 'string', multiple: true },
  join: { type: 'string' },
  journal: { type: 'string' },
  nearfull: { type: 'string' },
  full: { type: 'string' },
  'scrub-light': { type: 'string' },
  'scrub-deep': { type: 'string' },
  'scrub-rate': { type: 'string' },
  'no-recovery': { type: 'boolean' },
  'data-tls': { type: 'string' },
  quiet: { type: 'boolean' },
  replace: { type: 'boolean' },
  inspect: { type: 'boolean' },
  'print-config': { type: 'boolean' },
  version: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

const DEFAULT_LISTEN = '/ip4/127.0.0.1/tcp/7001';

/**
 * Parses and checks the flags.
 * @throws OperatingError 'usage' that names the flag and the cure
 */
export function parseSheepFlags(argv: readonly string[], hostName: string): SheepCommand {
  const values = parse(argv);
  if (values.help === true) return { kind: 'help' };
  if (values.version === true) return { kind: 'version' };
  if (values.data === undefined || values.data === '') {
    throw new OperatingError('usage', '--data is missing', {
      remedy: 'sheep --data DIR; sheep --help tells the rest',
    });
  }
  if (values.zone === '') throw new OperatingError('usage', '--zone is empty');
  const isWitness = values.witness ?? false;
  if (isWitness && values.nbd !== undefined) {
    throw new OperatingError('usage', 'a witness serves no guest: leave out --nbd');
  }
  if (values.inspect === true && values.quiet === true) {
    throw new OperatingError('usage', '--inspect writes to the log that --quiet silences', {
      remedy: 'leave out one of the two',
    });
  }
  const joinToken = values.join;
  if (joinToken !== undefined) decodeToken(joinToken);
  const api = values.api ?? [`unix:${values.data}/sheep.sock`];
  const nbd = (values.nbd ?? []).map(parseNbdAddress);
  const options: SheepOptions = {
    data: values.data,
    listen: values.listen ?? DEFAULT_LISTEN,
    nbd,
    nbdTls: tlsFiles(nbd, values),
    api: api.map(parseApiAddress),
    joinToken,
    isQuiet: values.quiet ?? false,
    isReplacement: values.replace ?? false,
    config: nodeConfig({
      zone: values.zone ?? hostName,
      ...(isWitness ? { isWitness, weight: 0 } : {}),
      ...(values.weight === undefined ? {} : { weight: wholeNumber(values.weight) }),
      ...(values.journal === undefined ? {} : { journalBytes: parseBytes(values.journal) }),
      ...(values.nearfull === undefined ? {} : { nearfull: share(values.nearfull) }),
      ...(values.full === undefined ? {} : { full: share(values.full) }),
      ...scrubOptions(values),
      isInspected: values.inspect ?? false,
      isRecoveryEnabled: values['no-recovery'] !== true,
      ...(values['data-tls'] === undefined ? {} : { dataTls: values['data-tls'] as DataTls }),
    }),
  };
  return { kind: values['print-config'] === true ? 'print-config' : 'run', options };
}

/** Keys without an address that uses them, and an address without keys, are mistakes; told now, not to a guest. */
function tlsFiles(
  nbd: readonly NbdAddress[],
  values: {
    readonly 'nbd-psk'?: string;
    readonly 'nbd-certs'?: string;
    readonly 'nbd-access'?: string;
  },
): TlsFiles | undefined {
  const { 'nbd-psk': keys, 'nbd-certs': x509, 'nbd-access': access } = values;
  const needsTls = nbd.some(({ kind }) => kind === 'tcp');
  const hasProof = keys !== undefined || x509 !== undefined;
  if (needsTls && !hasProof) {
    throw new OperatingError(
      'usage',
      '--nbd tcp: is served with TLS, and nothing says who may come',
      {
        remedy:
          'add --nbd-psk FILE or --nbd-certs DIR; on a loopback address tcp-plain: does without',
      },
    );
  }
  if (!needsTls && (hasProof || access !== undefined)) {
    throw new OperatingError(
      'usage',
      '--nbd-psk, --nbd-certs and --nbd-access are for TLS over TCP',
      {
        remedy: 'add --nbd tcp:HOST:PORT, or leave them out',
      },
    );
  }
  return needsTls ? { keys, x509, access } : undefined;
}

function scrubOptions(values: {
  readonly 'scrub-light'?: string;
  readonly 'scrub-deep'?: string;
  readonly 'scrub-rate'?: string;
}): Partial<NodeConfig> {
  const { 'scrub-light': light, 'scrub-deep': deep, 'scrub-rate': rate } = values;
  const period = (text: string): number => (text === 'never' ? NEVER_MS : parseDuration(text));
  return {
    ...(light === undefined ? {} : { scrubLightMs: period(light) }),
    ...(deep === undefined ? {} : { scrubDeepMs: period(deep) }),
    ...(rate === undefined ? {} : { scrubBytesPerSecond: parseBytes(rate) }),
  };
}

/** NaN, which nodeConfig refuses, for what Number would take: '', ' 1', '0x1', '1e1'. */
function wholeNumber(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : Number.NaN;
}

/** NaN, which nodeConfig refuses, for anything but a decimal fraction. */
function share(text: string): number {
  return /^0?\.\d+$/.test(text) ? Number(text) : Number.NaN;
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: FLAGS, allowPositionals: false }).values;
  } catch (error) {
    const [reason = ''] = messageOf(error).split('\n');
    throw new OperatingError('usage', reason, { remedy: 'sheep --help lists the flags' });
  }
}
