// The operator's files that say who may come in over TLS: which ones, and what becomes of them. They are read anew for
// every client, so a key that is taken out of its file opens nothing from then on. Reading is the caller's.

import { hasCode, messageOf, OperatingError } from '../core/errors.ts';
import {
  ALL_ALLOWED,
  type NbdCertificates,
  type NbdCredentials,
  parseKeys,
  parseRights,
} from './access.ts';

/** Paths; `x509` is a folder with the names that QEMU and libvirt use. */
export interface TlsFiles {
  readonly keys: string | undefined;
  readonly x509: string | undefined;
  readonly access: string | undefined;
}

/** Reads a file as text. Throws OperatingError: 'missing' when it is not there. */
export type ReadText = (path: string) => string;

/** A function that reads them as they are at each call. It throws OperatingError 'usage' with the cure. */
export function credentialsOf(files: TlsFiles, read: ReadText): () => NbdCredentials {
  return () => ({
    keys: files.keys === undefined ? undefined : parseKeys(needed(files.keys, read), files.keys),
    certificates: files.x509 === undefined ? undefined : certificatesIn(files.x509, read),
    access:
      files.access === undefined
        ? ALL_ALLOWED
        : parseRights(needed(files.access, read), files.access),
  });
}

function certificatesIn(folder: string, read: ReadText): NbdCertificates {
  return {
    ca: needed(`${folder}/ca-cert.pem`, read),
    cert: needed(`${folder}/server-cert.pem`, read),
    key: needed(`${folder}/server-key.pem`, read),
    crl: optional(`${folder}/ca-crl.pem`, read),
  };
}

function needed(path: string, read: ReadText): string {
  try {
    return read(path);
  } catch (error) {
    throw new OperatingError('usage', `can not read ${path}: ${messageOf(error)}`, {
      remedy: 'docs/NBD.md says what the files of TLS are and how to make them',
      cause: error,
    });
  }
}

function optional(path: string, read: ReadText): string | undefined {
  try {
    return read(path);
  } catch (error) {
    if (hasCode(error, 'missing')) return undefined;
    throw error;
  }
}
