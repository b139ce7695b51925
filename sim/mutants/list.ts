// The mutants of Part 1, each with the story that catches it.

import { decodeFrame, encodeHeaders, OP, REPLY_BIT, STATUS } from '../../src/wire/frame.ts';
import { gatewayLost } from '../scenarios/gateway-lost.ts';
import { powerLossAll } from '../scenarios/power-loss-all.ts';
import { split } from '../scenarios/split.ts';
import { threeNodesWrite } from '../scenarios/three-nodes-write.ts';
import type { Stage } from '../stage.ts';
import type { Mutant } from './mutant.ts';
import { wrapSessions } from './wrap-session.ts';

/** Written in the map log's own file name: storage/layout.ts. */
const MAP_LOG = /map\.log|raft/;

function lieAbout(stage: Stage, isLie: (path: string) => boolean): void {
  for (const node of stage.nodes) node.disk.ignoresSync = isLie;
}

/** R4, C2.1: a confirmation goes out although nothing was synced. */
export const lyingDisk: Mutant = {
  name: 'lying-disk',
  breaks: 'R4: synced before a confirmation',
  story: powerLossAll,
  seeds: 20,
  prepare: (stage) => lieAbout(stage, () => true),
};

/** C2.1, A3: term, vote and entries are answered for before they are durable. */
export const forgetfulLog: Mutant = {
  name: 'forgetful-log',
  breaks: 'C2.1: log synced before any answer that depends on it',
  story: powerLossAll,
  seeds: 20,
  prepare: (stage) => lieAbout(stage, (path) => MAP_LOG.test(path)),
};

function refusalToConfirmation(bytes: Uint8Array): Uint8Array {
  const frame = decodeFrame(bytes);
  const isWriteReply = frame.op === OP.WRITE + REPLY_BIT || frame.op === OP.ZERO + REPLY_BIT;
  if (!isWriteReply || frame.status === STATUS.OK) return bytes;
  const forged = { ...frame, status: STATUS.OK };
  const headers = encodeHeaders(forged);
  return Buffer.concat([headers, forged.payload]);
}

/** R3, F1: whatever a replica answers to a write counts as a confirmation. */
export const refusalsConfirm: Mutant = {
  name: 'refusals-confirm',
  breaks: 'R3, F1: only confirmations under the present cfg and token count',
  story: split,
  seeds: 20,
  prepare: (stage) => {
    stage.cable.tamper = ({ plane, bytes }) =>
      plane === 'data' ? refusalToConfirmation(bytes) : bytes;
  },
};

/** R3: the guest is told yes before any replica has it. */
export const earlyAnswer: Mutant = {
  name: 'early-answer',
  breaks: 'R3: acknowledged after every member of W confirmed',
  story: gatewayLost,
  seeds: 20,
  wrapBuild: (build) =>
    wrapSessions(build, (session) => ({
      write: (offset, data, done) => {
        session.write(offset, data, () => {});
        done(undefined);
      },
    })),
};

/** C-lin: a read cache that no write ever invalidates. */
export const staleReads: Mutant = {
  name: 'stale-reads',
  breaks: 'C-lin: a read sees the last acknowledged write',
  story: threeNodesWrite,
  seeds: 5,
  wrapBuild: (build) =>
    wrapSessions(build, (session) => {
      const cache = new Map<string, Uint8Array>();
      return {
        tryRead: () => false,
        read: (offset, length, target, at, done) => {
          const cached = cache.get(`${offset} ${length}`);
          if (cached !== undefined) {
            target.set(cached, at);
            done(undefined);
            return;
          }
          session.read(offset, length, target, at, (error) => {
            if (error === undefined)
              cache.set(`${offset} ${length}`, target.slice(at, at + length));
            done(error);
          });
        },
      };
    }),
};

/** I8: one bit of every thousandth answer to a read is turned on the wire, sums made to fit. */
export const turnedBits: Mutant = {
  name: 'turned-bits',
  breaks: 'I8: data returned to a guest passed its checksum',
  story: threeNodesWrite,
  seeds: 5,
  wrapBuild: (build) =>
    wrapSessions(build, (session) => ({
      tryRead: () => false,
      read: (offset, length, target, at, done) => {
        session.read(offset, length, target, at, (error) => {
          if (offset % 3 === 0 && length > 0) target[at + 100] = (target[at + 100] ?? 0) ^ 1;
          done(error);
        });
      },
    })),
};

export const MUTANTS: readonly Mutant[] = [
  lyingDisk,
  forgetfulLog,
  refusalsConfirm,
  earlyAnswer,
  staleReads,
  turnedBits,
];
