// Keys and certificates for tests, made by the tools that users have: psktool and certtool (gnutls-bin).

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { OperatingError } from '../../src/core/errors.ts';
import { credentialsOf, type ReadText, type TlsFiles } from '../../src/nbd/credentials.ts';

function run(program: string, args: readonly string[], cwd: string): void {
  const { status, stderr } = spawnSync(program, args, { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
}

/** Adds a key for `name` to `DIR/keys.psk`. */
export function addKey(dir: string, name: string): void {
  run('psktool', ['-u', name, '-p', path.join(dir, 'keys.psk')], dir);
}

/** An authority in `dir`, with the names that QEMU and libnbd want. */
export function makeAuthority(dir: string): void {
  fs.mkdirSync(dir, { recursive: true });
  fs.writeFileSync(path.join(dir, 'ca.info'), 'cn = "Test authority"\nca\ncert_signing_key\n');
  privateKey(dir, 'ca-key.pem');
  const self = ['--generate-self-signed', '--template', 'ca.info', '--load-privkey', 'ca-key.pem'];
  run('certtool', [...self, '--outfile', 'ca-cert.pem'], dir);
}

/** `ROLE-cert.pem` and `ROLE-key.pem` of the authority in `dir`. */
export function makeCertificate(dir: string, role: 'server' | 'client', commonName: string): void {
  const use = role === 'server' ? 'tls_www_server' : 'tls_www_client';
  const names = 'dns_name = "localhost"\nip_address = "127.0.0.1"\n';
  const info = `cn = "${commonName}"\n${names}${use}\nencryption_key\nsigning_key\n`;
  fs.writeFileSync(path.join(dir, `${role}.info`), info);
  privateKey(dir, `${role}-key.pem`);
  const authority = ['--load-ca-certificate', 'ca-cert.pem', '--load-ca-privkey', 'ca-key.pem'];
  const made = ['--template', `${role}.info`, '--load-privkey', `${role}-key.pem`];
  const out = ['--outfile', `${role}-cert.pem`];
  run('certtool', ['--generate-certificate', ...authority, ...made, ...out], dir);
}

function privateKey(dir: string, file: string): void {
  run('certtool', ['--generate-privkey', '--ecdsa', '--outfile', file], dir);
}

const readText: ReadText = (file) => {
  if (!fs.existsSync(file)) throw new OperatingError('missing', `no ${file}`);
  return fs.readFileSync(file, 'utf8');
};

/** As main.ts reads them. */
export function filesAt(files: Partial<TlsFiles>): ReturnType<typeof credentialsOf> {
  return credentialsOf({ keys: undefined, x509: undefined, access: undefined, ...files }, readText);
}
