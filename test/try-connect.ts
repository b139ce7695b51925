// One try to connect to a unix socket. The name of a socket is there before anybody listens at it: who waits for a program
// waits for this, not for the file.

import { connect, type Socket } from 'node:net';

/** @returns undefined while nobody listens */
export function tryConnect(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', () => {
      socket.destroy();
      resolve(undefined);
    });
  });
}

/** Whether somebody listens there. */
export async function isListening(path: string): Promise<boolean> {
  const socket = await tryConnect(path);
  socket?.destroy();
  return socket !== undefined;
}
