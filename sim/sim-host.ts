// A host on the cable and what the cable asks of the process that listens there.

import type { PeerKey } from '../src/core/ids.ts';
import type { DataChannel, GossipTopic } from '../src/ports/ports.ts';
import type { SimProcess } from './sim-process.ts';

/** An accepted channel end; `onGone` is the owner's book-keeping. */
export type AcceptedChannel = DataChannel & { onGone: () => void };

/** The Network port of a living process, as the other hosts reach it. */
export interface Listener {
  readonly self: PeerKey;
  readonly host: Host;
  readonly process: SimProcess;
  readonly startedMs: number;
  /** Whether this peer is let in. */
  knows(peer: PeerKey): boolean;
  /** Whether another process with that host's key came before it, and answers. */
  isSecond(from: Host): boolean;
  receiveControl(from: PeerKey, message: Uint8Array): void;
  receiveGossip(from: PeerKey, topic: GossipTopic, payload: Uint8Array): void;
  answerKnock(from: Listener, request: Uint8Array, answer: (bytes: Uint8Array) => void): void;
  accept(end: AcceptedChannel): void;
}

/** Powered or not, with a listening process or not. */
export interface Host {
  readonly name: string;
  peer: PeerKey;
  readonly address: string;
  isPowered: boolean;
  /** The port of the living process; undefined = nobody listens. */
  network: Listener | undefined;
}
