// The words of a hand-over between two sessions (3.2, 3.3): who asks a holder for its volume, and what it may answer.

import type { HandoverReason } from './guest-traffic.ts';
import type { FencingToken, NodeId, SessionId } from './ids.ts';

/** Who asks a holder for its volume, or tells it of a client. */
export interface Asker {
  readonly node: NodeId;
  readonly session: SessionId;
  /** Of the lock as the asking node knows it. */
  readonly token: FencingToken;
}

/** `drained`: nothing of that token is in flight, nor will ever be; a reason: not now. */
export type HandoverAnswer = 'drained' | 'not-holder' | HandoverReason;

/** Called exactly once per ask. */
export type AnswerHandover = (answer: HandoverAnswer) => void;
