// Every story that `npm run sim` and the smoke test run.

import type { Scenario } from './scenario.ts';
import { aDay, anHour } from './scenarios/a-day.ts';
import { actorBreaks } from './scenarios/actor-breaks.ts';
import { awayTooLong } from './scenarios/away-too-long.ts';
import { backForGood } from './scenarios/back-for-good.ts';
import { badSnapshot } from './scenarios/bad-snapshot.ts';
import { bitRot } from './scenarios/bit-rot.ts';
import { brokenState } from './scenarios/broken-state.ts';
import { cacheLost } from './scenarios/cache-lost.ts';
import { clockJump } from './scenarios/clock-jump.ts';
import { coldDisk } from './scenarios/cold-disk.ts';
import { commands } from './scenarios/commands.ts';
import { copiesChange } from './scenarios/copies-change.ts';
import { copiesChecked } from './scenarios/copies-checked.ts';
import { currentReads } from './scenarios/current-reads.ts';
import { cutGatewayReturns } from './scenarios/cut-gateway-returns.ts';
import { damagedLog } from './scenarios/damaged-log.ts';
import { damagedSnapshot } from './scenarios/damaged-snapshot.ts';
import { deletedBeside } from './scenarios/deleted-beside.ts';
import { deletedStaysDeleted } from './scenarios/deleted-stays-deleted.ts';
import { drainUnderLoad } from './scenarios/drain-under-load.ts';
import { failingDisk } from './scenarios/failing-disk.ts';
import { fencedElsewhere } from './scenarios/fenced-elsewhere.ts';
import { folderMovedAway } from './scenarios/folder-moved-away.ts';
import { forgottenEntry } from './scenarios/forgotten-entry.ts';
import { fourthJoins } from './scenarios/fourth-joins.ts';
import { fullDisk } from './scenarios/full-disk.ts';
import { fullRecovery } from './scenarios/full-recovery.ts';
import { fullReturns } from './scenarios/full-returns.ts';
import { gatewayLost } from './scenarios/gateway-lost.ts';
import { gossipSilent } from './scenarios/gossip-silent.ts';
import { groupSnapshots } from './scenarios/group-snapshots.ts';
import { growAndShrink } from './scenarios/grow-and-shrink.ts';
import { halfAVote } from './scenarios/half-a-vote.ts';
import { halfWritten } from './scenarios/half-written.ts';
import { identityTwice } from './scenarios/identity-twice.ts';
import { layers } from './scenarios/layers.ts';
import { leaderStops } from './scenarios/leader-stops.ts';
import { limits } from './scenarios/limits.ts';
import { linkComesAndGoes } from './scenarios/link-comes-and-goes.ts';
import { lockBusy } from './scenarios/lock-busy.ts';
import { lockExclusive } from './scenarios/lock-exclusive.ts';
import { lockSharedRead } from './scenarios/lock-shared-read.ts';
import { lockUnlock } from './scenarios/lock-unlock.ts';
import { locksComeAndGo } from './scenarios/locks-come-and-go.ts';
import { locksGivenUp } from './scenarios/locks-given-up.ts';
import { lostAndStale } from './scenarios/lost-and-stale.ts';
import { lostChannel } from './scenarios/lost-channel.ts';
import { lostForGood } from './scenarios/lost-for-good.ts';
import { lostRename } from './scenarios/lost-rename.ts';
import { lostSync } from './scenarios/lost-sync.ts';
import { mayHalt } from './scenarios/may-halt.ts';
import { migration } from './scenarios/migration.ts';
import { migrationBroken } from './scenarios/migration-broken.ts';
import { migrationCut } from './scenarios/migration-cut.ts';
import { migrationPrepared } from './scenarios/migration-prepared.ts';
import { oldImage } from './scenarios/old-image.ts';
import { olderHistory } from './scenarios/older-history.ts';
import { oneNodeLost } from './scenarios/one-node-lost.ts';
import { oneWayCut } from './scenarios/one-way-cut.ts';
import { outAndBack } from './scenarios/out-and-back.ts';
import { outagesOverlap } from './scenarios/outages-overlap.ts';
import { pauseOfTheHolder } from './scenarios/pause-of-the-holder.ts';
import { powerLossAll } from './scenarios/power-loss-all.ts';
import { preallocated } from './scenarios/preallocated.ts';
import { randomFaults } from './scenarios/random-faults.ts';
import { readerDies } from './scenarios/reader-dies.ts';
import { readsFail } from './scenarios/reads-fail.ts';
import { recoveryBroken } from './scenarios/recovery-broken.ts';
import { recoveryOrder } from './scenarios/recovery-order.ts';
import { recoveryPaused } from './scenarios/recovery-paused.ts';
import { repairBehind } from './scenarios/repair-behind.ts';
import { restlessRing } from './scenarios/restless-ring.ts';
import { rollingRestart } from './scenarios/rolling-restart.ts';
import { rollingUpgrade } from './scenarios/rolling-upgrade.ts';
import { scrubPaused } from './scenarios/scrub-paused.ts';
import { shortCutLink } from './scenarios/short-cut-link.ts';
import { shortOutage } from './scenarios/short-outage.ts';
import { silentHolder } from './scenarios/silent-holder.ts';
import { slowLeader } from './scenarios/slow-leader.ts';
import { slowReplica } from './scenarios/slow-replica.ts';
import { snapshots, snapshotsWriteback } from './scenarios/snapshots.ts';
import { split } from './scenarios/split.ts';
import { staleGateway } from './scenarios/stale-gateway.ts';
import { stopFails } from './scenarios/stop-fails.ts';
import { stopsAmongNews } from './scenarios/stops-among-news.ts';
import { stopsWhileItWaits } from './scenarios/stops-while-it-waits.ts';
import { strangerKnocks } from './scenarios/stranger-knocks.ts';
import { swarm, swarmRare, swarmSmall } from './scenarios/swarm.ts';
import { threeNodesWrite } from './scenarios/three-nodes-write.ts';
import { tornWrite } from './scenarios/torn-write.ts';
import { twoAndWitness } from './scenarios/two-and-witness.ts';
import { twoAtOnce } from './scenarios/two-at-once.ts';
import { twoCandidates } from './scenarios/two-candidates.ts';
import { twoLostInSequence } from './scenarios/two-lost-in-sequence.ts';
import { twoOut } from './scenarios/two-out.ts';
import { volumeMoves } from './scenarios/volume-moves.ts';
import { volumeMovesWriteback } from './scenarios/volume-moves-writeback.ts';
import { voterByLoad } from './scenarios/voter-by-load.ts';
import { voterLosesDisk } from './scenarios/voter-loses-disk.ts';
import { voterReplaced } from './scenarios/voter-replaced.ts';
import { votersPause } from './scenarios/voters-pause.ts';
import { wholeObjectsCopied } from './scenarios/whole-objects-copied.ts';
import { writebackDoubtfulReads } from './scenarios/writeback-doubtful-reads.ts';
import { writebackFlushBeside } from './scenarios/writeback-flush-beside.ts';
import { writebackNodeCrash } from './scenarios/writeback-node-crash.ts';
import { writebackPowerLoss } from './scenarios/writeback-power-loss.ts';
import { writebackSureOneCut } from './scenarios/writeback-sure-one-cut.ts';
import { writebackThirdStaysDead } from './scenarios/writeback-third-stays-dead.ts';

export const SCENARIOS: readonly Scenario[] = [
  threeNodesWrite,
  fourthJoins,
  oneNodeLost,
  gatewayLost,
  powerLossAll,
  tornWrite,
  lostSync,
  lostRename,
  clockJump,
  pauseOfTheHolder,
  lockBusy,
  lockExclusive,
  lockSharedRead,
  lockUnlock,
  locksComeAndGo,
  locksGivenUp,
  migration,
  migrationPrepared,
  migrationBroken,
  migrationCut,
  silentHolder,
  actorBreaks,
  twoLostInSequence,
  split,
  rollingRestart,
  rollingUpgrade,
  gossipSilent,
  oneWayCut,
  lostChannel,
  shortCutLink,
  linkComesAndGoes,
  shortOutage,
  recoveryOrder,
  recoveryPaused,
  backForGood,
  cutGatewayReturns,
  staleGateway,
  fencedElsewhere,
  halfWritten,
  writebackPowerLoss,
  writebackNodeCrash,
  writebackFlushBeside,
  writebackThirdStaysDead,
  writebackSureOneCut,
  writebackDoubtfulReads,
  cacheLost,
  failingDisk,
  readsFail,
  folderMovedAway,
  fullDisk,
  fullReturns,
  fullRecovery,
  bitRot,
  scrubPaused,
  repairBehind,
  randomFaults,
  swarm,
  swarmRare,
  swarmSmall,
  mayHalt,
  drainUnderLoad,
  outAndBack,
  outagesOverlap,
  restlessRing,
  ...recoveryBroken,
  wholeObjectsCopied,
  deletedStaysDeleted,
  deletedBeside,
  voterReplaced,
  votersPause,
  voterByLoad,
  twoAndWitness,
  strangerKnocks,
  identityTwice,
  olderHistory,
  awayTooLong,
  damagedLog,
  damagedSnapshot,
  slowLeader,
  slowReplica,
  coldDisk,
  leaderStops,
  stopsAmongNews,
  stopsWhileItWaits,
  stopFails,
  voterLosesDisk,
  oldImage,
  brokenState,
  halfAVote,
  twoCandidates,
  forgottenEntry,
  badSnapshot,
  currentReads,
  commands,
  groupSnapshots,
  layers,
  growAndShrink,
  twoOut,
  twoAtOnce,
  readerDies,
  lostForGood,
  lostAndStale,
  copiesChange,
  copiesChecked,
  preallocated,
  limits,
  snapshots,
  snapshotsWriteback,
  volumeMoves,
  volumeMovesWriteback,
];

/** Too long for every change: soaks play them. */
export const LONG_SCENARIOS: readonly Scenario[] = [anHour, aDay];

/** What people call stories that have another name here. */
export const ALSO_CALLED: Readonly<Record<string, string>> = {
  'split-brain': 'split',
  'one-way-split': 'one-way-cut',
  'disk-full': 'full-disk',
  'slow-disk': 'slow-replica',
  'join-under-load': 'fourth-joins',
  'migration-under-load': 'migration',
  'clone-under-load': 'layers',
  'disk-restored-from-old-backup': 'old-image',
  'grow-1-to-9': 'grow-1-to-9-and-back',
};

/** Finds a story by one of its names. */
export function scenarioNamed(name: string): Scenario | undefined {
  const own = ALSO_CALLED[name] ?? name;
  return [...SCENARIOS, ...LONG_SCENARIOS].find((story) => story.name === own);
}
