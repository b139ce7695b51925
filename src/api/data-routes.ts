// The routes by which `dog` moves bytes of volumes: open a hold, ask where data is, move pieces, end it (volume-io.ts).

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { OperatingError } from '../core/errors.ts';
import { MAX_VOLUME_BYTES } from '../core/volume.ts';
import type { ExtentData, HoldData } from '../core/volume-shapes.ts';
import type { NodeHandle } from '../node-handle.ts';
import { answer, viewOf } from './answer.ts';
import { parseEmpty } from './requests.ts';
import { IO_BODY_BYTES, IO_IDLE_MS, IO_PIECE_BYTES, VolumeIo } from './volume-io.ts';

const BYTES = 'application/octet-stream';
/** Where the client came from, in `dog vdi lock list`. */
const FROM = 'dog (read, write, backup or restore)';

type Named = FastifyRequest<{ Params: { name: string } }>;
type Held = FastifyRequest<{
  Params: { id: string };
  Querystring: { offset?: string; length?: string };
}>;

export function addDataRoutes(
  app: FastifyInstance,
  handle: NodeHandle,
  io: VolumeIo = new VolumeIo(handle),
): void {
  app.addContentTypeParser(
    BYTES,
    { parseAs: 'buffer', bodyLimit: IO_BODY_BYTES },
    async (_request: FastifyRequest, body: string | Buffer) => body,
  );
  app.addHook('onClose', () => io.stop());
  app.post('/v1/volumes/:name/io', async (request: Named) => {
    parseEmpty(request.body);
    viewOf(handle);
    const { id, sizeBytes } = await io.open(request.params.name, FROM);
    const keepEveryMs = Math.floor(IO_IDLE_MS / 4);
    const data: HoldData = { id, sizeBytes, pieceBytes: IO_PIECE_BYTES, keepEveryMs };
    return answer(handle, 'io', data);
  });
  app.get('/v1/io/:id', async (request: Held, reply) => {
    const { offset, length } = request.query;
    const bytes = await io.read(idOf(request), numberOf(offset), numberOf(length));
    return reply.type(BYTES).send(bytes);
  });
  app.post('/v1/io/:id', { bodyLimit: IO_BODY_BYTES }, async (request: Held) => {
    const { body } = request;
    if (!(body instanceof Uint8Array)) throw new OperatingError('usage', `the body is ${BYTES}`);
    await io.write(idOf(request), numberOf(request.query.offset), body);
    return answer(handle, 'io.written', { bytes: body.length });
  });
  app.get('/v1/io/:id/extents', async (request: Held) => {
    const { offset, length } = request.query;
    const found = await io.extents(idOf(request), numberOf(offset), numberOf(length));
    const data: readonly ExtentData[] = found;
    return answer(handle, 'io.extents', data);
  });
  app.post('/v1/io/:id/zero', async (request: Held) => {
    parseEmpty(request.body);
    const { offset, length } = request.query;
    await io.zero(idOf(request), numberOf(offset), numberOf(length));
    return answer(handle, 'io.zeroed', {});
  });
  app.post('/v1/io/:id/preallocate', async (request: Held) => {
    parseEmpty(request.body);
    const { offset, length } = request.query;
    await io.preallocate(idOf(request), numberOf(offset), numberOf(length));
    return answer(handle, 'io.preallocated', {});
  });
  app.post('/v1/io/:id/keep', async (request: Held) => {
    io.keep(idOf(request));
    return answer(handle, 'io.kept', {});
  });
  app.delete('/v1/io/:id', async (request: Held) => {
    await io.end(idOf(request));
    return answer(handle, 'io.ended', {});
  });
}

function idOf(request: Held): number {
  return numberOf(request.params.id);
}

function numberOf(text: string | undefined): number {
  const value = Number(text);
  if (/^\d{1,15}$/.test(text ?? '') && value <= MAX_VOLUME_BYTES) return value;
  throw new OperatingError('usage', 'a whole number of bytes is missing');
}
