// Whether somebody listens at the address of a member: all that an offline tool can ask, for it has no identity to show.

import { connect } from 'node:net';
import type { Clock } from '../ports/ports.ts';
import { hostAndPort } from './multiaddr-parts.ts';

/** A host that is there accepts, or refuses, within this. */
export const LISTENING_TIMEOUT_MS = 1500;

/** True when a connection is accepted. Never rejects. */
export function isListening(address: string, clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    try {
      const socket = connect(hostAndPort(address));
      const timer = clock.setTimer(LISTENING_TIMEOUT_MS, () => end(false));
      const end = (isThere: boolean): void => {
        clock.clearTimer(timer);
        socket.destroy();
        resolve(isThere);
      };
      socket.once('connect', () => end(true));
      socket.once('error', () => end(false));
    } catch {
      resolve(false);
    }
  });
}
