// The routes about what operators do with one volume beside making and deleting it: its name, its protection, its
// attributes. The node does it by the log; values of attributes travel as base64, for they are bytes.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { MAX_ATTRIBUTE_BYTES } from '../core/attributes.ts';
import { OperatingError } from '../core/errors.ts';
import type { AttributeData, AttributeInfo } from '../core/volume-shapes.ts';
import type { NodeHandle } from '../node-handle.ts';
import { answer, viewOf } from './answer.ts';
import { volumeDetail, volumeNamed } from './report.ts';
import { parseAttribute, parseProtect, parseRename } from './requests.ts';

/** A value of the largest size as base64, its key and the rest. */
const MAX_ATTRIBUTE_BODY_BYTES = 2 * MAX_ATTRIBUTE_BYTES;

type Named = FastifyRequest<{ Params: { name: string } }>;
type Keyed = FastifyRequest<{ Params: { name: string; key: string } }>;

export function addVolumeCareRoutes(app: FastifyInstance, handle: NodeHandle): void {
  app.post('/v1/volumes/:name/rename', async (request: Named) => {
    const { to, force = false } = parseRename(request.body);
    viewOf(handle);
    await handle.volumes().rename(request.params.name, to, { force });
    const view = viewOf(handle);
    return answer(handle, 'volume', volumeDetail(view, volumeNamed(view, to)));
  });
  app.post('/v1/volumes/:name/protect', async (request: Named) => {
    const { isProtected } = parseProtect(request.body);
    viewOf(handle);
    const { name } = request.params;
    await handle.volumes().protect(name, isProtected);
    const view = viewOf(handle);
    return answer(handle, 'volume', volumeDetail(view, volumeNamed(view, name)));
  });
  addAttributeRoutes(app, handle);
}

function addAttributeRoutes(app: FastifyInstance, handle: NodeHandle): void {
  app.get('/v1/volumes/:name/attributes', async (request: Named) => {
    viewOf(handle);
    const attributes = await handle.volumes().attributes(request.params.name);
    const infos = [...attributes].map(([key, value]): AttributeInfo => {
      return { key, bytes: value.length };
    });
    return answer(
      handle,
      'attributes',
      infos.sort((a, b) => (a.key < b.key ? -1 : 1)),
    );
  });
  app.get('/v1/volumes/:name/attributes/:key', async (request: Keyed) => {
    viewOf(handle);
    const { name, key } = request.params;
    const value = (await handle.volumes().attributes(name)).get(key);
    if (value === undefined) {
      throw new OperatingError('missing', `${name} has no attribute ${JSON.stringify(key)}`, {
        remedy: `dog vdi listattr ${name}`,
      });
    }
    const data: AttributeData = { key, value: Buffer.from(value).toString('base64') };
    return answer(handle, 'attribute', data);
  });
  const bodyLimit = MAX_ATTRIBUTE_BODY_BYTES;
  app.post('/v1/volumes/:name/attributes', { bodyLimit }, async (request: Named) => {
    const { key, value, isNew = false } = parseAttribute(request.body);
    viewOf(handle);
    const bytes = Buffer.from(value, 'base64');
    await handle.volumes().setAttribute(request.params.name, key, bytes, isNew);
    const info: AttributeInfo = { key, bytes: bytes.length };
    return answer(handle, 'attribute.set', info);
  });
  app.delete('/v1/volumes/:name/attributes/:key', async (request: Keyed) => {
    viewOf(handle);
    const { name, key } = request.params;
    await handle.volumes().removeAttribute(name, key);
    const info: AttributeInfo = { key, bytes: 0 };
    return answer(handle, 'attribute.removed', info);
  });
}
