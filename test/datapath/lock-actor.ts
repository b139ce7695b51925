// What the lock actor of a session does for worlds without actors: claims of a lock, and what a new view means for a holder.

import type { FencingToken, Incarnation, NodeId, SessionId, VolumeId } from '../../src/core/ids.ts';
import type { ClusterView } from '../../src/core/view.ts';
import type { OpenVolume } from '../../src/datapath/open-volume.ts';

interface Life {
  readonly id: NodeId;
  readonly incarnation: Incarnation;
}

/** The fields that claims of all kinds have. */
export interface Claim {
  readonly volume: VolumeId;
  readonly token: FencingToken;
  readonly node: NodeId;
  readonly incarnation: Incarnation;
  readonly session: SessionId;
  readonly dateMs: number;
  readonly from: string;
}

export function claimOf(life: Life, open: OpenVolume, token: FencingToken): Claim {
  const { id: node, incarnation } = life;
  const { sessionId: session } = open;
  return { volume: open.volume.id, token, node, incarnation, session, dateMs: 0, from: '' };
}

/** A new view: another token of this session (a hand-over was cancelled), or of somebody else. */
export function grantAgain(view: ClusterView, life: Life, open: OpenVolume): void {
  const lock = view.volumes.get(open.volume.id)?.lock;
  if (open.state !== 'held' || lock === undefined || lock.token <= open.token) return;
  const isMine = lock.node === life.id && lock.incarnation === life.incarnation;
  if (isMine && lock.session === open.sessionId) open.granted(lock);
  else open.lost('the lock of the volume was taken over');
}
