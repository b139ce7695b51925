// The routes about volumes that move to another number of copies: begin, cancel, and MOVE_STUCK for health. The log says
// that a volume moves; how far it is says the node that copies it.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { AlterCopyData, Warning } from '../core/admin-shapes.ts';
import { copiesText } from '../core/count-text.ts';
import type { MoveStatus } from '../core/move-progress.ts';
import type { ClusterView, Volume } from '../core/view.ts';
import { copyBar, twinOf } from '../core/volume-move.ts';
import type { MoveAnswer, NodeHandle } from '../node-handle.ts';
import { answer, viewOf } from './answer.ts';
import { policyWarnings } from './health.ts';
import { moveData, volumeNamed } from './report.ts';
import { parseAlterCopies } from './requests.ts';

/** A copy that waits for less is not worth a warning. */
export const MOVE_STUCK_MS = 30_000;

type Named = FastifyRequest<{ Params: { name: string } }>;

export function addMoveRoutes(app: FastifyInstance, handle: NodeHandle): void {
  app.post('/v1/volumes/:name/alter-copy', async (request: Named) => {
    const options = parseAlterCopies(request.body);
    viewOf(handle);
    const { name } = request.params;
    return say(handle, name, await handle.moveVolume(name, options));
  });
  app.delete('/v1/volumes/:name/alter-copy', async (request: Named) => {
    viewOf(handle);
    const { name } = request.params;
    return say(handle, name, await handle.cancelMove(name));
  });
}

async function say(handle: NodeHandle, name: string, did: MoveAnswer) {
  const moves = await handle.moves();
  const view = viewOf(handle);
  const volume = volumeNamed(view, name);
  const target = view.moves.get(volume.id)?.policy ?? volume.policy;
  const policy = view.policies.get(target);
  const data: AlterCopyData = {
    name,
    answer: did,
    copies: policy?.copies ?? 0,
    minCopies: policy?.minCopies ?? 0,
    strict: policy?.strict ?? false,
    move: moveData(view, volume, moves),
  };
  // What a volume of that many copies lacks, as it is said of one that is made.
  const warnings = policy === undefined ? [] : policyWarnings(view, policy);
  return answer(handle, 'volume.alter-copy', data, warnings);
}

/** MOVE_STUCK: copies that wait for something that may need a person. `dateMs`: now, ms since 1970. */
export function moveWarnings(
  view: ClusterView,
  moves: readonly MoveStatus[],
  dateMs: number,
): readonly Warning[] {
  return moves.map((status) => stuck(view, status, dateMs)).filter((one) => one !== undefined);
}

function stuck(view: ClusterView, status: MoveStatus, dateMs: number): Warning | undefined {
  const volume = view.volumes.get(status.volume);
  const move = view.moves.get(status.volume);
  if (volume === undefined || move === undefined || status.stage === 'copying') return undefined;
  const isWaiting = status.stage === 'waiting';
  const bar = isWaiting ? copyBar(view, twinOf(volume, move)) : undefined;
  const hasWaited = status.stageMs > 0 && dateMs - status.stageMs >= MOVE_STUCK_MS;
  if (bar === undefined && !hasWaited) return undefined;
  const reason = bar ?? (isWaiting ? status.reason : LONG_STAGES[status.stage]);
  return stuckOf(volume, view.policies.get(move.policy)?.copies ?? 0, reason);
}

/** What a stage waits for that is over in a moment where all is well. */
const LONG_STAGES = {
  counting: 'what there is to copy can not be told: copies that the volume has now do not answer',
  finishing:
    'all is copied, and the log does not make it the volume: is there a majority of the voters?',
} as const;

function stuckOf({ name }: Volume, copies: number, reason: string): Warning {
  return {
    code: 'MOVE_STUCK',
    severity: 'warning',
    message: `volume ${name} waits on its way to ${copiesText(copies)}: ${reason}`,
    remedy: `see to that; or let it stay as it is: dog vdi alter-copy ${name} --cancel`,
    affected: [name],
  };
}
