// The mutants of Part 1, each with the story that catches it.

import { FLAG, OP, REPLY_BIT, STATUS } from '../../src/wire/frame.ts';
import { decodeControl, encodeControl } from '../../src/wire/messages.ts';
import { decodeContents, encodeContents, encodeRows } from '../../src/wire/payloads.ts';
import { fencedElsewhere } from '../scenarios/fenced-elsewhere.ts';
import { fourthJoins } from '../scenarios/fourth-joins.ts';
import { halfWritten } from '../scenarios/half-written.ts';
import { powerLossAll } from '../scenarios/power-loss-all.ts';
import { split } from '../scenarios/split.ts';
import { staleGateway } from '../scenarios/stale-gateway.ts';
import { threeNodesWrite } from '../scenarios/three-nodes-write.ts';
import { twoCandidates } from '../scenarios/two-candidates.ts';
import type { Stage } from '../stage.ts';
import { countedTwice, ignoresIncarnation, silentObserver } from './detector.ts';
import { refusesAfterTouching, reusesNumber } from './full-disks.ts';
import type { Mutant } from './mutant.ts';
import { tamperFrames } from './tamper-frames.ts';
import { wrapSessions } from './wrap-session.ts';
import { WRITEBACK_MUTANTS } from './writeback-mutants.ts';

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
  prepare: (stage) => lieAbout(stage, () => true),
};

/** C2.1, A3: term, vote and entries are answered for before they are durable. */
export const forgetfulLog: Mutant = {
  name: 'forgetful-log',
  breaks: 'C2.1: log synced before any answer that depends on it',
  story: powerLossAll,
  prepare: (stage) => lieAbout(stage, (path) => MAP_LOG.test(path)),
};

/** R3, F1: whatever a replica answers to a write counts as a confirmation. */
export const refusalsConfirm: Mutant = {
  name: 'refusals-confirm',
  breaks: 'R3, F1: only confirmations under the present cfg and token count',
  story: split,
  prepare: (stage) =>
    tamperFrames(stage, (frame) => {
      const isWriteReply = frame.op === OP.WRITE + REPLY_BIT || frame.op === OP.ZERO + REPLY_BIT;
      return isWriteReply ? { ...frame, status: STATUS.OK } : frame;
    }),
};

function isWrite({ op }: { readonly op: number }): boolean {
  return op === OP.WRITE || op === OP.ZERO;
}

/** F2, I1: a replica takes every write as if it were of its own config. */
export const ignoresCfg: Mutant = {
  name: 'ignores-cfg',
  breaks: 'F2, I1: a replica refuses a write of another config',
  story: staleGateway,
  prepare: (stage) =>
    tamperFrames(stage, (frame, view) => {
      const volume = view?.volumeOfGeneration(frame.generation);
      if (view === undefined || volume === undefined || !isWrite(frame)) return frame;
      return { ...frame, cfg: view.partition(volume.policy, frame.partition).cfg };
    }),
};

/** F1, A11: a replica takes every write as if it came from the present holder. */
export const ignoresToken: Mutant = {
  name: 'ignores-token',
  breaks: 'F1, A11: a replica refuses an older token',
  story: fencedElsewhere,
  prepare: (stage) =>
    tamperFrames(stage, (frame, view) => {
      const volume = view?.volumeOfGeneration(frame.generation);
      if (volume === undefined || !isWrite(frame)) return frame;
      return { ...frame, token: volume.lock.token };
    }),
};

/** 4.6, I1: a source's list is empty, so the joiner asks for promotion without a copy. */
export const noDrain: Mutant = {
  name: 'no-drain',
  breaks: 'I1: promoted only after the drain',
  story: fourthJoins,
  prepare: (stage) =>
    tamperFrames(stage, (frame) => {
      if (frame.op !== OP.CONTENTS + REPLY_BIT || frame.status !== STATUS.OK) return frame;
      const { partitions } = decodeContents(frame.payload);
      const none = { partitions: partitions.map((one) => ({ ...one, rows: 0 })), rows: [] };
      return { ...frame, payload: encodeContents(none) };
    }),
};

/** A11b, 4.5: the other replicas have nothing open, whatever they have. */
export const noFirstTouch: Mutant = {
  name: 'no-first-touch',
  breaks: 'I2, 4.5: the first touch settles what was open',
  story: halfWritten,
  prepare: (stage) =>
    tamperFrames(stage, (frame) => {
      const isSealReply = frame.op === OP.SEAL + REPLY_BIT || frame.op === OP.ENSURE + REPLY_BIT;
      if (!isSealReply || frame.status !== STATUS.OK) return frame;
      return { ...frame, flags: FLAG.SECOND, payload: encodeRows([]) };
    }),
};

/** C2.1, A1: a voter gives its vote to everybody who asks. */
export const forgottenVote: Mutant = {
  name: 'forgotten-vote',
  breaks: 'A1: one vote per term',
  story: twoCandidates,
  prepare: (stage) => {
    stage.cable.tamper = ({ plane, bytes }) => {
      if (plane !== 'control') return bytes;
      const said = decodeControl(bytes);
      if (said.kind !== 'raft' || said.message.type !== 'voteReply') return bytes;
      return encodeControl({ ...said, message: { ...said.message, granted: true } });
    };
  },
};

/** R3: the guest is told yes before any replica has it. */
export const earlyAnswer: Mutant = {
  name: 'early-answer',
  breaks: 'R3: acknowledged after every member of W confirmed',
  story: split,
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
  ignoresCfg,
  ignoresToken,
  noDrain,
  noFirstTouch,
  forgottenVote,
  earlyAnswer,
  staleReads,
  turnedBits,
  refusesAfterTouching,
  reusesNumber,
  silentObserver,
  countedTwice,
  ignoresIncarnation,
  ...WRITEBACK_MUTANTS,
];
