// A link to a node's API that is cut at a request that changes something: when it was done, and before its answer. From
// then on nothing passes, as if the command had been killed there; or only that one answer is lost.

import http from 'node:http';
import path from 'node:path';
import type { ExecutionContext } from 'ava';

export interface CutLink {
  readonly env: NodeJS.ProcessEnv;
  readonly isCut: boolean;
}

export async function cutLink(
  t: ExecutionContext,
  served: { readonly socketPath: string; readonly dir: string },
  /** How many changes are done, from 1 on. */
  changes: number,
  /** All that comes after passes again. */
  isBack = false,
): Promise<CutLink> {
  const socketPath = path.join(served.dir, `cut-${changes}`);
  let done = 0;
  const server = http.createServer((request, response) => {
    const isOver = done >= changes;
    if (isOver && !isBack) {
      request.socket.destroy();
      return;
    }
    if (request.method !== 'GET') done += 1;
    const isLast = !isOver && done >= changes;
    const { method, url, headers } = request;
    const passed = http.request(
      { socketPath: served.socketPath, method, path: url, headers },
      (answer) => {
        if (isLast) {
          answer.resume();
          answer.once('end', () => request.socket.destroy());
          return;
        }
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(response);
      },
    );
    passed.on('error', () => request.socket.destroy());
    request.pipe(passed);
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  t.teardown(() => server.close());
  return {
    env: { SHEEPDOG_API: `unix:${socketPath}` },
    get isCut() {
      return done >= changes;
    },
  };
}
