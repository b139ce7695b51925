// Reads that must be current (C2.3). The leader notes its commit index, asks everybody whether it still leads, and answers
// once a majority said so after the question: no other leader can have committed more before the question came. No lease,
// no clock.

import type { NodeId } from '../ids.ts';
import { sendNow, termAt, voterSet } from './log.ts';
import { MAX_WAITING_READS, type Turn } from './state.ts';
import { hasQuorum } from './voters.ts';

/** Answers at once, later, or with a refusal. A leader whose own term has committed nothing yet does not know enough. */
export function beginRead(turn: Turn, id: number): void {
  const { state } = turn;
  const isKnowing = state.role === 'leader' && termAt(state, state.commit) === state.term;
  if (!isKnowing || state.reads.length >= MAX_WAITING_READS) {
    turn.effects.push({ type: 'readRefused', id, leader: state.leader });
    return;
  }
  state.readRound += 1;
  const confirmed = new Set([state.self]);
  state.reads.push({ id, round: state.readRound, index: state.commit, confirmed });
  settleReads(turn);
  askAgain(turn);
}

/** With each heartbeat while somebody waits: a question may have been lost. */
export function askAgain(turn: Turn): void {
  const { state } = turn;
  if (state.reads.length === 0) return;
  for (const node of state.progress.keys()) {
    sendNow(turn, node, { type: 'confirm', term: state.term, round: state.readRound });
  }
}

/** A follower in this term said so after `round` was asked: it speaks for all earlier questions, too. */
export function noteConfirmed(turn: Turn, from: NodeId, round: number): void {
  for (const read of turn.state.reads) if (read.round <= round) read.confirmed.add(from);
  settleReads(turn);
}

/** The lead is lost: what was asked is asked elsewhere. */
export function refuseReads(turn: Turn): void {
  const { state } = turn;
  for (const { id } of state.reads) {
    turn.effects.push({ type: 'readRefused', id, leader: state.leader });
  }
  state.reads = [];
}

function settleReads(turn: Turn): void {
  const { state } = turn;
  const set = voterSet(state);
  state.reads = state.reads.filter(({ id, index, confirmed }) => {
    if (!hasQuorum(set, (node) => confirmed.has(node))) return true;
    turn.effects.push({ type: 'readReady', id, index });
    return false;
  });
}
