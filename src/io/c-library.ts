// Functions of the C library, called through Node's foreign function interface: for the few system calls that Node has none
// of its own for. Where anything is missing (another system, another C library, an older Node, the interface switched off)
// there is no function, and the caller does without.

/** The GNU C library. Others name it otherwise: nothing there. */
const LIBRARY = 'libc.so.6';

interface Signature {
  readonly arguments: string[];
  readonly return: string;
}

/** The part of `node:ffi` that is used here: the type packages do not know it yet. */
interface ForeignFunctions {
  dlopen(
    library: string,
    functions: Readonly<Record<string, Signature>>,
  ): { readonly functions: Readonly<Record<string, unknown>> };
}

/**
 * A function that returns an int.
 * @param args types as `node:ffi` names them
 */
export function cFunction<F extends (...args: never[]) => number>(
  name: string,
  args: string[],
): F | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    return withoutItsWarning(() => {
      const module = process.getBuiltinModule('node:ffi') as ForeignFunctions | undefined;
      const signature = { arguments: args, return: 'i32' };
      return module?.dlopen(LIBRARY, { [name]: signature }).functions[name] as F | undefined;
    });
  } catch {
    // No such library, no such function in it, or the interface is switched off.
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
