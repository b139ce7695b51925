// The route that tells how a guest reaches a volume through this node: the addresses that it serves NBD on. It takes
// nothing; the words for QEMU, libvirt and the kernel are made by `dog vdi attach`.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { AttachData, DoorData } from '../core/admin-shapes.ts';
import type { NodeHandle } from '../node-handle.ts';
import { answer, viewOf } from './answer.ts';
import { nodeName, volumeNamed } from './report.ts';

type Named = FastifyRequest<{ Params: { name: string } }>;

/** @param doors as this process listens */
export function addAttachRoutes(
  app: FastifyInstance,
  handle: NodeHandle,
  doors: readonly DoorData[],
): void {
  app.get('/v1/volumes/:name/attach', async (request: Named) => {
    const view = viewOf(handle);
    const { name, sizeBytes } = volumeNamed(view, request.params.name);
    const { node } = handle.status();
    const addresses = node === undefined ? [] : (view.members.get(node)?.addresses ?? []);
    const data: AttachData = {
      name,
      sizeBytes,
      node: nodeName(node),
      doors: doors.map((door) => reachable(door, addresses)),
    };
    return answer(handle, 'volume.attach', data);
  });
}

/** Who listens on all addresses is reached at the one that the other members use. */
function reachable(door: DoorData, addresses: readonly string[]): DoorData {
  if (door.kind === 'unix' || !isAny(door.host)) return door;
  const known = addresses.map(
    (address) => /^\/(?:ip4|ip6|dns4?|dns6)\/([^/]+)\//.exec(address)?.[1],
  );
  const host = known.find((one) => one !== undefined && !isAny(one));
  return host === undefined ? door : { ...door, host };
}

function isAny(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}
