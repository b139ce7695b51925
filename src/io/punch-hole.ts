// Gives the space of a range of an open file back to the file system: fallocate(2) of the C library, called through
// Node's foreign function interface, since Node has no call of its own for it. Where anything is missing (another
// system, another C library, an older Node, a file system without holes) the answer is false, once and for all the
// library, each time the file system. Loaded with the first hole.

/** Holes begin and end at multiples of this. */
export const HOLE_ALIGN_BYTES = 4096;
/** FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE */
const PUNCH_FLAGS = 3;
/** The GNU C library; its fallocate64 takes 64-bit offsets on every machine. Others name it otherwise: no holes there. */
const LIBRARY = 'libc.so.6';
const FUNCTION = 'fallocate64';

type Fallocate = (fd: number, flags: number, position: bigint, length: bigint) => number;

/** The part of `node:ffi` that is used here: the type packages do not know it yet. */
interface ForeignFunctions {
  dlopen(
    library: string,
    functions: Readonly<Record<string, { readonly arguments: string[]; readonly return: string }>>,
  ): { readonly functions: Readonly<Record<string, Fallocate | undefined>> };
}

let fallocate: Fallocate | undefined;
let isLoaded = false;

/** Makes a hole. False when nothing was changed: this machine has no holes, or the file system refuses. */
export function punchHole(fd: number, position: number, length: number): boolean {
  if (!isLoaded) {
    isLoaded = true;
    fallocate = load();
  }
  return fallocate?.(fd, PUNCH_FLAGS, BigInt(position), BigInt(length)) === 0;
}

function load(): Fallocate | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    const signature = { arguments: ['i32', 'i32', 'i64', 'i64'], return: 'i32' };
    return withoutItsWarning(() => {
      const module = process.getBuiltinModule('node:ffi') as ForeignFunctions | undefined;
      return module?.dlopen(LIBRARY, { [FUNCTION]: signature }).functions[FUNCTION];
    });
  } catch {
    // No such library, no such function in it, or the interface is switched off: the space stays with the file.
    return undefined;
  }
}

/** Node says once that the interface is experimental. It is asked for on purpose: operators need not hear of it. */
function withoutItsWarning<T>(call: () => T): T {
  const { emitWarning } = process;
  process.emitWarning = ((warning: string | Error, ...rest: never[]) => {
    if (!String(warning).startsWith('FFI ')) emitWarning.call(process, warning, ...rest);
  }) as typeof emitWarning;
  try {
    return call();
  } finally {
    process.emitWarning = emitWarning;
  }
}
