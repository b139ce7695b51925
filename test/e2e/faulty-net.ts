// Faults between the namespaces of hosts.ts by nftables: TESTING.md section 3. Each direction is cut by itself, in the
// receiver's namespace. The rules go with the namespace.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';

/** By its path: a program of the same name comes with npm packages. */
const NFT = '/usr/sbin/nft';
const TABLE = `table inet faults {
  set deaf { type ipv4_addr; }
  chain in { type filter hook input priority 0; ip saddr @deaf drop; }
}`;

/** Why there can be no faults; empty when there can. */
export function missingFaults(): string {
  return fs.existsSync(NFT) ? '' : 'nft is missing: apt-get install nftables';
}

export function hostAddress(n: number): string {
  return `10.77.0.${n}`;
}

/** In the namespace `space`: hosts `others` are no longer heard; they may hear us. */
export function deafen(space: string, others: readonly number[]): void {
  nft(space, TABLE);
  nft(space, `add element inet faults deaf { ${others.map(hostAddress).join(', ')} }`);
}

/** All faults of that host are over. */
export function heal(space: string): void {
  nft(space, 'delete table inet faults');
}

function nft(space: string, rules: string): void {
  const args = ['netns', 'exec', space, NFT, '-f', '-'];
  const { status, stderr } = spawnSync('ip', args, { input: `${rules}\n` });
  if (status !== 0) throw new Error(`nft in ${space}: ${stderr}`);
}
