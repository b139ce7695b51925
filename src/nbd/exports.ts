// Names to volumes: what a client may attach, and who shares a session. An export's name is its volume's name, or `name@tag`
// for a snapshot of it; the empty name means the only volume there is. All connections of one export on this node share one
// session (and its lock).

import { OperatingError } from '../core/errors.ts';
import { snapshotName } from '../core/snapshot-name.ts';
import { readableNamed } from '../core/snapshots.ts';
import type { AttachMode, ClusterView } from '../core/view.ts';
import type { VolumeSession } from '../datapath/volume-session.ts';
import type { NodeHandle } from '../node-handle.ts';
import type { NbdClient } from './access.ts';
import type { Snapshotted } from './meta-contexts.ts';

/**
 * Requests in flight of one session, over all its connections; at the bound they stop reading their sockets. Below the
 * bound of the gateway, which would refuse.
 */
export const MAX_EXPORT_REQUESTS = 1024;
/** Snapshots in one list of exports, the newest; the last entry says how many more there are. */
export const MAX_LISTED_SNAPSHOTS = 1000;
/** Characters of a name that an error text repeats. */
const MAX_QUOTED_CHARACTERS = 64;

export interface ExportInfo {
  readonly name: string;
  readonly sizeBytes: number;
  /** `handover` unless said. */
  readonly attachMode?: AttachMode;
}

/** Where exports come from: a node, or a test's volume. */
export interface ExportSource {
  volumes(): readonly ExportInfo[];
  volume(name: string): ExportInfo | undefined;
  /** All snapshots, the oldest first. Absent: there are none. */
  snapshots?(): readonly ExportInfo[];
  /** C2.3: settles once `volume` knows of all that was made by now; rejects where nobody can say. Absent: it always does. */
  lookUp?(name: string): Promise<void>;
  /** The session of this volume, not yet counted. Throws OperatingError. */
  open(name: string): VolumeSession;
}

/** The exports of a node: its cluster's volumes. A node without a cluster has none. */
export function exportsOf(
  node: Pick<NodeHandle, 'view' | 'openVolume' | 'lookUpVolume'>,
): ExportSource {
  return {
    lookUp: (name) => node.lookUpVolume(name),
    volumes: () => [...(node.view()?.volumes.values() ?? [])],
    volume: (name) => exportNamed(node.view(), name),
    snapshots: () => snapshotsOf(node.view()),
    open: (name) => node.openVolume(name),
  };
}

/** A volume, or a snapshot as `name@tag`: that one is for reading only. */
function exportNamed(view: ClusterView | undefined, name: string): ExportInfo | undefined {
  const found = view && readableNamed(view, name);
  if (found === undefined || 'lock' in found) return found;
  return { name, sizeBytes: found.sizeBytes, attachMode: 'shared-read' };
}

function snapshotsOf(view: ClusterView | undefined): readonly ExportInfo[] {
  const frozen = [...(view?.generations.values() ?? [])].filter(({ state }) => state === 'frozen');
  return frozen
    .sort((a, b) => a.id - b.id)
    .map(({ name, tag, sizeBytes }) => {
      return { name: snapshotName(name, tag), sizeBytes, attachMode: 'shared-read' };
    });
}

/** The volume of an export, which may be a snapshot. Who may attach a volume may read its snapshots. */
export function volumeOf(name: string): string {
  const at = name.indexOf('@');
  return at < 0 ? name : name.slice(0, at);
}

/** What a client may attach, and how many snapshots there are beyond that. */
export interface ExportList {
  readonly names: readonly string[];
  readonly omitted: number;
}

/** A connection's hold on a session. */
export interface Attachment {
  readonly session: VolumeSession;
  /** What a snapshot of the same volume showed: a session kept until `release`. Throws what the node says. */
  before(snapshot: string): VolumeSession;
  /** Calls `wake` once when the session, full now, has room again. */
  whenRoom(wake: () => void): void;
  /** A request of this session has ended: those who wait for room are woken. */
  requestEnded(): void;
  /** The connection is gone and its requests have ended. Resolves when the session knows. */
  release(): Promise<void>;
}

export class Exports {
  readonly #source: ExportSource;
  /** Who waits for room, per session in use. Bounded by the server's connections. */
  readonly #waiting = new Map<VolumeSession, { count: number; wakes: Set<() => void> }>();

  constructor(source: ExportSource) {
    this.#source = source;
  }

  /** All exports that the client may attach, in the order of their names. Throws 'refused' where that is none by rule. */
  list(client: NbdClient): ExportList {
    if (!client.isKnown)
      throw new OperatingError('refused', `${quote(client.name)} has no rights here`);
    const snapshots = (this.#source.snapshots?.() ?? []).filter(({ name }) => {
      return client.mayAttach(volumeOf(name));
    });
    const listed = snapshots.slice(-MAX_LISTED_SNAPSHOTS);
    const names = [...this.#allowed(client), ...listed].map(({ name }) => name);
    return { names: names.sort(), omitted: snapshots.length - listed.length };
  }

  /** What an export can be compared with. */
  snapshotted(name: string): Snapshotted {
    const volume = volumeOf(name);
    const ofThis = `${volume}@`;
    return {
      volume,
      tags: () => {
        const names = (this.#source.snapshots?.() ?? []).map((one) => one.name);
        const tags = names.filter((one) => one.startsWith(ofThis));
        return tags.slice(-MAX_LISTED_SNAPSHOTS).map((one) => one.slice(ofThis.length));
      },
      hasTag: (tag) => this.#source.volume(snapshotName(volume, tag)) !== undefined,
    };
  }

  #allowed(client: NbdClient): ExportInfo[] {
    return this.#source.volumes().filter(({ name }) => client.mayAttach(name));
  }

  /** Undefined when `find` knows for sure; else what to wait for before it says that the name is missing. */
  doubt(name: string): Promise<void> | undefined {
    if (name === '' || this.#source.volume(name) !== undefined) return undefined;
    return this.#source.lookUp?.(name);
  }

  /** The export a client means. Throws 'missing' or 'refused' with a text for people. */
  find(name: string, client: NbdClient): ExportInfo {
    if (name !== '') {
      // Before anything else: whether the volume exists is not for everybody.
      if (!client.mayAttach(volumeOf(name))) {
        throw new OperatingError('refused', `${quote(client.name)} may not attach ${quote(name)}`);
      }
      const found = this.#source.volume(name);
      if (found !== undefined) return found;
      throw new OperatingError('missing', `no volume ${quote(name)}; see dog vdi list`);
    }
    const all = this.#allowed(client);
    const only = all[0];
    if (all.length === 1 && only !== undefined) return only;
    const why = all.length === 0 ? 'there is no volume' : `there are ${all.length} volumes`;
    throw new OperatingError('missing', `${why}: name the one you mean; see dog vdi list`);
  }

  /** Opens by the name that `find` gave, and counts the connection, which came `from` there. Throws what the node says. */
  attach(name: string, from = ''): Attachment {
    const session = this.#source.open(name);
    session.connect(from);
    const shared = this.#waiting.get(session) ?? { count: 0, wakes: new Set() };
    shared.count += 1;
    this.#waiting.set(session, shared);
    // Bounded: one for each context that was chosen.
    const others = new Map<string, VolumeSession>();
    return {
      session,
      before: (snapshot) => {
        const known = others.get(snapshot);
        if (known !== undefined) return known;
        const opened = this.#source.open(snapshot);
        opened.connect(from);
        others.set(snapshot, opened);
        return opened;
      },
      whenRoom: (wake) => shared.wakes.add(wake),
      requestEnded: () => {
        if (shared.wakes.size > 0 && session.inFlight < MAX_EXPORT_REQUESTS) wakeAll(shared.wakes);
      },
      release: () => {
        shared.count -= 1;
        if (shared.count === 0) this.#waiting.delete(session);
        return endAll([session, ...others.values()]);
      },
    };
  }
}

async function endAll(sessions: readonly VolumeSession[]): Promise<void> {
  await Promise.all(sessions.map((one) => one.disconnect()));
}

function wakeAll(wakes: Set<() => void>): void {
  const all = [...wakes];
  wakes.clear();
  for (const wake of all) wake();
}

/** A name from outside in a text: short, and without control characters. */
function quote(name: string): string {
  const clean = name.replace(/\p{C}/gu, '?');
  return `"${clean.length > MAX_QUOTED_CHARACTERS ? `${clean.slice(0, MAX_QUOTED_CHARACTERS)}...` : clean}"`;
}
