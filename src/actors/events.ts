// The events that cross actor borders. Facts in past tense go up or out, commands go down. Small plain data only:
// ids and numbers, never buffers, functions or refs.

import type { Epoch, Incarnation, NodeId, SessionId } from '../core/ids.ts';

/** What one observer says of one subject; becomes an alert to the voters (C1.4). */
export interface Suspicion {
  readonly subject: NodeId;
  readonly incarnation: Incarnation;
  readonly down: boolean;
  /** The process is gone for certain: its channel broke and a new dial was refused (C1.8). */
  readonly refused: boolean;
  /** How often the same was said before. */
  readonly repeats: number;
  /** What the subject said itself with its last words; absent in what others say. */
  readonly reason?: string;
}

/** From a peer actor to its membership parent. */
export type PeerReport =
  | ({ readonly type: 'peer.suspected' } & Suspicion)
  | ({ readonly type: 'peer.cleared' } & Suspicion);

/** A new view was applied and published. */
export interface ViewChanged {
  readonly type: 'view.changed';
  readonly epoch: Epoch;
}

/** This node's part in the agreement changed. */
export interface RoleChanged {
  readonly type: 'role.changed';
  readonly role: 'leader' | 'follower' | 'candidate' | 'learner';
}

/** From a lock actor to its parent: it is final. */
export interface LockEnded {
  readonly type: 'lock.ended';
  readonly session: SessionId;
}

/** Somebody asked for a scrub, a pause or its end. */
export interface ScrubChanged {
  readonly type: 'scrub.changed';
}
