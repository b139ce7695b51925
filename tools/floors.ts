// Who may import whom in src/, packages included. docs/ARCHITECTURE.md draws it; this is the law.

import path from 'node:path';
import { importsOf, type SourceFile } from './sources.ts';

/** What each folder may import besides itself. '.' is src/ itself: the roof, which wires everything. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  core: [],
  ports: ['core'],
  wire: ['core'],
  io: ['core', 'ports'],
  storage: ['core', 'ports', 'wire'],
  p2p: ['core', 'ports', 'wire'],
  agreement: ['core', 'ports', 'wire', 'storage', 'p2p'],
  datapath: ['core', 'ports', 'wire', 'storage', 'p2p'],
  actors: ['core', 'ports', 'wire', 'storage', 'p2p', 'agreement', 'datapath'],
  nbd: ['core', 'ports', 'datapath'],
  api: ['core', 'datapath'],
  streams: ['core', 'wire'],
  cli: ['core', 'streams'],
};
/** Files of the roof that a folder may name: the type of a running node. */
const HANDLE = 'src/node-handle.ts';
const HANDLE_READERS = new Set(['nbd', 'api']);
/** Exceptions by name. */
const EXTRA: Readonly<Record<string, readonly string[]>> = {
  'src/p2p/data-channel.ts': ['src/io/fast-socket.ts'],
  'src/p2p/socket-channel.ts': ['src/io/fast-socket.ts'],
  'src/p2p/libp2p-network.ts': ['src/io/fast-socket.ts'],
  'src/nbd/nbd-server.ts': ['src/io/fast-socket.ts'],
  'src/nbd/tls-channel.ts': ['src/io/fast-socket.ts'],
};
const ROOF = 'src/*';
/** Packages and the places they live in: a folder, a file, or src/* for the roof. */
const PACKAGES: readonly (readonly [RegExp, readonly string[]])[] = [
  [/^xstate$/, ['src/actors', 'src/build-node.ts']],
  [/^(libp2p|@libp2p\/.*|@chainsafe\/.*|@multiformats\/.*)$/, ['src/p2p']],
  [/^it-/, ['src/p2p/control-stream.ts', 'src/streams']],
  [/^fastify$/, ['src/api']],
  [/^prom-client$/, ['src/api']],
  [/^commander$/, ['src/cli']],
  [/^@node-rs\/crc32$/, ['src/core/checksum.ts']],
  [/^node:module$/, ['src/core/checksum.ts']],
  [/^node:zlib$/, ['src/core/checksum.ts', 'src/streams/coding.ts']],
  [
    /^uint8arrays/,
    ['src/wire', 'src/storage', 'src/p2p', 'src/datapath', 'src/nbd', 'src/streams'],
  ],
  [
    /^node:fs(\/promises)?$/,
    [
      'src/io/file-disk.ts',
      'src/io/bulk-writes.ts',
      'src/io/data-lock.ts',
      'src/io/data-watch.ts',
      'src/io/make-folders.ts',
      'src/io/foreign-files.ts',
      'src/io/held-sockets.ts',
      'src/io/space-reserve.ts',
      'src/main.ts',
      'src/cli',
      'src/api/http-server.ts',
      'src/nbd/nbd-server.ts',
    ],
  ],
  [
    /^node:(net|tls)$/,
    [
      'src/io/fast-socket.ts',
      'src/p2p',
      'src/nbd/nbd-server.ts',
      'src/nbd/tls-channel.ts',
      'src/api/http-server.ts',
      'src/cli',
    ],
  ],
  [/^node:(http|child_process|url|path)$/, ['src/cli', 'src/main.ts', 'src/io']],
  [
    /^node:crypto$/,
    [
      'src/core',
      'src/storage',
      'src/streams',
      'src/wire',
      'src/p2p',
      'src/io',
      'src/datapath',
      'src/agreement',
      ROOF,
    ],
  ],
  [
    /^node:/,
    ['src/io', 'src/cli', 'src/main.ts', 'src/sheep-options.ts', 'src/p2p', 'src/nbd', 'src/api'],
  ],
];

/** One sentence per import that breaks a floor, with file and line. */
export function floorBreaks(files: readonly SourceFile[]): readonly string[] {
  return files.flatMap((file) =>
    importsOf(file.text).flatMap(({ specifier, line }) => {
      const problem = specifier.startsWith('.')
        ? ownProblem(file.path, resolved(file.path, specifier))
        : packageProblem(file.path, specifier);
      return problem === undefined ? [] : [`${file.path}:${line} ${problem}`];
    }),
  );
}

/** Every import cycle, types included, as `a -> b -> a`. */
export function importCycles(files: readonly SourceFile[]): readonly string[] {
  const graph = new Map(
    files.map((file) => {
      const own = importsOf(file.text).filter(({ specifier }) => specifier.startsWith('.'));
      return [file.path, own.map(({ specifier }) => resolved(file.path, specifier))] as const;
    }),
  );
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (file: string, trail: readonly string[]): void => {
    const at = trail.indexOf(file);
    if (at >= 0) found.push([...trail.slice(at), file].join(' -> '));
    if (at >= 0 || done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...trail, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  return found;
}

function ownProblem(from: string, to: string): string | undefined {
  const [source, target] = [folderOf(from), folderOf(to)];
  if (!to.startsWith('src/')) return `imports ${to}, which is outside src/`;
  if (source === target || source === '.') return undefined;
  if (to === HANDLE && HANDLE_READERS.has(source)) return undefined;
  if (EXTRA[from]?.includes(to) === true) return undefined;
  const allowed = ALLOWED[source];
  if (allowed === undefined) return `lies in a folder without a floor: src/${source}`;
  return allowed.includes(target) ? undefined : `imports ${to}: src/${source} may not`;
}

function packageProblem(from: string, specifier: string): string | undefined {
  const rule = PACKAGES.find(([form]) => form.test(specifier));
  if (rule === undefined) return `imports ${specifier}, a package without a floor`;
  const isAllowed = rule[1].some((place) => {
    if (place === ROOF) return folderOf(from) === '.';
    return from === place || from.startsWith(`${place}/`);
  });
  return isAllowed ? undefined : `imports ${specifier}, which belongs to ${rule[1].join(', ')}`;
}

function folderOf(file: string): string {
  const parts = file.split('/');
  return parts.length <= 2 ? '.' : (parts[1] as string);
}

function resolved(from: string, specifier: string): string {
  return path.posix.normalize(path.posix.join(path.posix.dirname(from), specifier));
}
