// Who may come in over TLS, and to what: the text of the operator's files read and checked. A client's name is the identity
// of its key, or the common name of its certificate. Pure: reading the files and the handshake are done elsewhere.

import { OperatingError } from '../core/errors.ts';

/** Lines of a file of keys or rights. */
export const MAX_ACCESS_LINES = 10_000;
/** Longest name of a client: what the TLS library takes as an identity. */
const MAX_CLIENT_NAME_BYTES = 128;
/** A key of 128 bits at least. */
const MIN_KEY_BYTES = 16;
const MAX_KEY_BYTES = 64;

/** A client that has proved who it is. */
export interface NbdClient {
  readonly name: string;
  /** Whether anything is allowed at all; else LIST is refused, too. */
  readonly isKnown: boolean;
  readonly mayAttach: (volume: string) => boolean;
}

/** Who may attach what; made of a file of rights, or of none: then all that proved who they are may attach all. */
export type AccessRule = (clientName: string) => NbdClient;

export const ALL_ALLOWED: AccessRule = (name) => ({
  name,
  isKnown: true,
  mayAttach: () => true,
});

/** Certificates as PEM. Clients need one of the same authority. */
export interface NbdCertificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly crl: string | undefined;
}

/** What proves a client, and what it may do then. One of the two kinds at least. */
export interface NbdCredentials {
  readonly keys: ReadonlyMap<string, Uint8Array> | undefined;
  readonly certificates: NbdCertificates | undefined;
  readonly access: AccessRule;
}

/**
 * Reads `NAME:HEXKEY` lines, as psktool writes them.
 * @throws OperatingError 'usage' that names file and line, never a key
 */
export function parseKeys(text: string, file: string): ReadonlyMap<string, Uint8Array> {
  const keys = new Map<string, Uint8Array>();
  for (const { number, line } of linesOf(text, file)) {
    const at = line.lastIndexOf(':');
    const name = line.slice(0, at);
    const key = at > 0 ? hexBytes(line.slice(at + 1)) : undefined;
    if (key === undefined)
      throw bad(file, number, 'is not NAME:KEY with a key of 16 to 64 bytes in hex');
    checkName(name, file, number);
    if (keys.has(name)) throw bad(file, number, `names "${name}" a second time`);
    keys.set(name, key);
  }
  if (keys.size === 0)
    throw new OperatingError('usage', `${file} holds no key`, { remedy: PSKTOOL });
  return keys;
}

const PSKTOOL = 'make one: psktool -u NAME -p FILE';

/**
 * Reads `CLIENT VOLUME...` lines: what each client may attach and list. `db-*` = all volumes that begin so.
 * @throws OperatingError 'usage' that names file and line
 */
export function parseRights(text: string, file: string): AccessRule {
  const rights = new Map<string, readonly string[]>();
  for (const { number, line } of linesOf(text, file)) {
    const [name = '', ...patterns] = line.split(/\s+/);
    checkName(name, file, number);
    if (patterns.length === 0) throw bad(file, number, `names no volume for "${name}"`);
    const wrong = patterns.find((one) => one.slice(0, -1).includes('*'));
    if (wrong !== undefined)
      throw bad(file, number, `has a * inside of ${wrong}; it may only end a name`);
    if (rights.has(name)) throw bad(file, number, `names "${name}" a second time`);
    rights.set(name, patterns);
  }
  return (name) => {
    const patterns = rights.get(name) ?? [];
    return {
      name,
      isKnown: patterns.length > 0,
      mayAttach: (volume) => patterns.some((one) => matches(one, volume)),
    };
  };
}

function matches(pattern: string, volume: string): boolean {
  return pattern.endsWith('*') ? volume.startsWith(pattern.slice(0, -1)) : volume === pattern;
}

/** Lines that say something; `#` begins a remark. */
function linesOf(text: string, file: string): { number: number; line: string }[] {
  const lines = text.split('\n');
  if (lines.length > MAX_ACCESS_LINES) {
    throw new OperatingError('usage', `${file} has more than ${MAX_ACCESS_LINES} lines`);
  }
  return lines
    .map((line, i) => ({ number: i + 1, line: line.trim() }))
    .filter(({ line }) => line !== '' && !line.startsWith('#'));
}

function hexBytes(text: string): Uint8Array | undefined {
  const bytes = text.length / 2;
  if (bytes < MIN_KEY_BYTES || bytes > MAX_KEY_BYTES || !/^([0-9a-f]{2})+$/i.test(text))
    return undefined;
  return Uint8Array.from({ length: bytes }, (_, i) =>
    Number.parseInt(text.slice(2 * i, 2 * i + 2), 16),
  );
}

function checkName(name: string, file: string, number: number): void {
  const isFine = /^[\w.@:-]+$/.test(name) && name.length <= MAX_CLIENT_NAME_BYTES;
  if (!isFine)
    throw bad(file, number, 'has a client name with other than letters, digits and . @ : _ -');
}

function bad(file: string, number: number, what: string): OperatingError {
  return new OperatingError('usage', `line ${number} of ${file} ${what}`);
}
