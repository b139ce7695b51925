// The faults that the simulated world can inject, as they take effect: a packet that was lost, a sync that failed. What a
// story arms and nobody runs into is not counted. `World.inject` counts them.

export const FAULT_KINDS = [
  // Network.
  'cut',
  'cut-control',
  'cut-data',
  'packet-lost',
  'link-broken',
  'gossip-lost',
  'gossip-doubled',
  // Process.
  'kill',
  'stop',
  'pause',
  'actor-broken',
  // Host and clock.
  'power-loss',
  'date-jump',
  // Disk.
  'slow-sync',
  'failed-sync',
  'failed-write',
  'failed-read',
  'read-only',
  'full',
  'bit-rot',
  'unreadable',
  'write-astray',
  'read-astray',
  'entry-lost',
  'rename-lost',
  'folder-moved-away',
  'wiped',
  'old-image',
] as const;

export type FaultKind = (typeof FAULT_KINDS)[number];
