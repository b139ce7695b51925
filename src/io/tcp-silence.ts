// Whether the other side of a TCP connection is still there, as the kernel sees it: TCP_INFO. Keep-alive probes end what is
// idle, but not what waits for an acknowledgement: a reply to a host that vanished is sent again for a quarter of an hour.
// TCP_USER_TIMEOUT would end that, and also a client that lives and does not read for a while; this tells the two apart.

import { cFunction } from './c-library.ts';

const IPPROTO_TCP = 6;
const TCP_INFO = 11;
/** Where the kernel's `struct tcp_info` has them: bytes, then numbers of 4 bytes. Appended to only. */
const AT_PROBES = 3;
const AT_UNACKED = 24;
const AT_LAST_ACK_MS = 56;
const INFO_BYTES = 104;
/** The first probe of a closed window is always unanswered for a moment. */
const MIN_PROBES = 2;

type Getsockopt = (
  fd: number,
  level: number,
  option: number,
  value: Uint8Array,
  length: Uint8Array,
) => number;

let getsockopt: Getsockopt | undefined;
let isLoaded = false;

/**
 * How long the other side has acknowledged nothing while something waits for it. 0: it answers, or nothing waits, or this
 * machine can not say. Milliseconds.
 * @param socket of node:net, not one that speaks TLS
 */
export function silentForMs(socket: object): number {
  if (!isLoaded) {
    isLoaded = true;
    getsockopt = cFunction<Getsockopt>('getsockopt', ['i32', 'i32', 'i32', 'pointer', 'pointer']);
  }
  const fd = fdOf(socket);
  if (getsockopt === undefined || fd === undefined) return 0;
  const info = new DataView(new ArrayBuffer(INFO_BYTES));
  const length = new Uint8Array(Uint32Array.of(INFO_BYTES).buffer);
  const outcome = getsockopt(fd, IPPROTO_TCP, TCP_INFO, new Uint8Array(info.buffer), length);
  if (outcome !== 0) return 0;
  const isWaiting = readU32(info, AT_UNACKED) > 0 || info.getUint8(AT_PROBES) >= MIN_PROBES;
  return isWaiting ? readU32(info, AT_LAST_ACK_MS) : 0;
}

/** In the machine's own order. */
function readU32(info: DataView, at: number): number {
  return new Uint32Array(info.buffer, at, 1)[0] ?? 0;
}

function fdOf(socket: object): number | undefined {
  const { _handle: handle } = socket as { _handle?: { fd?: number } | null };
  const fd = handle?.fd;
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
}
