// How far a long command is, on stderr: one line that is written over on a terminal, else a line every few seconds.

import type { Io } from './context.ts';
import { formatBytes } from './output.ts';

/** Between two looks of a line that is written over. */
const PROGRESS_MS = 250;
/** Between two lines that stay. */
const PROGRESS_LINE_MS = 10_000;

export interface ProgressText {
  /** Says something now and then: whoever calls need not count. */
  at(doneBytes: number, totalBytes: number, more?: string): void;
  /** The line is over. */
  end(): void;
}

export function progressOn(io: Io, what: string, isQuiet: boolean): ProgressText {
  if (isQuiet) return { at: () => undefined, end: () => undefined };
  const began = performance.now();
  let saidMs = began;
  let isOpen = false;
  const everyMs = io.isTerminal === true ? PROGRESS_MS : PROGRESS_LINE_MS;
  return {
    at(doneBytes, totalBytes, more = '') {
      const now = performance.now();
      if (now - saidMs < everyMs) return;
      saidMs = now;
      const percent = totalBytes === 0 ? 100 : Math.floor((doneBytes * 100) / totalBytes);
      const text = `${what}: ${percent} % of ${formatBytes(totalBytes)}${more}`;
      isOpen = io.isTerminal === true;
      io.err(isOpen ? `\r\x1b[K${text}` : `${text}\n`);
    },
    end() {
      if (isOpen) io.err('\r\x1b[K');
      isOpen = false;
    },
  };
}

/** `, 120 MiB/s` since the first call. */
export function rateMeter(): (bytes: number) => string {
  const began = performance.now();
  return (bytes) => {
    const seconds = (performance.now() - began) / 1000;
    return seconds < 0.1 ? '' : `, ${formatBytes(Math.round(bytes / seconds))}/s`;
  };
}
